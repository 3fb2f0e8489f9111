//! Observes records arriving in Kafka without reading them, by the end offsets of the partitions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::error::BenchError;
use super::stage::Destinations;
use crate::lab::environment::{KafkaServer, Silent};

/// How often to query the end offsets: a hundredth of the shortest meaningful run.
const TICK: Duration = Duration::from_millis(5);
/// Additional pause per partition, so that the queries do not load the broker.
const TICK_PER_PARTITION: Duration = Duration::from_micros(50);
/// How long a query may take until it has seen the last record.
const SETTLING: Duration = Duration::from_millis(200);
/// Time limit for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Watches topics until dropped.
pub(super) struct Arrivals {
    shared: Arc<Shared>,
    tick: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    stop: AtomicBool,
}

/// Arrivals since the watch began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Records; with transactions, including their markers.
    pub(super) offsets: u64,
    /// When the first records were seen.
    pub(super) first: Option<Instant>,
    /// How many those were: with transactions, a whole one.
    pub(super) first_offsets: u64,
    /// When the last record was seen.
    pub(super) last: Option<Instant>,
}

impl Arrivals {
    /// Starts the watch.
    pub(super) async fn watch(kafka: &KafkaServer, destinations: &Destinations) -> Result<Self, BenchError> {
        let mut config = kafka.client_config();
        // Records of an open transaction have not arrived yet.
        config.set("isolation.level", "read_committed").set("group.id", "walpost-bench");
        let client: BaseConsumer<Silent> = kafka.client(&config)?;
        let partitions = destinations.partitions_at(Offset::End);
        let asked =
            tokio::task::spawn_blocking(move || ends(&client, &partitions).map(|base| (client, partitions, base)));
        let asked = asked.await.expect("asking for offsets does not panic");
        let (client, partitions, base) = asked.map_err(kafka.error("query the end offsets of topics"))?;
        let tick = TICK + TICK_PER_PARTITION * u32::try_from(partitions.count()).unwrap_or(0);
        let shared = Arc::new(Shared::default());
        let watch = Arc::clone(&shared);
        tokio::task::spawn_blocking(move || watch.run(&client, &partitions, base, tick));
        Ok(Self { shared, tick })
    }

    /// The arrivals so far.
    pub(super) fn seen(&self) -> Seen {
        *self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The arrivals up to now, with certainty.
    pub(super) async fn settled(&self) -> Seen {
        // A pending query may have been answered just before the last record arrived.
        tokio::time::sleep(self.tick + SETTLING).await;
        self.seen()
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn run(&self, client: &BaseConsumer<Silent>, partitions: &TopicPartitionList, base: i64, tick: Duration) {
        while !self.stop.load(Ordering::Relaxed) {
            // A broker that does not answer is asked again; whoever waits for records has a time limit.
            if let Ok(end) = ends(client, partitions) {
                let (now, offsets) = (Instant::now(), u64::try_from(end - base).unwrap_or(0));
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                if offsets > seen.offsets {
                    let first_offsets = if seen.first.is_some() { seen.first_offsets } else { offsets };
                    *seen = Seen { offsets, first: seen.first.or(Some(now)), first_offsets, last: Some(now) };
                }
            }
            std::thread::sleep(tick);
        }
    }
}

/// The sum of all end offsets. One request per broker: the timestamp -1, which is `Offset::End`, asks for the end (ListOffsets).
fn ends(client: &BaseConsumer<Silent>, partitions: &TopicPartitionList) -> KafkaResult<i64> {
    let answered = client.offsets_for_times(partitions.clone(), ANSWER_LIMIT)?;
    answered.elements().iter().try_fold(0, |sum, partition| {
        partition.error()?;
        Ok(sum + partition.offset().to_raw().unwrap_or(0))
    })
}
