//! The gate's verdict on any bytes: no panic, nothing passes that was not shown, and the same bytes
//! have the same outcome however they are cut. The first byte chooses the cuts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wharf::gate::{self, Fault, Scanner};

/// Shows `bytes` in pieces of `step` and says what passed and what was wrong.
fn feed(bytes: &[u8], step: usize) -> (usize, u64, Option<Fault>) {
    let mut scanner = Scanner::new();
    let (mut passed, mut shown) = (0, 0);
    while shown < bytes.len() {
        shown = bytes.len().min(shown + step);
        loop {
            let verdict = scanner.scan(&bytes[passed..shown]);
            passed += verdict.passed;
            assert!(passed <= shown);
            if verdict.fault.is_some() {
                return (passed, scanner.heads(), verdict.fault);
            }
            if !scanner.is_held() {
                break;
            }
            scanner.proceed();
        }
    }
    (passed, scanner.heads(), None)
}

fuzz_target!(|bytes: &[u8]| {
    let step = bytes.first().map_or(1, |byte| usize::from(*byte) + 1);
    let whole = feed(bytes, bytes.len().max(1));
    assert_eq!(feed(bytes, step), whole);
    assert_eq!(feed(bytes, 1), whole);
    let _about = gate::about(bytes);
});
