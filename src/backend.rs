//! L4: the sample pod.
