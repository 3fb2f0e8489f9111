//! Which topic caused the loss of a transaction.
//!
//! A partition that this client may not write to can't be added to a transaction, which loses all of it: librdkafka
//! then returns every record with the same code, and names no topic (`rd_kafka_txn_handle_AddPartitionsToTxn` of
//! 2.12). Kafka reports which topics this client may write to (KIP-430), in one request. If that explains nothing,
//! each topic is tried by itself, with a record in a transaction that is never committed.

use rdkafka::types::RDKafkaErrorCode as Code;

use super::calls::{self, Ended};
use super::producer_factory::{ProducerFactory, blocking};
use crate::relay::boundary::{OwnedRecord, Ticket};
use crate::relay::route::destination::POSITIONS_TOPIC;
use crate::sink::client::error_code::{RecordFate, fate};
use crate::sink::client::partition_load::Route;
use crate::sink::client::producer_client::ProducerClient;
use crate::sink::error::{SinkError, TransactionsError};
use crate::sink::limits::PROBE_TICK;

/// Whether a transaction was lost because of a topic that accepts nothing from this client.
pub(super) fn is_topic_refused(client: &ProducerClient) -> bool {
    calls::lost_for(client).is_some_and(|code| matches!(fate(code), RecordFate::TopicRefused(_)))
}

/// Asks about the topics of these records, or tries them. Returns the topics that accept nothing from this client,
/// each with the code that says so.
///
/// # Errors
/// [`TransactionsError::NoPositionsTopic`] if the positions topic is one of them, and those of acquiring the
/// transactional id.
pub(super) async fn refusing(
    factory: &ProducerFactory,
    records: Vec<OwnedRecord>,
    stopped: &(impl Fn() -> bool + Clone + Send + 'static),
) -> Result<Vec<(String, Code)>, SinkError> {
    let positions_denied = || {
        let detail = "kafka does not allow this client to write to it".to_owned();
        SinkError::from(TransactionsError::NoPositionsTopic { detail })
    };
    let allowed = factory.topics.may_write(records.iter().map(|record| record.topic.clone()).collect()).await;
    let denied: Vec<_> = allowed.into_iter().filter(|(_, may_write)| !may_write).map(|(topic, _)| topic).collect();
    if denied.iter().any(|topic| topic == POSITIONS_TOPIC) {
        return Err(positions_denied());
    }
    if !denied.is_empty() {
        return Ok(denied.into_iter().map(|topic| (topic, Code::TopicAuthorizationFailed)).collect());
    }
    let mut refusing = Vec::new();
    for record in records {
        let client = factory.producers.clone().own(stopped.clone()).await?;
        let topic = record.topic.clone();
        let found = blocking(stopped, move |stopped| {
            let found = try_record(client, &record, &stopped);
            found.map_err(|Gone| SinkError::Stopped)
        })
        .await?;
        match found {
            Some(_) if topic == POSITIONS_TOPIC => return Err(positions_denied()),
            Some(code) => refusing.push((topic, code)),
            None => {}
        }
    }
    Ok(refusing)
}

/// Nobody waits any more.
struct Gone;

/// The code with which the topic refuses this client, if it does. Blocks until the record is answered.
fn try_record(
    mut client: ProducerClient,
    record: &OwnedRecord,
    stopped: &impl Fn() -> bool,
) -> Result<Option<Code>, Gone> {
    if calls::begin(&client) != Ended::Done {
        return Ok(None);
    }
    let (mut arrived, mut failed) = (Vec::new(), Vec::new());
    if let Err(code) = client.send(Ticket(0), &record.borrow(&record.header_list()), Route::default()) {
        return Ok(matches!(fate(code), RecordFate::TopicRefused(_)).then_some(code));
    }
    client.push_all();
    while arrived.is_empty() && failed.is_empty() {
        if stopped() {
            return Err(Gone);
        }
        std::thread::sleep(PROBE_TICK);
        client.take(&mut arrived, &mut failed);
    }
    let code = calls::lost_for(&client).filter(|code| matches!(fate(*code), RecordFate::TopicRefused(_)));
    client.retire();
    Ok(code)
}
