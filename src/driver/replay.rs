//! The driver for a replay: another stream and another core between the same edges, next to a relay and without
//! maintenance.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::assemble;
use super::assemble::{KafkaSide, in_flight_window, settings, source_options, transactions};
use super::event_loop::Driver;
use super::link::Link;
use super::lookup::{Lookup, TopicSource};
use super::notices::Notices;
use super::publication::PublicationWatch;
use super::reporting::Reporter;
use super::side_events;
use super::slot_note::SlotNote;
use super::storing::Storing;
use crate::config::Config;
use crate::fault::Fault;
use crate::relay::replay::{Replay, Replayed};
use crate::relay::{Core, Counters, boundary::Position};
use crate::sink::{Connection as KafkaConnection, KafkaSink, Sink};
use crate::source::{Feed, Lease, PastBackfill, SourceOptions};
use crate::telemetry::Telemetry;

/// What to publish again, and from where.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) replay: Replay,
    pub(crate) feed: Feed,
}

#[derive(Debug)]
pub(crate) struct ReplayEnd {
    pub(crate) replayed: Replayed,
    pub(crate) counters: Counters,
    /// The first position that may not have been published again.
    pub(crate) unfinished: Position,
    /// Why it ended early, if a fault ended it.
    pub(crate) outcome: Result<(), Fault>,
}

/// Publishes again to Kafka, until the end of `job` or `shutdown`.
///
/// # Errors
/// [`Fault`]: it did not start.
pub(crate) async fn replay(
    config: &Config,
    job: Job,
    telemetry: &Arc<Telemetry>,
    shutdown: CancellationToken,
) -> Result<ReplayEnd, Fault> {
    let KafkaSide::<KafkaSink> { sink, topics, kafka, .. } =
        assemble::connect_kafka(config, format!("{}-replay", assemble::client_id(config))).await?;
    Ok(replay_into(sink, TopicSource::Kafka(topics), kafka, config, job, telemetry, shutdown).await)
}

/// As [`replay`], into a sink that is not Kafka, which is never contacted.
pub(crate) async fn rehearse<S: Sink + Send>(
    sink: S,
    config: &Config,
    job: Job,
    telemetry: &Arc<Telemetry>,
    shutdown: CancellationToken,
) -> ReplayEnd {
    let kafka = Arc::new(KafkaConnection::default());
    replay_into(sink, TopicSource::Nowhere, kafka, config, job, telemetry, shutdown).await
}

async fn replay_into<S: Sink + Send>(
    sink: S,
    topics: TopicSource,
    kafka: Arc<KafkaConnection>,
    config: &Config,
    job: Job,
    telemetry: &Arc<Telemetry>,
    shutdown: CancellationToken,
) -> ReplayEnd {
    let name = format!("walpost {} replay", config.relay.name);
    let postgres = config.postgres.connect.clone().or_application_name(&name);
    let source = SourceOptions { connect: postgres.clone(), ..source_options(config) };
    let publication = Arc::new(PublicationWatch::new(&source));
    // It reads from a copy of the slot, so it holds no lease and needs none.
    let lease = Arc::new(Lease::new(source.connect.clone(), source.slot.clone()));
    // A replay has no maintenance: only the lookup reports something.
    let (events, side_events) = side_events::channel();
    let driver = Driver {
        core: Core::replaying(settings(config, &postgres), job.replay),
        sink,
        window: in_flight_window(config),
        link: Link::replaying(source, job.feed, Arc::clone(&lease), publication),
        slot_note: SlotNote::new(Arc::clone(&lease)),
        lease,
        storing: Storing::new(config.postgres.slot.as_str().to_owned(), transactions(config).position_key()),
        lookup: Lookup::new(
            postgres,
            config.postgres.slot.as_str().to_owned(),
            topics,
            config.relay.create_topics,
            Arc::clone(telemetry),
            events,
        ),
        notices: Notices::default(),
        reporter: Reporter::new(Arc::clone(telemetry), kafka, PastBackfill::default()),
        side_events,
    };
    let (core, outcome) = driver.run(shutdown, config.relay.shutdown_timeout).await;
    let replayed = core.replayed().cloned().unwrap_or_default();
    ReplayEnd { replayed, counters: core.counters(), unfinished: core.unfinished(), outcome }
}
