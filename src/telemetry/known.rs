//! A gauge that has no sample while its value is unknown: a 0 in its place would look like a measurement.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::{EncodeGaugeValue, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// A gauge whose value may be unknown. For values that are set a few times a second: it takes a lock.
#[derive(Debug)]
pub(super) struct KnownGauge<T>(Arc<Mutex<Option<T>>>);

impl<T: Copy> KnownGauge<T> {
    pub(super) fn set(&self, value: Option<T>) {
        *self.lock() = value;
    }

    pub(super) fn get(&self) -> Option<T> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        // A value is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for KnownGauge<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for KnownGauge<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> TypedMetric for KnownGauge<T> {
    const TYPE: MetricType = MetricType::Gauge;
}

impl<T: EncodeGaugeValue + Copy + fmt::Debug> EncodeMetric for KnownGauge<T> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        self.get().map_or(Ok(()), |value| encoder.encode_gauge(&value))
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn an_unknown_value_has_no_sample() {
        let (mut registry, gauge) = (Registry::default(), KnownGauge::<u64>::default());
        registry.register("a", "A value", gauge.clone());
        let encoded = || {
            let mut text = String::new();
            text::encode(&mut text, &registry).expect("a String takes everything");
            text
        };
        assert_eq!(encoded(), "# HELP a A value.\n# TYPE a gauge\n# EOF\n");
        gauge.set(Some(0));
        assert_eq!(encoded(), "# HELP a A value.\n# TYPE a gauge\na 0\n# EOF\n");
    }
}
