//! Starts a relay and its background tasks.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::assemble::{self, Parts};
#[cfg(feature = "lab")]
use super::lookup::TopicSource;
use crate::config::{Config, Delivery};
use crate::fault::Fault;
#[cfg(feature = "lab")]
use crate::sink::Connection as KafkaConnection;
use crate::sink::Sink;
use crate::telemetry::Telemetry;

/// Runs a relay until `shutdown` or a fault.
///
/// On shutdown no new transaction is started; records in flight are awaited for at most `relay.shutdown_timeout`, and
/// the slot is left at the last commit that is completely in Kafka.
///
/// # Errors
/// [`Fault`]: why the relay can't continue, with the fix and the exit code.
pub(crate) async fn run(config: &Config, telemetry: Arc<Telemetry>, shutdown: CancellationToken) -> Result<(), Fault> {
    let kafka = assemble::connect_kafka(config, assemble::client_id(config)).await?;
    match config.kafka.delivery {
        Delivery::AtLeastOnce => drive(kafka.relay(config, &telemetry), config, shutdown).await,
        Delivery::ExactlyOnce => drive(kafka.exactly_once(config).relay(config, &telemetry), config, shutdown).await,
    }
}

/// For the benchmark: a relay whose records go to `sink`; what that acknowledges is confirmed. Kafka is not contacted.
///
/// # Errors
/// As [`run`].
#[cfg(feature = "lab")]
pub(crate) async fn run_into<S: Sink + Send>(
    sink: S,
    config: &Config,
    telemetry: Arc<Telemetry>,
    shutdown: CancellationToken,
) -> Result<(), Fault> {
    let kafka = Arc::new(KafkaConnection::default());
    drive(assemble::around(sink, TopicSource::Nowhere, kafka, config, &telemetry), config, shutdown).await
}

async fn drive<S: Sink + Send>(parts: Parts<S>, config: &Config, shutdown: CancellationToken) -> Result<(), Fault> {
    let maintenance = tokio::spawn(parts.maintenance.run());
    let window = tokio::spawn(parts.window.run());
    let (_, outcome) = parts.driver.run(shutdown, config.relay.shutdown_timeout).await;
    maintenance.abort();
    window.abort();
    outcome
}
