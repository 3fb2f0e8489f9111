//! librdkafka's mock cluster as a stand-in for Kafka, if neither Java nor Docker is available.

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer};

use super::probe::{Quiet, client};
use crate::lab::sandbox::error::SandboxError;

/// The mock's only broker.
const BROKER: i32 = 1;

/// A broker inside this process. It belongs to a client that is not otherwise used.
pub(super) struct Broker {
    owner: BaseProducer<Quiet>,
    bootstrap: String,
}

impl Broker {
    pub(super) fn start() -> Result<Self, SandboxError> {
        let owner = client(ClientConfig::new().set("test.mock.num.brokers", BROKER.to_string()))?;
        let mock = owner.client().mock_cluster();
        let bootstrap = mock.expect("a client that was asked for a mock cluster has one").bootstrap_servers();
        Ok(Self { owner, bootstrap })
    }

    pub(super) fn describe(&self) -> String {
        "in-process broker of librdkafka: no transactions, 5 MB a partition".to_owned()
    }

    pub(super) fn bootstrap(&self) -> String {
        self.bootstrap.clone()
    }

    /// Clients can't create topics here.
    pub(super) fn create_topic(&self, name: &str, partitions: i32) -> Result<(), SandboxError> {
        self.mock(|mock| mock.create_topic(name, partitions, 1))
    }

    /// The broker closes its connections and accepts no new ones.
    pub(super) fn down(&self) -> Result<(), SandboxError> {
        self.mock(|mock| mock.broker_down(BROKER))
    }

    pub(super) fn up(&self) -> Result<(), SandboxError> {
        self.mock(|mock| mock.broker_up(BROKER))
    }

    fn mock(
        &self,
        action: impl FnOnce(&rdkafka::mocking::MockCluster<'_, Quiet>) -> Result<(), KafkaError>,
    ) -> Result<(), SandboxError> {
        let mock = self.owner.client().mock_cluster();
        action(&mock.expect("a client that was asked for a mock cluster has one"))
            .map_err(|error| SandboxError::Client { reason: error.to_string() })
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Broker").field("bootstrap", &self.bootstrap).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_its_address_and_its_limits() {
        let broker = Broker::start().expect("an in-process broker");
        assert!(broker.bootstrap().starts_with("127.0.0.1:"), "{broker:?}");
        assert!(broker.describe().contains("no transactions"));
        broker.down().expect("a broker to stop");
        broker.up().expect("a broker to start");
    }
}
