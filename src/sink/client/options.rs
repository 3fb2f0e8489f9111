//! The clients' configuration, and the settings that users must not change.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use super::compression::Compression;
use crate::relay::delivery::window::InFlightWindow;
use crate::sink::refusals::Refusals;

/// Largest batch if no topic requires less, in bytes.
const BATCH_BYTES: usize = 256 * 1024;
/// Largest record that the client accepts, in bytes: librdkafka's own ceiling. The topic's limit is what counts.
const MESSAGE_MAX_BYTES: usize = 1_000_000_000;
/// Longer than any batch waits: [`super::flush`] sends incomplete batches.
const LINGER_MS: u128 = 10_000;
/// Records that librdkafka's queue holds beyond the core's window, so that the window fills first.
const QUEUE_HEADROOM_RECORDS: usize = 1_000;
/// librdkafka's largest queue size, in KiB. The core's window is the bound; a single larger record passes it alone,
/// and must fit.
const QUEUE_KIB: i32 = i32::MAX;

/// How to reach Kafka, and how much may be in flight.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// `host:port` of one or more brokers, separated by commas.
    pub bootstrap_servers: String,
    /// This client's name in broker logs and quotas.
    pub client_id: String,
    /// How batches are compressed.
    pub compression: Compression,
    /// Additional librdkafka properties, already checked by [`super::properties::validate_properties`].
    pub properties: BTreeMap<String, String>,
    /// How much the core keeps outstanding.
    pub window: InFlightWindow,
}

/// Aliases of properties that are set here. librdkafka receives its settings in no particular order, so of two names
/// for one property either could win.
const ALIASES: &[(&str, &str)] = &[("queue.buffering.max.ms", "linger.ms"), ("compression.codec", "compression.type")];

/// The names of librdkafka's property for [`ProducerOptions::compression`].
pub const COMPRESSION_PROPERTIES: [&str; 2] = ["compression.type", "compression.codec"];

/// What the sink must know of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    /// `max.message.bytes`: the largest batch that the topic accepts, in bytes.
    pub max_message_bytes: usize,
    /// Whether the topic is compacted, and so rejects records without a key; `None` if Kafka does not tell this
    /// client.
    pub is_compacted: Option<bool>,
    /// Number of partitions.
    pub partitions: u32,
}

/// The facts of all topics in use. [`crate::sink::Topics`] learns them, the producer applies them.
#[derive(Clone, Debug, Default)]
pub struct TopicRules(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    batch_bytes: AtomicUsize,
    topics: RwLock<HashMap<String, TopicFacts>>,
    refusals: Refusals,
}

impl Default for Rules {
    fn default() -> Self {
        Self { batch_bytes: AtomicUsize::new(usize::MAX), topics: RwLock::default(), refusals: Refusals::default() }
    }
}

impl TopicRules {
    /// Updates what is known of a topic.
    pub fn learn(&self, topic: &str, facts: TopicFacts) {
        self.0.batch_bytes.fetch_min(facts.max_message_bytes.max(1), Ordering::Relaxed);
        self.0.topics.write().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned(), facts);
    }

    /// What is known of a topic.
    #[must_use]
    pub fn facts(&self, topic: &str) -> Option<TopicFacts> {
        self.0.topics.read().unwrap_or_else(PoisonError::into_inner).get(topic).copied()
    }

    /// The topic's number of partitions; 1 for a topic that is not known.
    pub(crate) fn partitions(&self, topic: &str) -> u32 {
        self.facts(topic).map_or(1, |facts| facts.partitions)
    }

    /// What topics are known to refuse.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    /// The largest batch that every topic accepts, in bytes; `usize::MAX` if no topic is known yet.
    ///
    /// `batch.size` is one for all topics of a producer, and a batch above a topic's limit is refused together with
    /// all innocent records in it. The Java client's default is 16 KiB, so a small limit does not yet make a slow
    /// relay.
    #[must_use]
    pub fn batch_bytes(&self) -> usize {
        self.0.batch_bytes.load(Ordering::Relaxed)
    }
}

impl ProducerOptions {
    /// The largest record in bytes, if the user has set it (`message.max.bytes`).
    #[must_use]
    pub fn record_bytes(&self) -> Option<usize> {
        self.properties.get("message.max.bytes").and_then(|value| value.parse().ok())
    }
}

/// The effective `message.max.bytes`: what a record may have at most if the topic's own limit is unknown.
pub(crate) fn message_max_bytes(options: &ProducerOptions) -> usize {
    options.record_bytes().unwrap_or(MESSAGE_MAX_BYTES)
}

/// Adds the settings of every client: how to reach the brokers and reconnect to them, and the user's properties.
fn reach(config: &mut ClientConfig, options: &ProducerOptions) {
    config.set("socket.keepalive.enable", "true");
    config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
    // `Topics` creates topics with their own settings; a broker that is asked for metadata never does.
    config.set("allow.auto.create.topics", "false");
    for (name, value) in &options.properties {
        let alias = ALIASES.iter().find(|(alias, _)| alias == name);
        config.set(alias.map_or(name.as_str(), |(_, name)| name), value);
    }
    config.set("client.id", &options.client_id);
    config.set("bootstrap.servers", &options.bootstrap_servers);
}

