//! Others that use the transactional id, the slot, or the positions topic.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rustix::process::Signal;

use super::{POSITIONS, exact, exact_with, ready};
use walpost::lab::sandbox::KafkaOptions;

use crate::harness::{Harness, PATIENCE, Received, Relay, Verdict};
use crate::lifecycle::{SCHEMA, emit, prepare, published};
use crate::setup::{ended_with, walpost_with};

/// A producer that has acquired this transactional id.
pub(super) async fn producer(harness: &Harness, id: &str) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", harness.kafka())
        .set("transactional.id", id)
        .set("transaction.timeout.ms", "60000")
        .create()
        .expect("a Kafka client");
    tokio::task::spawn_blocking(move || {
        producer.init_transactions(PATIENCE).expect("kafka answers");
        producer
    })
    .await
    .expect("taking an id does not panic")
}

/// Writes a record to the positions topic.
pub(super) fn position(producer: &BaseProducer, key: &str, value: Option<&str>) {
    let record = BaseRecord::<str, str>::to(POSITIONS).key(key);
    let record = match value {
        Some(value) => record.payload(value),
        None => record,
    };
    producer.send(record).map_err(|(error, _)| error).expect("there is room");
}

/// Commits its open transaction.
pub(super) async fn commit(producer: BaseProducer) -> BaseProducer {
    let committed = tokio::task::spawn_blocking(move || {
        producer.commit_transaction(PATIENCE).expect("a commit");
        producer
    });
    committed.await.expect("committing does not panic")
}

/// An open transaction of another relay, with a record in the positions topic.
pub(super) async fn another_relays_transaction(harness: &Harness) -> BaseProducer {
    let other = producer(harness, &format!("other-{}", harness.name())).await;
    other.begin_transaction().expect("a transaction");
    position(&other, "other", Some("{}"));
    let flushed = tokio::task::spawn_blocking(move || {
        other.flush(PATIENCE).expect("kafka has it");
        other
    });
    flushed.await.expect("flushing does not panic")
}

