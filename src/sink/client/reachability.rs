//! Finds out why Kafka is unreachable: requests only time out, and the cause (DNS, TLS, SASL) reaches the error callback
//! of a polled client.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::connection::ConnectFailure;

/// How long to look for the reason.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one poll waits for an event.
const POLL: Duration = Duration::from_millis(50);

/// Connects with these settings, and returns the first reason why that fails.
pub async fn why_unreachable(settings: &ClientConfig) -> Option<ConnectFailure> {
    let mut settings = settings.clone();
    settings.set_log_level(RDKafkaLogLevel::Emerg);
    let connect = move || {
        let client: BaseProducer<Observer> = settings.create_with_context(Observer::default()).ok()?;
        let until = Instant::now() + CONNECT_TIMEOUT;
        loop {
            client.poll(POLL);
            let failure = client.context().0.lock().unwrap_or_else(PoisonError::into_inner).take();
            if failure.is_some() || Instant::now() >= until {
                return failure;
            }
        }
    };
    tokio::task::spawn_blocking(connect).await.expect("polling a client does not panic")
}

/// Keeps the first error that names a cause.
#[derive(Default)]
struct Observer(Mutex<Option<ConnectFailure>>);

impl ClientContext for Observer {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        // A summary of the errors before it.
        if code != Some(Code::AllBrokersDown) {
            let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| ConnectFailure::new(reason, code));
        }
    }
}

impl ProducerContext for Observer {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {}
}
