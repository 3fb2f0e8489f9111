//! Outcomes of a transaction whose commit has no answer, without a broker.

use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::relay::boundary::{Checkpoint, Lsn, MacKey, Position, PositionKey, Record, Signature, Verdict};
use crate::relay::delivery::window::InFlightWindow;
use crate::sink::boundary::Sink;
use crate::sink::client::context::Report;
use crate::sink::client::options::{Pace, producer_config};
use crate::sink::stored_position::PositionEntry;
use crate::sink::{Compression, ProducerOptions, TopicRules, Topics};

const RECORD: Record<'static> = Record { topic: "t", key: None, value: Some(b"v"), headers: &[], timestamp_millis: 1 };

fn position(flush: u64) -> StoredPosition {
    let position = Position { commit: Lsn(flush), ordinal: 1 };
    let checkpoint = Checkpoint { position, committed_at: None, flush: Lsn(flush) };
    let cluster = Cluster { system_identifier: "7".to_owned(), timeline: 1 };
    StoredPosition { checkpoint, cluster, transaction: Uuid::nil(), epoch: None, signed_by: None }
}

/// A sink with two records in a transaction whose commit started: the position before it is 10, its own 20.
fn in_doubt() -> TransactionalSink {
    let options = ProducerOptions {
        bootstrap_servers: "127.0.0.1:1".to_owned(),
        client_id: "test".to_owned(),
        compression: Compression::default(),
        properties: std::collections::BTreeMap::new(),
        window: InFlightWindow::fixed(100, 100_000),
    };
    let (rules, connection) = (TopicRules::default(), Arc::<Connection>::default());
    let topics = Topics::new(&options, rules.clone(), Arc::clone(&connection)).expect("a client needs no broker");
    let identity = TransactionsOptions { relay: "r".to_owned(), slot: "s".to_owned(), create_topics: true };
    let mut sink = TransactionalSink::new(options, identity, rules, connection, Arc::new(topics));
    sink.is_open = true;
    sink.stored = Some(position(10));
    sink.in_doubt = Some(position(20));
    for ticket in 0..2 {
        sink.open.keep(Ticket(ticket), &RECORD, Instant::now());
    }
    sink
}

#[tokio::test]
async fn past_the_end_of_its_timeline_a_stored_position_confirms_nothing() {
    let mut sink = in_doubt();
    sink.stored = Some(position(500));
    assert_eq!(sink.stored(), Some(Lsn(500)));
    sink.ancestry = Ancestry(vec![(1, Lsn(100))]);
    assert_eq!(sink.stored(), Some(Lsn(100)));
}

#[tokio::test]
async fn case_39_trying_the_positions_topic_makes_no_copy_of_the_position() {
    let mut sink = in_doubt();
    let key = MacKey::new(&[1; 64], &[2; 64]).expect("two blocks");
    sink.keys.keys = vec![PositionKey { id: 1, key }];
    let value = sink.position_record().value.expect("a position was stored");
    assert_eq!(sink.keys.signature(b"r/s", &value), Signature::Missing);
    assert_ne!(value, position(10).encode("r/s", &sink.keys));
}

fn recover(sink: &mut TransactionalSink, stored: Option<StoredPosition>) -> Deliveries {
    let client = sink.factory.producers.start().expect("a client needs no broker");
    let mut deliveries = Deliveries::default();
    let kept = stored.map_or(PositionEntry::Nothing, PositionEntry::Position);
    sink.handle_recovered(Recovered { client, kept, refusing: Vec::new() }, &mut deliveries);
    deliveries
}

#[tokio::test]
async fn an_unanswered_commit_found_in_kafka_acknowledges_its_records() {
    let mut sink = in_doubt();
    let deliveries = recover(&mut sink, Some(position(20)));
    assert_eq!(deliveries.acked, [Ticket(0), Ticket(1)]);
    assert!(deliveries.failed.is_empty());
    assert_eq!(sink.stored, Some(position(20)));
}

