//! L4: the NLB emulator.
