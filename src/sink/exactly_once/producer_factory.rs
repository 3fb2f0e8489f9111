//! Creates transactional producers, which own their transactional id.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode as Code;

use super::super::topics::Topics;
use super::calls::{self, Ended};
use crate::sink::client::connection::Connection;
use crate::sink::client::context::LogGate;
use crate::sink::client::flush::AGAIN_IN_TRANSACTIONS;
use crate::sink::client::options::{
    ProducerOptions, TopicRules, batch_bytes, pace, producer_config, set_message_timeout,
};
use crate::sink::client::producer_client::ProducerClient;
use crate::sink::error::{SinkError, TransactionsError};
use crate::sink::limits::{ACQUIRE_PAUSE, TRANSACTION_TIMEOUT_MILLIS};

/// The relay's identity in Kafka.
#[derive(Clone, Debug)]
pub struct TransactionsOptions {
    /// `relay.name`.
    pub relay: String,
    pub slot: String,
    /// Whether the positions topic may be created.
    pub create_topics: bool,
}

impl TransactionsOptions {
    /// The transactional id: acquiring it fences its previous owner.
    #[must_use]
    pub fn transactional_id(&self) -> String {
        format!("walpost.{}.{}", self.relay, self.slot)
    }

    #[must_use]
    pub fn position_key(&self) -> String {
        format!("{}/{}", self.relay, self.slot)
    }
}

/// Everything that a relay's producer and its position need.
#[derive(Clone)]
pub(super) struct ProducerFactory {
    pub(super) producers: Producers,
    pub(super) identity: TransactionsOptions,
    pub(super) topics: Arc<Topics>,
}

/// Everything that a producer needs.
#[derive(Clone)]
pub(super) struct Producers {
    pub(super) options: ProducerOptions,
    pub(super) transactional_id: String,
    pub(super) rules: TopicRules,
    pub(super) connection: Arc<Connection>,
    pub(super) log: LogGate,
}

impl Producers {
    /// How long the coordinator leaves a transaction open.
    pub(super) fn transaction_timeout(&self) -> Duration {
        let given = self.options.properties.get("transaction.timeout.ms").and_then(|value| value.parse().ok());
        Duration::from_millis(given.unwrap_or(TRANSACTION_TIMEOUT_MILLIS))
    }

    pub(super) fn start(&self) -> Result<ProducerClient, SinkError> {
        let batch_bytes = batch_bytes(&self.options, &self.rules);
        let mut config = producer_config(&self.options, batch_bytes);
        // An aborted transaction leaves no gap, and the producer continues.
        config.remove("enable.gapless.guarantee");
        let timeout = self.transaction_timeout().as_millis();
        config.set("transactional.id", &self.transactional_id);
        config.set("transaction.timeout.ms", timeout.to_string());
        // Before the coordinator times out the transaction, which would look as if another relay had taken over.
        let pace = pace(&self.options, AGAIN_IN_TRANSACTIONS);
        set_message_timeout(&mut config, pace, (timeout / 2).max(100));
        ProducerClient::start(&config, pace, batch_bytes, self.options.window, &self.connection, &self.log)
    }

    /// A producer that owns the transactional id. Waits for as long as Kafka is unreachable.
    ///
    /// # Errors
    /// [`SinkError`]: waiting does not help.
    pub(super) async fn own(
        self,
        stopped: impl Fn() -> bool + Clone + Send + 'static,
    ) -> Result<ProducerClient, SinkError> {
        let id = self.transactional_id.clone();
        loop {
            let stopped = &stopped;
            let client = self.start()?;
            let (client, ended) = blocking(stopped, move |stopped| {
                let ended = calls::init(&client, &stopped);
                (client, ended)
            })
            .await;
            let (code, text) = match ended {
                Ended::Done => return Ok(client),
                Ended::Stopped => return Err(SinkError::Stopped),
                Ended::Fatal(code, text) => (code, text),
                Ended::Lost(text) | Ended::Fenced(text) => (Code::Fenced, text),
            };
            client.retire();
            match code {
                Code::TransactionalIdAuthorizationFailed | Code::ClusterAuthorizationFailed => {
                    return Err(TransactionsError::NotAuthorized { id }.into());
                }
                Code::InvalidTransactionTimeout => {
                    let millis = self.transaction_timeout().as_millis();
                    return Err(TransactionsError::Timeout { millis }.into());
                }
                Code::UnsupportedFeature => return Err(TransactionsError::Unsupported.into()),
                _ => tracing::warn!(error = text, "could not acquire the transactional id; retrying"),
            }
            tokio::time::sleep(ACQUIRE_PAUSE).await;
        }
    }
}

/// Runs blocking work on a blocking thread.
pub(super) async fn blocking<T: Send + 'static, S: Clone + Send + 'static>(
    stopped: &S,
    work: impl FnOnce(S) -> T + Send + 'static,
) -> T {
    let stopped = stopped.clone();
    tokio::task::spawn_blocking(move || work(stopped)).await.expect("a call to kafka does not panic")
}
