//! The gate in front of HTTP/1: nothing passes that was not shown, and the same bytes have the same
//! outcome however they are cut. The first byte chooses one of the cuts.

use wharf::gate::{self, Fault, Limits, Scanner};

/// Checks the verdict on `data` as a connection's bytes.
pub(super) fn check(data: &[u8]) {
    let step = data.first().map_or(1, |byte| usize::from(*byte) + 1);
    let whole = feed(data, data.len().max(1));
    assert_eq!(feed(data, step), whole, "in pieces of {step}");
    assert_eq!(feed(data, 1), whole, "byte by byte");
    let _about = gate::about(data);
}

/// Shows `data` in pieces of `step` bytes: how many passed, how many heads, and what was wrong.
fn feed(data: &[u8], step: usize) -> (usize, u64, Option<Fault>) {
    let mut scanner = Scanner::new(Limits::default());
    let (mut passed, mut shown) = (0, 0);
    while shown < data.len() {
        shown = data.len().min(shown + step);
        loop {
            let verdict = scanner.scan(&data[passed..shown]);
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
