//! What both Kafka sinks do in the same way: they pass records to librdkafka, wait for reports, and close.

use std::future::Future;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::time::Instant;

use super::client::error_code::{RecordFate, fate};
use super::client::partition_load::Route;
use super::client::producer_client::ProducerClient;
use crate::exit::chain;
use crate::relay::boundary::{Record, Ticket};
use crate::sink::boundary::Deliveries;
use crate::sink::error::{SendError, SinkError};

/// A sink whose reports are collected in turns.
pub(super) trait DeliveryLoop {
    /// How long a full queue of librdkafka is left alone when nothing is reported.
    const QUEUE_TICK: Duration;

    /// Moves reports to `into`, and the sink to its next phase.
    fn collect(&mut self, into: &mut Deliveries) -> Result<(), SinkError>;

    /// Whether the driver has to act although there is nothing to report.
    fn is_due(&self) -> bool {
        false
    }

    /// Has librdkafka send what was handed over.
    fn push(&mut self);

    /// Waits until there may be something to collect. Cancel-safe.
    fn wait(&mut self) -> impl Future<Output = ()> + Send;

    fn room(&mut self) -> &mut Room;

    /// While closing: works towards the point at which nothing is left to collect. Returns whether it is reached.
    fn wind_down(&mut self) -> bool;
}

/// Why offers were `Full`, as far as no report tells when that ends.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// librdkafka's own queue was full.
    pub(super) is_queue_full: bool,
    /// The reason no longer holds.
    pub(super) is_back: bool,
}

/// [`Sink::deliveries`](super::Sink::deliveries).
pub(super) async fn deliveries(sink: &mut impl DeliveryLoop, into: &mut Deliveries) -> Result<(), SinkError> {
    loop {
        sink.collect(into)?;
        if !into.is_empty() || sink.room().is_back || sink.is_due() {
            sink.room().is_back = false;
            return Ok(());
        }
        sink.push();
        if sink.room().is_queue_full {
            // librdkafka counts a record until after its report was read, so the last report may come before there
            // is room.
            drop(tokio::time::timeout(queue_tick(sink), sink.wait()).await);
            *sink.room() = Room { is_queue_full: false, is_back: true };
        } else {
            sink.wait().await;
        }
    }
}

const fn queue_tick<S: DeliveryLoop>(_: &S) -> Duration {
    S::QUEUE_TICK
}

/// Collects what is answered until nothing is left, for at most `timeout`.
pub(super) async fn drain(sink: &mut impl DeliveryLoop, timeout: Duration) -> Deliveries {
    let deadline = Instant::now() + timeout;
    let mut deliveries = Deliveries::default();
    loop {
        if let Err(error) = sink.collect(&mut deliveries) {
            tracing::warn!(error = %chain(&error), "kafka failed while the relay was stopping");
            break;
        }
        if sink.wind_down() || tokio::time::timeout_at(deadline, sink.wait()).await.is_err() {
            break;
        }
    }
    deliveries
}

/// Ends a producer. librdkafka waits for its threads; they must be gone before the process may end.
pub(super) async fn shut_down(client: Option<ProducerClient>) {
    if let Err(error) = tokio::task::spawn_blocking(move || drop(client)).await {
        tracing::error!(error = %error, "kafka producer panicked during shutdown");
    }
}

/// Why librdkafka did not queue a record.
enum NotQueued {
    /// There is no room, or the producer has failed.
    Full,
    /// This record is at fault.
    Unfit(Code),
}

fn enqueue(
    client: &mut ProducerClient,
    room: &mut Room,
    ticket: Ticket,
    record: &Record<'_>,
    route: Route,
) -> Result<(), NotQueued> {
    match client.send(ticket, record, route) {
        Ok(()) => Ok(()),
        Err(Code::QueueFull) => {
            room.is_queue_full = true;
            Err(NotQueued::Full)
        }
        // The producer has failed, or the transaction is lost: `collect` finds out why.
        Err(Code::Fatal | Code::State) => {
            client.inbox().break_off();
            Err(NotQueued::Full)
        }
        // librdkafka checks a record against its own limits before it queues it.
        Err(code) => Err(NotQueued::Unfit(code)),
    }
}

/// Passes a record to librdkafka that the core offers.
pub(super) fn hand_over(
    client: &mut ProducerClient,
    room: &mut Room,
    ticket: Ticket,
    record: &Record<'_>,
    route: Route,
) -> Result<(), SendError> {
    match enqueue(client, room, ticket, record, route) {
        Ok(()) => Ok(()),
        Err(NotQueued::Full) => Err(SendError::Full),
        Err(NotQueued::Unfit(code)) => match fate(code) {
            RecordFate::RecordRefused(refusal) | RecordFate::TopicRefused(refusal) => Err(SendError::Refused(refusal)),
            RecordFate::Returned => {
                client.fail(ticket, record, code);
                Ok(())
            }
        },
    }
}

/// Passes a record to librdkafka that was taken from the core before, so whatever is wrong with it follows as a report.
/// Returns whether it was passed on; otherwise it is for the next turn.
pub(super) fn send_taken(
    client: &mut ProducerClient,
    room: &mut Room,
    ticket: Ticket,
    record: &Record<'_>,
    route: Route,
) -> bool {
    match enqueue(client, room, ticket, record, route) {
        Ok(()) => true,
        Err(NotQueued::Full) => false,
        Err(NotQueued::Unfit(code)) => {
            client.fail(ticket, record, code);
            true
        }
    }
}
