//! A histogram that costs three atomic additions per observation, for any number of records.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds of the buckets, in microseconds: from half a millisecond, a fifth of the target for the median, to
/// the minute in which an outage shows.
const BOUNDS_MICROS: [u64; 17] = [
    500, 1_000, 2_500, 5_000, 10_000, 15_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Latencies by bucket. The library's own histogram takes a lock and has no weights; here all records of a commit are
/// one observation.
#[derive(Clone, Debug, Default)]
pub struct LatencyHistogram(Arc<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    /// One for each bound, then one for everything above.
    counts: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

impl LatencyHistogram {
    /// Adds `records` with the same `latency`.
    pub fn observe(&self, latency: Duration, records: u64) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        self.0.counts[bucket].fetch_add(records, Ordering::Relaxed);
        self.0.sum_micros.fetch_add(micros.saturating_mul(records), Ordering::Relaxed);
    }

    /// An upper bound of the latency of a share of all records (0.5 is the median), as precise as the buckets; `None`
    /// without records, or if it is above the last bucket.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let counts = self.counts();
        let total: u64 = counts.iter().sum();
        let mut below = 0;
        for (bound, count) in BOUNDS_MICROS.iter().zip(counts) {
            below += count;
            if total > 0 && below as f64 >= share * total as f64 {
                return Some(Duration::from_micros(*bound));
            }
        }
        None
    }

    /// How many records were observed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts().iter().sum()
    }

    fn counts(&self) -> [u64; BOUNDS_MICROS.len() + 1] {
        std::array::from_fn(|bucket| self.0.counts[bucket].load(Ordering::Relaxed))
    }
}

impl TypedMetric for LatencyHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for LatencyHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.counts();
        // The encoder adds up the buckets, so that each contains those below, as the format requires.
        let bounds = BOUNDS_MICROS.iter().map(|micros| Duration::from_micros(*micros).as_secs_f64());
        let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        let sum = Duration::from_micros(self.0.sum_micros.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let histogram = LatencyHistogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        histogram.observe(Duration::from_millis(3), 98);
        histogram.observe(Duration::from_millis(40), 1);
        histogram.observe(Duration::from_secs(3_600), 1);
        assert_eq!(histogram.quantile(0.5), Some(Duration::from_millis(5)));
        assert_eq!(histogram.quantile(0.99), Some(Duration::from_millis(50)));
        assert_eq!(histogram.quantile(1.0), None);
    }

    #[test]
    fn a_latency_on_a_bound_is_within_it() {
        let histogram = LatencyHistogram::default();
        histogram.observe(Duration::from_millis(5), 1);
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_millis(5)));
    }
}
