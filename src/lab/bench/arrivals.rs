//! Observes records arriving in Kafka without reading them, by the end offset of the partition.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::error::BenchError;
use crate::lab::environment::{KafkaServer, Silent};

/// How often to query the end offset: a hundredth of the shortest meaningful run.
const TICK: Duration = Duration::from_millis(5);
/// Time limit for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Watches a topic's only partition until dropped.
pub(super) struct Arrivals(Arc<Shared>);

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
    /// When the first record was seen.
    pub(super) first: Option<Instant>,
    /// When the last record was seen.
    pub(super) last: Option<Instant>,
}

impl Arrivals {
    /// Starts the watch.
    pub(super) async fn watch(kafka: &KafkaServer, topic: &str) -> Result<Self, BenchError> {
        let mut config = kafka.client_config();
        // Records of an open transaction have not arrived yet.
        config.set("isolation.level", "read_committed").set("group.id", "walpost-bench");
        let client: BaseConsumer<Silent> = kafka.client(&config)?;
        let topic = topic.to_owned();
        let asked = tokio::task::spawn_blocking(move || {
            let base = client.fetch_watermarks(&topic, 0, ANSWER_LIMIT).map(|(_, end)| end);
            base.map(|base| (client, topic, base))
        });
        let asked = asked.await.expect("asking for offsets does not panic");
        let (client, topic, base) = asked.map_err(kafka.error("ask for a topic's end"))?;
        let shared = Arc::new(Shared::default());
        let watch = Arc::clone(&shared);
        tokio::task::spawn_blocking(move || watch.run(&client, &topic, base));
        Ok(Self(shared))
    }

    /// The arrivals so far.
    pub(super) fn seen(&self) -> Seen {
        *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The arrivals up to now, with certainty.
    pub(super) async fn settled(&self) -> Seen {
        // A pending query may have been answered just before the last record arrived.
        tokio::time::sleep(TICK * 20).await;
        self.seen()
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn run(&self, client: &BaseConsumer<Silent>, topic: &str, base: i64) {
        while !self.stop.load(Ordering::Relaxed) {
            // A broker that does not answer is asked again; whoever waits for records has a time limit.
            if let Ok((_, end)) = client.fetch_watermarks(topic, 0, ANSWER_LIMIT) {
                let (now, offsets) = (Instant::now(), u64::try_from(end - base).unwrap_or(0));
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                if offsets > seen.offsets {
                    *seen = Seen { offsets, first: seen.first.or(Some(now)), last: Some(now) };
                }
            }
            std::thread::sleep(TICK);
        }
    }
}