/// Aborts its open transaction.
async fn abort(producer: BaseProducer) {
    let aborted = tokio::task::spawn_blocking(move || producer.abort_transaction(PATIENCE));
    aborted.await.expect("no panic").expect("an abort");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_19_a_fenced_relay_exits_with_the_reason() {
    let harness = Harness::new("exact fenced").await;
    prepare(&harness).await;
    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 0, 500)).await;
    published(&mut relay, 500).await;
    let id = format!("walpost.exact.{}", harness.name());
    let _other = producer(&harness, &id).await;
    harness.execute(&emit("w0-0", 500, 1_000)).await;
    assert_eq!(relay.exit().await.code(), Some(69), "{}", relay.log());
    assert!(relay.log().contains(&format!("fenced the transactional id {id}")), "{}", relay.log());
    let _second = ready(&harness).await;
    Verdict::of(&harness, SCHEMA).await.assert_exact();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_waiting_for_the_slot_does_not_fence_its_holder() {
    let harness = Harness::new("exact standby").await;
    prepare(&harness).await;
    let mut first = ready(&harness).await;
    harness.execute(&emit("w0-0", 0, 100)).await;
    published(&mut first, 100).await;
    let mut second = Relay::start_with(&exact(&harness, ""));
    second.wait_for_log("another relay holds the slot").await;
    harness.execute(&emit("w0-0", 100, 300)).await;
    published(&mut first, 300).await;
    first.kill();
    harness.execute(&emit("w0-0", 300, 400)).await;
    published(&mut second, 100).await;
    Verdict::of(&harness, SCHEMA).await.assert_exact();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_timed_out_by_kafka_is_sent_again() {
    let harness = Harness::new("exact timeout").await;
    prepare(&harness).await;
    let properties = r#""transaction.timeout.ms" = 2000, "socket.timeout.ms" = 2000"#;
    let config = exact_with(&harness, properties, "max_in_flight = 700\n");
    let mut relay = Relay::start_with(&config);
    relay.ready().await;
    harness.execute(&emit("w0-0", 0, 30_000)).await;
    for least in [2_000, 12_000] {
        published(&mut relay, least).await;
        relay.signal(Signal::STOP);
        // The coordinator checks for such transactions every ten seconds.
        tokio::time::sleep(Duration::from_secs(13)).await;
        relay.signal(Signal::CONT);
    }
    let verdict = Verdict::of(&harness, SCHEMA).await;
    verdict.assert_exact();
    assert!(relay.is_running(), "{}", relay.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_hidden_by_another_relays_transaction_is_waited_for() {
    let harness = Harness::new("exact hidden").await;
    prepare(&harness).await;
    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 0, 100)).await;
    published(&mut relay, 100).await;
    // What is committed after an open transaction's start in the partition can't be read before that has ended.
    let other = another_relays_transaction(&harness).await;
    harness.execute(&emit("w0-0", 100, 200)).await;
    published(&mut relay, 200).await;
    relay.kill();
    let mut second = Relay::start_with(&exact(&harness, ""));
    second.wait_for_log("waiting for another relay's transaction to end").await;
    harness.execute(&emit("w0-0", 200, 300)).await;
    abort(other).await;
    published(&mut second, 100).await;
    Verdict::of(&harness, SCHEMA).await.assert_exact();
}

/// It has acquired the transactional id and waits for Kafka's answer when it loses the slot: the later answer is
/// about another relay's work.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_loses_the_slot_while_reading_its_position_rereads_it() {
    let harness = Harness::with_own_kafka("exact withdrawn", KafkaOptions::default()).await;
    prepare(&harness).await;
    harness.execute(&emit("w0-0", 0, 100)).await;
    harness.create_topic(POSITIONS, 1, &[("cleanup.policy", "compact")]).await;
    let other = another_relays_transaction(&harness).await;
    // Only a record with its own key after that is waited for.
    let operator = producer(&harness, &format!("operator-{}", harness.name())).await;
    operator.begin_transaction().expect("a transaction");
    position(&operator, &format!("exact/{}", harness.name()), None);
    commit(operator).await;

    let mut first = Relay::start_with(&exact(&harness, ""));
    first.wait_for_log("waiting for another relay's transaction to end").await;
    let mut second = Relay::start_with(&exact(&harness, ""));
    second.wait_for("a standby", |status| status["standby"] == true).await;
    first.signal(Signal::STOP);
    second.wait_for_log("waiting for another relay's transaction to end").await;
    first.signal(Signal::CONT);
    first.wait_for("a standby", |status| status["standby"] == true).await;
    abort(other).await;
    published(&mut second, 100).await;
    second.wait_for_log("initial backfill published").await;
    harness.execute(&emit("w0-0", 100, 200)).await;
    published(&mut second, 200).await;
    second.kill();
    harness.execute(&emit("w0-0", 200, 300)).await;
    published(&mut first, 100).await;
    Verdict::of(&harness, SCHEMA).await.assert_exact();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_ahead_of_the_position_is_refused_until_the_position_is_forgotten() {
    let harness = Harness::new("exact gap").await;
    prepare(&harness).await;
    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 0, 100)).await;
    published(&mut relay, 100).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    harness.execute(&emit("w0-0", 100, 200)).await;
    let slot = harness.name().to_owned();
    harness.execute(&format!("select pg_replication_slot_advance('{slot}', pg_current_wal_lsn())")).await;
    harness.execute(&emit("w0-0", 200, 300)).await;
    // The note in the database shows it first; when only the slot was adopted, the position in Kafka.
    let steps = [
        ("something other than this relay advanced or recreated it", "slot adopt"),
        ("may be missing from Kafka", "slot adopt --forget-position"),
    ];
    for (word, command) in steps {
        let mut relay = Relay::start_with(&exact(&harness, ""));
        assert_eq!(relay.exit().await.code(), Some(69), "{}", relay.log());
        let log = relay.log();
        assert!(log.contains(&format!("slot {slot} is at")) && log.contains(word), "{log}");
        walpost_with(&exact(&harness, ""), command);
    }

    let _relay = ready(&harness).await;
    let records = harness.consume(&harness.topic(SCHEMA), 200).await;
    assert_eq!(records.len(), 200, "those before the gap and those behind it, once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_another_cluster_fences_nobody() {
    let harness = Harness::new("exact foreign").await;
    prepare(&harness).await;
    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 0, 10)).await;
    published(&mut relay, 10).await;
    // The relay of another cluster, with the same name and slot, has written since.
    let other = producer(&harness, &format!("foreign-{}", harness.name())).await;
    other.begin_transaction().expect("a transaction");
    let value = r#"{"position":"0/1/1","flush":"0/1","system_identifier":"1","timeline":1,"version":"0"}"#;
    position(&other, &format!("exact/{}", harness.name()), Some(value));
    commit(other).await;
    relay.kill();
    let mut second = Relay::start_with(&exact(&harness, ""));
    assert_eq!(second.exit().await.code(), Some(64), "{}", second.log());
    assert!(second.log().contains("give this relay another [relay] name"), "{}", second.log());
    let adopt = ended_with(&exact(&harness, ""), "slot adopt --forget-position");
    assert_eq!(adopt.code(), Some(64), "{}", adopt.stderr);
    assert!(adopt.stderr.contains("of Postgres cluster 1"), "{}", adopt.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_copy_does_not_fence_the_original() {
    let harness = Harness::new("exact promoted").await;
    prepare(&harness).await;
    let mut relay = ready(&harness).await;
    relay.wait_for_log("initial backfill published").await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    // The original's relay continues to write, on another timeline.
    let original = producer(&harness, &format!("walpost.exact.{}", harness.name())).await;
    let system = harness.query_text("select system_identifier::text from pg_control_system()").await.expect("a text");
    let value =
        format!(r#"{{"position":"0/1/1","flush":"0/1","system_identifier":"{system}","timeline":99,"version":"0"}}"#);
    original.begin_transaction().expect("a transaction");
    position(&original, &format!("exact/{}", harness.name()), Some(&value));
    let original = commit(original).await;
    // A commit is answered before its markers are written.
    let key = format!("exact/{}", harness.name());
    let is_seen = move |records: &[Received]| {
        let of_original =
            |record: &Received| record.value_text().is_some_and(|value| value.contains("\"timeline\":99"));
        records.iter().any(|record| record.key_text() == Some(&key) && of_original(record))
    };
    harness.consume_until(&[POSITIONS], "the original's position", is_seen).await;
    // The original has the copy's keys, but this test does not.
    harness.execute("update outbox.relay set position_signed = false").await;
    let mut copy = Relay::start_with(&exact(&harness, ""));
    assert_eq!(copy.exit().await.code(), Some(69), "{}", copy.log());
    assert!(copy.log().contains("of timeline 99 under key"), "{}", copy.log());
    original.begin_transaction().expect("it was not fenced");
    position(&original, &format!("exact/{}", harness.name()), Some(&value));
    commit(original).await;
}
