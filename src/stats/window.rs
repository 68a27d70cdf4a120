//! A mean over the latest values, as HAProxy keeps its average times.
//!
//! Written by the worker that owns the cell, read by a scrape.

use super::Counter;

/// Values that a mean is about, in each worker [MET-1].
pub const SAMPLES: u64 = 1024;

/// The sum of the latest values of one worker. Up to [`SAMPLES`] it is their plain sum; from then on each
/// value takes the place of a mean one, so that old values fade out, and nothing is stored but two numbers.
#[derive(Debug, Default)]
pub struct Window {
    sum: Counter,
    count: Counter,
}

impl Window {
    /// Takes a value. Only the owning worker calls this.
    pub fn add(&self, value: u64) {
        let sum = self.sum.load();
        if self.count.load() < SAMPLES {
            self.count.add(1);
            self.sum.set(sum + value);
        } else {
            // Rounded up, so that a row of zeros leads to zero.
            self.sum.set(sum - sum.div_ceil(SAMPLES) + value);
        }
    }
}

/// The mean over the windows of several workers, each counting as much as it holds; 0 without a value.
pub fn mean<'a>(windows: impl Iterator<Item = &'a Window>) -> u64 {
    let (sum, count) = windows.fold((0, 0), |(sum, count), window| {
        (sum + window.sum.load(), count + window.count.load())
    });
    u64::checked_div(sum, count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MET-1]
    #[test]
    fn the_mean_is_exact_at_first_and_follows_what_is_new() {
        let window = Window::default();
        assert_eq!(mean([&window].into_iter()), 0);
        for value in 1..=9 {
            window.add(value * 1000);
        }
        assert_eq!(mean([&window].into_iter()), 5000);
        for _ in 0..SAMPLES - 9 {
            window.add(5000);
        }
        assert_eq!(mean([&window].into_iter()), 5000);
        for _ in 0..SAMPLES {
            window.add(0);
        }
        // A part of 1/e is left of what was there before.
        let left = mean([&window].into_iter());
        assert!((1800..1850).contains(&left), "{left}");
        for _ in 0..20 * SAMPLES {
            window.add(0);
        }
        assert_eq!(mean([&window].into_iter()), 0);
    }

    #[test]
    fn workers_count_by_what_they_have() {
        let (one, two) = (Window::default(), Window::default());
        (0..3).for_each(|_| one.add(100));
        two.add(500);
        assert_eq!(mean([&one, &two].into_iter()), 200);
    }
}
