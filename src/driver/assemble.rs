//! Builds a relay's parts from the configuration.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::event_loop::Driver;
use super::link::Link;
use super::lookup::{Lookup, TopicSource};
use super::maintenance::Maintenance;
use super::notices::Notices;
use super::publication::PublicationWatch;
use super::reporting::Reporter;
use super::side_events;
use super::slot_note::SlotNote;
use super::storing::Storing;
use crate::config::{AdminApi, Config, Delivery};
use crate::fault::Fault;
use crate::positions::window::Window;
use crate::postgres::ConnectOptions;
use crate::relay::delivery::window::InFlightWindow;
use crate::relay::route::data_schema::percent_encoded;
use crate::relay::{Core, Settings};
use crate::sink::{
    Connection as KafkaConnection, FIRST_ANSWER, KafkaSink, ProducerOptions, TopicRules, Topics, TransactionalSink,
    TransactionsOptions,
};
use crate::source::{Lease, OutboxTable, PastBackfill, RECORD_BYTES, STATUS_INTERVAL, SourceError, SourceOptions};
use crate::telemetry::Telemetry;

/// A relay that has not started.
pub(super) struct Parts<S> {
    pub(super) driver: Driver<S>,
    pub(super) maintenance: Maintenance,
    pub(super) window: Window,
}

/// A reachable Kafka cluster, and what writes to it.
pub(super) struct KafkaSide<S> {
    pub(super) sink: S,
    producer: ProducerOptions,
    rules: TopicRules,
    pub(super) topics: Arc<Topics>,
    pub(super) kafka: Arc<KafkaConnection>,
}

impl KafkaSide<KafkaSink> {
    /// Replaces the sink that probed Kafka with one that writes exactly once.
    pub(super) fn exactly_once(self, config: &Config) -> KafkaSide<TransactionalSink> {
        let Self { sink, producer, rules, topics, kafka } = self;
        // librdkafka waits for its threads to end, which takes 100 ms.
        drop(tokio::task::spawn_blocking(move || drop(sink)));
        let (rules_too, kafka_too, topics_too) = (rules.clone(), Arc::clone(&kafka), Arc::clone(&topics));
        let sink = TransactionalSink::new(producer.clone(), transactions(config), rules_too, kafka_too, topics_too);
        KafkaSide { sink, producer, rules, topics, kafka }
    }
}

impl<S> KafkaSide<S> {
    /// Builds a relay's parts.
    pub(super) fn relay(self, config: &Config, telemetry: &Arc<Telemetry>) -> Parts<S> {
        around(self.sink, TopicSource::Kafka(self.topics), self.kafka, config, telemetry)
    }
}

/// Creates the at-least-once sink and waits until Kafka, to which the client uses this name, is reachable.
pub(super) async fn connect_kafka(config: &Config, client_id: String) -> Result<KafkaSide<KafkaSink>, Fault> {
    let kafka = Arc::new(KafkaConnection::default());
    let producer = ProducerOptions { client_id, ..producer_options(config) };
    let rules = TopicRules::default();
    let topics = Topics::new(&producer, rules.clone(), Arc::clone(&kafka))?.with_budget(config.relay.max_new_topics);
    let topics = match config.kafka.admin_api {
        AdminApi::Present => topics,
        AdminApi::Absent => topics.without_admin_api(),
    };
    // Created first: its callbacks report why Kafka can't be reached.
    let sink = KafkaSink::new(producer.clone(), rules.clone(), Arc::clone(&kafka))?;
    if !topics.reach(FIRST_ANSWER).await {
        let servers = config.kafka.bootstrap_servers.clone();
        return Err(Fault::KafkaUnreachable { servers, within: FIRST_ANSWER, reason: kafka.last_failure() });
    }
    Ok(KafkaSide { sink, producer, rules, topics: Arc::new(topics), kafka })
}

/// Has the relay's position in Kafka forgotten: its next start begins at the slot's confirmed_flush_lsn.
///
/// # Errors
/// [`Fault`]: the position is unchanged, or it is unknown whether it is.
pub(crate) async fn forget_position(config: &Config, system_identifier: &str) -> Result<(), Fault> {
    let kafka = connect_kafka(config, client_id(config)).await?.exactly_once(config);
    kafka.sink.forget_position(system_identifier).await?;
    Ok(())
}

