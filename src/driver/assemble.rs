//! From the configuration to a relay's parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use tokio::sync::mpsc;

use super::Driver;
use super::backfill_note::BackfillNote;
use super::link::Link;
use super::lookup::{Lookup, TopicSource};
use super::publication::PublicationWatch;
use super::upkeep::Upkeep;
use crate::config::{AdminApi, Config};
use crate::fault::Fault;
use crate::postgres::ConnectOptions;
use crate::relay::outbox::Outbox;
use crate::relay::role::Role;
use crate::relay::{Core, Settings};
use crate::sink::{Connection as KafkaConnection, KafkaSink, ProducerOptions, TopicRules, Topics};
use crate::source::{OutboxTable, STATUS_INTERVAL, SourceOptions, TableName};
use crate::telemetry::Telemetry;

/// How long Kafka may take to answer for the first time. Afterwards it is waited for as long as it takes.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// A relay that has not begun.
pub(super) struct Parts<S> {
    pub(super) driver: Driver<S>,
    pub(super) upkeep: Upkeep,
}

/// Makes a relay's parts and sees that Kafka is there.
pub(super) async fn relay(config: &Config, telemetry: &Arc<Telemetry>) -> Result<Parts<KafkaSink>, Fault> {
    let kafka = Arc::new(KafkaConnection::default());
    let producer = producer_options(config);
    let rules = TopicRules::default();
    let topics = Topics::new(&producer, rules.clone(), Arc::clone(&kafka))?;
    let topics = match config.kafka.admin_api {
        AdminApi::Present => topics,
        AdminApi::Absent => topics.without_admin_api(),
    };
    // Made first: its callbacks tell why Kafka can't be reached.
    let sink = KafkaSink::new(producer, rules, Arc::clone(&kafka))?;
    if !topics.reach(FIRST_ANSWER).await {
        let servers = config.kafka.bootstrap_servers.clone();
        return Err(Fault::KafkaUnreachable { servers, within: FIRST_ANSWER, reason: kafka.last_failure() });
    }
    Ok(around(sink, TopicSource::Kafka(topics), kafka, config, telemetry))
}

/// The other parts of a relay whose records go to `sink`.
pub(super) fn around<S>(
    sink: S,
    topics: TopicSource,
    kafka: Arc<KafkaConnection>,
    config: &Config,
    telemetry: &Arc<Telemetry>,
) -> Parts<S> {
    let postgres = config.postgres.connect.clone().or_application_name(&format!("walpost {}", config.relay.name));
    let server_end = Arc::new(AtomicU64::new(0));
    let may_drop = Arc::new(AtomicBool::new(false));
    let source = source_options(config, postgres.clone());
    let publication = Arc::new(PublicationWatch::new(&source));
    let (found, findings) = mpsc::channel(1);
    let driver = Driver {
        core: Core::new(settings(config, &postgres)),
        sink,
        link: Link::new(source.clone(), Arc::clone(&publication)),
        backfill_note: BackfillNote::new(source),
        lookup: Lookup::new(postgres.clone(), topics, config.relay.create_topics, Arc::clone(telemetry)),
        kafka,
        telemetry: Arc::clone(telemetry),
        server_end: Arc::clone(&server_end),
        may_drop: Arc::clone(&may_drop),
        findings,
        progress_at: None,
        kafka_restarts: 0,
        stray_messages: 0,
        was_up: false,
        blocked_on: None,
    };
    let upkeep = Upkeep {
        postgres,
        slot: config.postgres.slot.as_str().to_owned(),
        retention: config.relay.retention,
        telemetry: Arc::clone(telemetry),
        server_end,
        may_drop,
        publication,
        findings: found,
    };
    Parts { driver, upkeep }
}

fn settings(config: &Config, postgres: &ConnectOptions) -> Settings {
    let relay = &config.relay;
    Settings {
        outboxes: config.outboxes.clone(),
        header_style: relay.headers,
        source: relay.source.clone().unwrap_or_else(|| format!("/{}", postgres.database())),
        relay: relay.name.clone(),
        on_rejected: relay.on_rejected,
        dead_letter_topic: relay.dead_letter_topic.as_str().to_owned(),
        max_in_flight: relay.max_in_flight,
        max_in_flight_bytes: relay.max_in_flight_bytes,
    }
}

fn producer_options(config: &Config) -> ProducerOptions {
    ProducerOptions {
        bootstrap_servers: config.kafka.bootstrap_servers.clone(),
        client_id: format!("walpost-{}", config.relay.name),
        properties: config.kafka.properties.to_map(),
        max_in_flight: config.relay.max_in_flight,
        max_in_flight_bytes: config.relay.max_in_flight_bytes,
    }
}

fn source_options(config: &Config, connect: ConnectOptions) -> SourceOptions {
    SourceOptions {
        connect,
        slot: config.postgres.slot.as_str().to_owned(),
        publication: config.postgres.publication.clone(),
        tables: config.outboxes.iter().map(table).collect(),
        status_interval: STATUS_INTERVAL,
    }
}

/// The backfill reads all columns, so that its rows have the layout that they have in the stream.
fn table(outbox: &Outbox) -> OutboxTable {
    let created_at = outbox.columns.iter().find(|column| column.role == Role::CreatedAt);
    OutboxTable {
        table: TableName { schema: outbox.namespace.clone(), name: outbox.table.clone() },
        columns: Vec::new(),
        order_by: created_at.map(|column| column.name.clone()),
    }
}
