//! Positions of objects in the source, stable under changes elsewhere.
//!
//! The position of an object breaks ties of age [CLAIM-1], and only the sequence of positions
//! matters. Files are numbered with room between them, so that a new file changes no object of
//! another one: an object that is the same in memory is the same for everybody.

use super::Manifest;

/// Objects of one file that a position leaves room for.
const ORDER_BITS: u32 = 20;
/// Largest number of a file.
const LAST: u64 = (1 << (64 - ORDER_BITS)) - 1;
/// Room between two files where nothing forbids it.
const GAP: u64 = 1 << 24;

/// Numbers the new ones of `files`, which come in order, between their neighbours, all of them anew
/// where there is no room; then gives every object its position.
pub(super) fn number(mut files: Vec<&mut Manifest>) {
    let numbers: Vec<u64> = files.iter().map(|file| file.number).collect();
    if numbers.contains(&0) {
        for (file, number) in files.iter_mut().zip(numbered(numbers)) {
            file.number = number;
        }
    }
    for file in files {
        for (position, object) in (0u64..).zip(&mut file.objects) {
            object.set_order((file.number << ORDER_BITS) | position);
        }
    }
}

/// `numbers`, which rise apart from zeros, with numbers in place of the zeros.
fn numbered(mut numbers: Vec<u64>) -> Vec<u64> {
    let (mut at, mut before) = (0, 0);
    while at < numbers.len() {
        if numbers[at] != 0 {
            (at, before) = (at + 1, numbers[at]);
            continue;
        }
        let end = numbers[at..].iter().position(|&number| number != 0).map(|ahead| at + ahead);
        let new = (end.unwrap_or(numbers.len()) - at) as u64;
        let step = end.map_or(GAP, |end| (numbers[end] - before) / (new + 1));
        if step == 0 || LAST - before < step.saturating_mul(new) {
            let step = GAP.min(LAST / (numbers.len() as u64 + 1));
            return (1..).take(numbers.len()).map(|place: u64| place * step).collect();
        }
        for number in &mut numbers[at..end.unwrap_or(usize::MAX).min(at + new as usize)] {
            before += step;
            *number = before;
        }
        at += new as usize;
    }
    numbers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rises(numbers: &[u64]) -> bool {
        numbers.windows(2).all(|two| two[0] < two[1])
            && numbers.first().is_none_or(|&first| first > 0)
            && numbers.last().is_none_or(|&last| last <= LAST)
    }

    #[test]
    fn numbers_are_kept_where_there_is_room() {
        let first = numbered(vec![0; 3]);
        assert_eq!(first, [GAP, 2 * GAP, 3 * GAP]);
        let between = numbered(vec![GAP, 0, 2 * GAP, 3 * GAP, 0]);
        assert_eq!(between, [GAP, GAP + GAP / 2, 2 * GAP, 3 * GAP, 4 * GAP]);
    }

    #[test]
    fn without_room_all_are_numbered_anew() {
        assert_eq!(numbered(vec![7, 0, 8]), [GAP, 2 * GAP, 3 * GAP]);
        assert_eq!(numbered(vec![LAST, 0]), [GAP, 2 * GAP]);
    }

    proptest! {
        #[test]
        fn numbers_rise_whatever_is_put_in_or_taken_out(
            edits in prop::collection::vec((any::<bool>(), 0..100usize), 0..200),
        ) {
            let mut numbers = Vec::new();
            for (put, at) in edits {
                let at = at % (numbers.len() + 1);
                if put {
                    numbers.insert(at, 0);
                } else if at < numbers.len() {
                    numbers.remove(at);
                }
                numbers = numbered(numbers);
                prop_assert!(rises(&numbers), "{numbers:?}");
            }
        }
    }
}