/// The parts of a relay that sends its records to `sink`.
pub(super) fn around<S>(
    sink: S,
    topics: TopicSource,
    kafka: Arc<KafkaConnection>,
    config: &Config,
    telemetry: &Arc<Telemetry>,
) -> Parts<S> {
    let postgres = connect_options(config);
    let past_backfill = PastBackfill::default();
    let source = source_options(config);
    let publication = Arc::new(PublicationWatch::new(&source));
    let lease = Arc::new(Lease::new(source.connect.clone(), source.slot.clone()));
    let (events, side_events) = side_events::channel();
    let driver = Driver {
        core: Core::new(settings(config, &postgres)),
        sink,
        window: in_flight_window(config),
        link: Link::new(source.clone(), Arc::clone(&lease), Arc::clone(&publication)),
        slot_note: SlotNote::new(Arc::clone(&lease)),
        lease,
        storing: Storing::new(config.postgres.slot.as_str().to_owned(), transactions(config).position_key()),
        lookup: Lookup::new(
            postgres.clone(),
            source.slot.clone(),
            topics,
            config.relay.create_topics,
            Arc::clone(telemetry),
            events.clone(),
        ),
        notices: Notices::default(),
        reporter: Reporter::new(Arc::clone(telemetry), kafka, past_backfill.clone()),
        side_events,
    };
    let (slot, rewind) = (config.postgres.slot.as_str(), config.relay.rewind);
    let window_events = events.clone();
    let on_failure = Box::new(move |error: &SourceError| window_events.note_failure(error.postgres()));
    let window = Window::new(postgres.clone(), slot, rewind, Arc::clone(telemetry), past_backfill.clone(), on_failure);
    let maintenance = Maintenance {
        postgres,
        slot: config.postgres.slot.as_str().to_owned(),
        retention: config.relay.retention,
        max_retained_wal: config.relay.max_retained_wal,
        telemetry: Arc::clone(telemetry),
        past_backfill,
        is_settled: AtomicBool::new(false),
        is_waited_for: AtomicBool::new(false),
        publication,
        events,
    };
    Parts { driver, maintenance, window }
}

/// The relay's identity in Kafka.
pub(crate) fn transactions(config: &Config) -> TransactionsOptions {
    TransactionsOptions {
        relay: config.relay.name.clone(),
        slot: config.postgres.slot.as_str().to_owned(),
        create_topics: config.relay.create_topics,
    }
}

pub(super) fn settings(config: &Config, postgres: &ConnectOptions) -> Settings {
    let relay = &config.relay;
    Settings {
        outboxes: config.outboxes.clone(),
        header_style: relay.headers,
        source: relay.source.clone().unwrap_or_else(|| format!("/{}", percent_encoded(postgres.database()))),
        schema_base: relay.schema_base.clone(),
        relay: relay.name.clone(),
        on_rejected: relay.on_rejected,
        dead_letter_topic: relay.dead_letter_topic.as_str().to_owned(),
        topics: relay.topics.clone(),
        max_in_flight: in_flight_window(config).limit(1).records,
        max_in_flight_bytes: in_flight_window(config).limit(1).bytes,
    }
}

/// How much may be in flight. With transactions an acknowledgement is a commit, and everything since the last commit is
/// in the window: with the configured window a transaction would be too short to pay for its commit.
pub(super) fn in_flight_window(config: &Config) -> InFlightWindow {
    match config.kafka.delivery {
        Delivery::AtLeastOnce => config.relay.window(),
        Delivery::ExactlyOnce => config.relay.window().times(2),
    }
}

/// The relay's name in broker logs and quotas.
pub(super) fn client_id(config: &Config) -> String {
    format!("walpost-{}", config.relay.name)
}

/// How to reach Kafka, and how much may be in flight.
pub(crate) fn producer_options(config: &Config) -> ProducerOptions {
    ProducerOptions {
        bootstrap_servers: config.kafka.bootstrap_servers.clone(),
        client_id: client_id(config),
        compression: config.kafka.compression,
        properties: config.kafka.properties.to_map(),
        window: in_flight_window(config),
    }
}

fn connect_options(config: &Config) -> ConnectOptions {
    config.postgres.connect.clone().or_application_name(&format!("walpost {}", config.relay.name))
}

/// The slot that a relay with this configuration streams from, and how.
pub(crate) fn source_options(config: &Config) -> SourceOptions {
    SourceOptions {
        connect: connect_options(config),
        slot: config.postgres.slot.as_str().to_owned(),
        publication: config.postgres.publication.clone(),
        tables: config.outboxes.iter().map(OutboxTable::of).collect(),
        status_interval: STATUS_INTERVAL,
        record_bytes: producer_options(config).record_bytes().unwrap_or(RECORD_BYTES),
    }
}