#[tokio::test]
async fn a_position_of_an_earlier_slot_is_not_stored_until_the_next_one_is() {
    let mut sink = in_doubt();
    sink.disown_stored();
    assert_eq!(sink.stored(), Some(Lsn(0)), "nothing may be confirmed by it");
    recover(&mut sink, Some(position(10)));
    assert_eq!(sink.stored(), Some(Lsn(0)), "it is no other relay's, and still not this slot's");
    sink.in_doubt = Some(position(5));
    recover(&mut sink, Some(position(5)));
    assert_eq!(sink.stored(), Some(Lsn(5)));
}

#[tokio::test]
async fn an_unanswered_commit_not_found_in_kafka_returns_its_records() {
    let mut sink = in_doubt();
    let deliveries = recover(&mut sink, Some(position(10)));
    assert!(deliveries.acked.is_empty());
    let returned: Vec<_> = deliveries.failed.iter().map(|failure| (failure.ticket, &failure.verdict)).collect();
    assert!(matches!(returned[..], [(Ticket(0), Verdict::Returned(_)), (Ticket(1), Verdict::Returned(_))]));
    assert_eq!(sink.stored, Some(position(10)));
}

#[tokio::test]
async fn a_young_transaction_that_is_fenced_ends_the_sink_and_one_that_timed_out_does_not() {
    let mut sink = in_doubt();
    sink.phase = Phase::Open;
    let error = sink.handle_failed_call(Ended::Fenced("fenced".to_owned())).expect_err("another has taken over");
    assert!(matches!(error, SinkError::Transactions(TransactionsError::Fenced { .. })));
    let long_ago = Instant::now() - sink.factory.producers.transaction_timeout();
    let mut deliveries = Deliveries::default();
    sink.open.commit(&mut deliveries.acked, long_ago);
    sink.open.begin(long_ago);
    assert!(sink.handle_failed_call(Ended::Fenced("fenced".to_owned())).is_ok());
}

#[tokio::test]
async fn a_commit_without_an_answer_is_not_identified_by_its_checkpoint_alone() {
    let mut sink = in_doubt();
    sink.in_doubt = Some(StoredPosition { transaction: Uuid::now_v7(), ..position(10) });
    let deliveries = recover(&mut sink, Some(position(10)));
    assert!(deliveries.acked.is_empty(), "what is in Kafka is the one before");
    assert_eq!(deliveries.failed.len(), 2);
}

#[tokio::test]
async fn an_implied_acknowledgement_aborts_the_transaction() {
    let mut sink = in_doubt();
    recover(&mut sink, Some(position(10)));
    // A transactional one takes nothing before it has met a broker.
    let (options, connection) = (&sink.factory.producers.options, Arc::default());
    let config = producer_config(options, 1_000);
    let client = ProducerClient::start(&config, Pace::Linger, 1_000, options.window, &connection, &LogGate::default());
    let client = client.expect("a client needs no broker");
    let inbox = Arc::clone(client.inbox());
    sink.client = Some(client);
    sink.open.begin(Instant::now());
    sink.phase = Phase::Open;
    // Records of one key don't wait for each other, although no broker knows the producer yet.
    let record = Record { key: Some(b"k"), ..RECORD };
    for ticket in 2..4 {
        sink.send(Ticket(ticket), &record).expect("it is taken");
    }
    let implied =
        Report { slot: 0, record: OwnedRecord::copy(&record), partition: 0, code: RDKafkaErrorCode::Inconsistent };
    inbox.lock().implied.push(implied);
    inbox.lock().acked.push(1);
    let mut deliveries = Deliveries::default();
    sink.collect(&mut deliveries).expect("nothing is final");
    assert!(matches!(sink.phase, Phase::Calling(_)), "the abort has begun");
    assert!(deliveries.acked.is_empty());
}
