//! Times by classic buckets. A value costs its worker two additions.

use super::Counter;

/// Upper bounds in microseconds; what is longer is in one more bucket.
pub const BOUNDS: [u64; 14] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

/// Times of one worker.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BOUNDS.len() + 1],
    micros: Counter,
}

impl Histogram {
    /// Takes a time. Only the owning worker calls this.
    pub fn add(&self, micros: u64) {
        self.buckets[BOUNDS.partition_point(|bound| *bound < micros)].add(1);
        self.micros.add(micros);
    }

    /// Adds this one to `sum`.
    pub fn read(&self, sum: &mut Times) {
        for (bucket, count) in sum.buckets.iter_mut().zip(&self.buckets) {
            *bucket += count.load();
        }
        sum.micros += self.micros.load();
    }
}

/// Times of all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How many up to each of [`BOUNDS`] and above the one before; the last is of those above all.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// Their sum.
    pub micros: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::default();
        for micros in [0, 1_000, 1_001, 30_000_000, 30_000_001] {
            histogram.add(micros);
        }
        let mut sum = Times::default();
        histogram.read(&mut sum);
        histogram.read(&mut sum);
        assert_eq!((sum.buckets[0], sum.buckets[1]), (4, 2));
        assert_eq!((sum.buckets[13], sum.buckets[14]), (2, 2));
        assert_eq!(sum.micros, 2 * 60_002_002);
    }
}
