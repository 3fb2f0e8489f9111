//! Records that librdkafka takes for delivered because a later one was, although the broker that took that one did not know the
//! producer.

use std::sync::atomic::Ordering;

use walpost::relay::boundary::OwnedRecord;
use walpost::sink::{BatchOutcome, BatchWriter};

use super::scripted_broker::{Broker, TOPIC};
use super::{feed, options, record, rules, sink};

/// Each record is a batch.
const ALONE: (&str, &str) = ("batch.size", "1");

fn without_key() -> OwnedRecord {
    OwnedRecord { key: None, ..record(TOPIC, "", "v") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_a_key_is_sent_again_if_only_a_later_one_was_acknowledged() {
    let broker = Broker::start(1).await;
    broker.refuse_one_of_two(0);
    let mut sink = sink(&broker.address(), &[ALONE], &rules(TOPIC, 2));
    let run = feed(&mut sink, vec![without_key(), without_key()]).await;
    assert_eq!((run.acked, run.returned, broker.taken.load(Ordering::SeqCst)), (2, 1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_record_is_sent_again_if_only_one_without_a_key_was_acknowledged() {
    let broker = Broker::start(1).await;
    broker.refuse_one_of_two(0);
    let mut sink = sink(&broker.address(), &[ALONE], &rules(TOPIC, 2));
    let run = feed(&mut sink, vec![record(TOPIC, "key", "v"), without_key()]).await;
    assert_eq!((run.acked, run.returned, broker.taken.load(Ordering::SeqCst)), (2, 1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_commits_nothing_that_only_a_later_record_implies() {
    let broker = Broker::start(2).await;
    let mut writer = BatchWriter::open(options(&broker.address(), &[]), "id".to_owned()).await.expect("it is opened");
    // The first one is for partition 0, the others are for 1.
    let records = || vec![record(TOPIC, "foobar", "v"), record(TOPIC, "abc", "1"), record(TOPIC, "abc", "2")];
    broker.refuse_one_of_two(1);
    let outcome = writer.write(records()).await.expect("it is answered");
    assert!(matches!(outcome, BatchOutcome::Aborted { ref refused, .. } if refused.is_empty()), "{outcome:?}");
    assert_eq!(writer.write(records()).await.expect("it is answered"), BatchOutcome::Committed);
    assert_eq!(broker.taken.load(Ordering::SeqCst), 2 + 3);
}
