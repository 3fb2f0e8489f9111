//! Queries a Kafka for its live brokers.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};

use super::{Login, properties};
use crate::lab::sandbox::error::SandboxError;

/// Time limit for one answer, after which the request is repeated.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A client that tolerates a broker that is not up yet.
pub(super) struct Probe(Arc<BaseProducer<Quiet>>);

impl Probe {
    /// A client for these servers, logged in as `login` if given.
    pub(super) fn new(bootstrap: &str, login: Option<&Login>) -> Result<Self, SandboxError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap);
        config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "100");
        for (name, value) in login.map(properties::of_client).unwrap_or_default() {
            config.set(name, value);
        }
        client(&config).map(|client| Self(Arc::new(client)))
    }

    /// The ids of the live brokers, as seen by the one that answers; empty if none does.
    pub(super) async fn brokers(&self) -> Vec<i32> {
        let client = Arc::clone(&self.0);
        let metadata = tokio::task::spawn_blocking(move || client.client().fetch_metadata(None, ANSWER_LIMIT)).await;
        match metadata.expect("asking for metadata does not panic") {
            Ok(metadata) => metadata.brokers().iter().map(rdkafka::metadata::MetadataBroker::id).collect(),
            Err(_) => Vec::new(),
        }
    }
}

/// A producer that logs nothing: the sandbox expects "connection refused" during the start.
pub(super) fn client(config: &ClientConfig) -> Result<BaseProducer<Quiet>, SandboxError> {
    rdkafka::config::FromClientConfigAndContext::from_config_and_context(config, Quiet)
        .map_err(|error: KafkaError| SandboxError::Client { reason: error.to_string() })
}

/// A context that logs nothing.
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, _error: KafkaError, _reason: &str) {}
}

impl ProducerContext for Quiet {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &rdkafka::producer::DeliveryResult<'_>, _opaque: ()) {}
}
