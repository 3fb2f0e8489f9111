//! Latencies by the millisecond, the resolution of a record's timestamp.

/// From here on, latencies are counted together.
const MOST_MILLIS: usize = 60_000;

/// How many records took how many milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies {
    /// One count per millisecond, as far as needed; the last counts everything from [`MOST_MILLIS`].
    counts: Vec<u64>,
    total: u64,
}

impl Latencies {
    /// Adds a record.
    pub(super) fn add(&mut self, millis: u64) {
        let bucket = usize::try_from(millis).unwrap_or(MOST_MILLIS).min(MOST_MILLIS);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// The quantile in milliseconds (0.5 is the median); none without records.
    pub(super) fn quantile(&self, share: f64) -> Option<u64> {
        let mut below = 0;
        let mut buckets = (0..).zip(&self.counts);
        buckets.find_map(|(millis, count)| {
            below += count;
            (self.total > 0 && below as f64 >= share * self.total as f64).then_some(millis)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_the_millisecond() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.5), None);
        (1..=100).for_each(|millis| latencies.add(millis));
        assert_eq!(latencies.quantile(0.5), Some(50));
        assert_eq!(latencies.quantile(0.99), Some(99));
        assert_eq!(latencies.quantile(1.0), Some(100));
    }

    #[test]
    fn a_latency_of_hours_takes_no_memory() {
        let mut latencies = Latencies::default();
        latencies.add(u64::MAX);
        assert_eq!(latencies.quantile(0.5), Some(60_000));
        assert_eq!(latencies.counts.len(), MOST_MILLIS + 1);
    }
}
