//! Records under the relay's key in the positions topic that the relay did not write.

use rdkafka::producer::Producer;

use super::fencing::{commit, position, producer};
use super::{POSITIONS, exact, ready};
use crate::harness::{Harness, Received, Relay};
use crate::lifecycle::{SCHEMA, emit, prepare, published};
use crate::setup::walpost_with;

/// Writes a record under the relay's key, and waits until it can be read.
pub(super) async fn write(harness: &Harness, value: Option<&str>, count: usize) {
    let other = producer(harness, &format!("forger-{}", harness.name())).await;
    other.begin_transaction().expect("a transaction");
    let key = format!("exact/{}", harness.name());
    position(&other, &key, value);
    commit(other).await;
    let value = value.map(str::to_owned);
    let is_same =
        move |record: &&Received| record.key_text() == Some(key.as_str()) && record.value_text() == value.as_deref();
    let is_there = move |records: &[Received]| records.iter().filter(&is_same).count() >= count;
    harness.consume_until(&[POSITIONS], "the forged record", is_there).await;
}

/// The last position that the relay has stored, once one with this text can be read: another test's open transaction may hide it.
pub(super) async fn own_position(harness: &Harness, text: &'static str) -> String {
    let key = format!("exact/{}", harness.name());
    let value = move |record: &Received| {
        (record.key_text() == Some(key.as_str())).then(|| record.value_text().map(str::to_owned)).flatten()
    };
    let last = move |records: &[Received]| records.iter().rev().find_map(&value).filter(|found| found.contains(text));
    let is_there = {
        let last = last.clone();
        move |records: &[Received]| last(records).is_some()
    };
    last(&harness.consume_until(&[POSITIONS], "the relay's position", is_there).await).expect("it was there")
}

/// Starts a relay that exits with 69, and follows its advice.
async fn refused(harness: &Harness, reason: &str) {
    let mut relay = Relay::start_with(&exact(harness, ""));
    assert_eq!(relay.exit().await.code(), Some(69), "{}", relay.log());
    let log = relay.log();
    assert!(log.contains(reason) && log.contains("walpost slot adopt --forget-position"), "{log}");
    walpost_with(&exact(harness, ""), "slot adopt --forget-position");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_39_a_position_not_written_by_the_relay_is_refused_and_reported() {
    let harness = Harness::new("exact forged").await;
    prepare(&harness).await;
    let slot = harness.name().to_owned();
    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 0, 10)).await;
    published(&mut relay, 10).await;
    harness.wait_for(&format!("select position_signed from outbox.relay where slot = '{slot}'")).await;
    relay.kill();
    let system = harness.query_text("select system_identifier::text from pg_control_system()").await.expect("a text");
    let end = harness.query_text("select pg_current_wal_flush_lsn()::text").await.expect("an LSN");
    let unsigned = |end: &str| {
        format!(r#"{{"position":"{end}/1","flush":"{end}","system_identifier":"{system}","timeline":1,"version":"0"}}"#)
    };
    write(&harness, Some(&unsigned(&end)), 1).await;
    refused(&harness, "has no valid signature").await;

    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 10, 20)).await;
    published(&mut relay, 10).await;
    harness.wait_for(&format!("select position is not null from outbox.relay where slot = '{slot}'")).await;
    relay.kill();
    // One is from the earlier `slot adopt`.
    write(&harness, None, 2).await;
    refused(&harness, "has a null value under key").await;

    // A copy of the relay's own position, which has a valid signature and might be from an aborted transaction.
    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 30, 40)).await;
    published(&mut relay, 10).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    let own = own_position(&harness, "").await;
    write(&harness, Some(&own), 2).await;
    refused(&harness, "is there twice").await;

    // From an earlier version, which notes its position and does not sign it.
    let mut relay = ready(&harness).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    walpost_with(&exact(&harness, ""), "slot adopt --forget-position");
    let end = harness.query_text("select pg_current_wal_flush_lsn()::text").await.expect("an LSN");
    harness.execute(&format!("update outbox.relay set position = '{end}' where slot = '{slot}'")).await;
    write(&harness, Some(&unsigned(&end)), 1).await;
    // The event at that position does not exist, which is detected only after the signature was checked.
    let mut relay = Relay::start_with(&exact(&harness, ""));
    harness.execute(&emit("w0-0", 20, 30)).await;
    let found = |log: &str| log.contains("skipping events up to the position stored in kafka");
    let since = std::time::Instant::now();
    while !found(&relay.log()) && since.elapsed() < crate::harness::PATIENCE {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(found(&relay.log()), "{}", relay.log());
    relay.kill();
    assert!(harness.consume(&harness.topic(SCHEMA), 20).await.len() >= 20);
}