/// The producer's settings. Those that a guarantee depends on come last, so that nothing overrides them.
pub(crate) fn producer_config(options: &ProducerOptions, batch_bytes: usize) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("linger.ms", LINGER_MS.to_string());
    config.set("message.max.bytes", MESSAGE_MAX_BYTES.to_string());
    config.set("queue.buffering.max.messages", (options.window.most().records + QUEUE_HEADROOM_RECORDS).to_string());
    config.set("queue.buffering.max.kbytes", QUEUE_KIB.to_string());
    // Otherwise the client connects only when needed, and a new producer's first record waits half a second.
    config.set("enable.sparse.connections", "false");
    reach(&mut config, options);
    config.set("compression.type", options.compression.as_str());
    config.set("batch.size", batch_bytes.to_string());
    config.set("statistics.interval.ms", "1000");
    config.set("acks", "all");
    config.set("enable.idempotence", "true");
    config.set("enable.gapless.guarantee", "true");
    config.set("message.timeout.ms", "0");
    config.set("partitioner", "murmur2_random");
    let asked_for_more = options.properties.contains_key("debug");
    config.set_log_level(if asked_for_more { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
    config
}

/// Who decides when to send an incomplete batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// [`super::flush`].
    Flusher {
        /// The first wait for an answer.
        again: Duration,
    },
    /// librdkafka, according to the user's `linger.ms`.
    Linger,
}

pub(crate) fn pace(options: &ProducerOptions, again: Duration) -> Pace {
    let names = ALIASES.iter().filter(|(_, name)| *name == "linger.ms").flat_map(|(alias, name)| [*alias, *name]);
    if names.into_iter().any(|name| options.properties.contains_key(name)) {
        Pace::Linger
    } else {
        Pace::Flusher { again }
    }
}

/// Sets how long records may take to be delivered, which `linger.ms` must be below.
pub(crate) fn set_message_timeout(config: &mut ClientConfig, pace: Pace, millis: u128) {
    config.set("message.timeout.ms", millis.to_string());
    if let Pace::Flusher { .. } = pace {
        config.set("linger.ms", LINGER_MS.min(millis - 1).to_string());
    }
}

/// The admin client's settings. Nothing reads its log queue, so nothing is put there; errors are in the answers.
pub(crate) fn admin_config(options: &ProducerOptions) -> ClientConfig {
    let mut config = ClientConfig::new();
    reach(&mut config, options);
    config.set_log_level(RDKafkaLogLevel::Emerg);
    config
}

/// `batch.size` under `rules`, in bytes.
pub(crate) fn batch_bytes(options: &ProducerOptions, rules: &TopicRules) -> usize {
    let wanted = options.properties.get("batch.size").and_then(|value| value.parse().ok()).unwrap_or(BATCH_BYTES);
    wanted.min(rules.batch_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(properties: &[(&str, &str)]) -> ProducerOptions {
        ProducerOptions {
            bootstrap_servers: "127.0.0.1:1".to_owned(),
            client_id: "test".to_owned(),
            compression: Compression::default(),
            properties: properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            window: InFlightWindow::fixed(10_000, 32 * 1024 * 1024),
        }
    }

    #[test]
    fn the_user_changes_the_batch_but_not_the_guarantees() {
        let given = options(&[("batch.size", "50000"), ("acks", "1"), ("queue.buffering.max.ms", "7")]);
        let rules = TopicRules::default();
        assert_eq!(batch_bytes(&given, &rules), 50_000);
        let facts = |max_message_bytes| TopicFacts { max_message_bytes, is_compacted: Some(false), partitions: 1 };
        rules.learn("small", facts(20_000));
        rules.learn("large", facts(30_000));
        assert_eq!(batch_bytes(&given, &rules), 20_000);
        let config = producer_config(&given, 20_000);
        assert_eq!(config.get("acks"), Some("all"));
        assert_eq!(config.get("batch.size"), Some("20000"));
        assert_eq!(config.get("linger.ms"), Some("7"));
        let again = Duration::from_millis(4);
        assert_eq!(pace(&given, again), Pace::Linger);
        assert_eq!(pace(&options(&[]), again), Pace::Flusher { again });
    }

    #[test]
    fn a_password_reaches_every_client() {
        let given = options(&[("sasl.password", "hush")]);
        for config in [producer_config(&given, BATCH_BYTES), admin_config(&given)] {
            assert_eq!(config.get("sasl.password"), Some("hush"));
        }
    }

    #[test]
    fn librdkafkas_queue_is_larger_than_the_window() {
        let config = producer_config(&options(&[]), BATCH_BYTES);
        let number = |name| config.get(name).expect("it is set").parse::<usize>().expect("it is a number");
        assert!(number("queue.buffering.max.messages") > 10_000);
        assert!(number("queue.buffering.max.kbytes") > 32 * 1024);
    }
}
