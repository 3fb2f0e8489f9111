//! The database or Kafka is in another state than when the position was stored.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use walpost::lab::sandbox::{Durability, KafkaOptions, PostgresOptions, StopMode};

use super::{POSITIONS, exact, ready};
use crate::doctor::examine;
use crate::harness::{Harness, Received, Relay, Verdict};
use crate::lifecycle::{SCHEMA, emit, prepare, published};
use crate::setup::walpost_with;

/// Copies a directory with its owners and permissions.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp is there");
    assert!(status.success(), "copy {} to {}", from.display(), to.display());
}

/// The slot's position.
async fn confirmed(harness: &Harness) -> String {
    let sql = "select confirmed_flush_lsn::text from pg_replication_slots where slot_name";
    harness.query_text(&format!("{sql} = '{}'", harness.name())).await.expect("the slot is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_with_new_writes_loses_no_event() {
    let options = PostgresOptions { durability: Durability::NoFsync, ..PostgresOptions::default() };
    let mut harness = Harness::with_own_postgres("exact restored", options).await;
    prepare(&harness).await;
    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 0, 10)).await;
    published(&mut relay, 10).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());

    let backup = tempfile::tempdir().expect("a temporary folder");
    let (data, backup) = (harness.own_postgres().data_path().to_owned(), backup.path().join("data"));
    harness.own_postgres().stop(StopMode::Fast).await.expect("postgres stops");
    copy(&data, &backup);
    harness.own_postgres().start_again().await.expect("postgres starts again");
    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 10, 200)).await;
    published(&mut relay, 190).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    let stored = confirmed(&harness).await;

    harness.own_postgres().stop(StopMode::Fast).await.expect("postgres stops");
    std::fs::remove_dir_all(&data).expect("the data is removed");
    copy(&backup, &data);
    harness.own_postgres().start_again().await.expect("postgres starts again");
    let slot = confirmed(&harness).await;
    harness.execute(&emit("w0-0", 200, 250)).await;
    harness.execute("select pg_logical_emit_message(false, 'other work', repeat('x', 2000000))").await;
    harness.wait_for(&format!("select pg_current_wal_flush_lsn() > '{stored}'")).await;
    let mut relay = Relay::start_with(&exact(&harness, ""));
    assert_eq!(relay.exit().await.code(), Some(69), "{}", relay.log());
    let log = relay.log();
    assert!(log.contains("does not have that event") && log.contains("may be missing from Kafka"), "{log}");
    assert_eq!(confirmed(&harness).await, slot, "nothing was confirmed");

    assert!(
        walpost_with(&exact(&harness, ""), "slot adopt --forget-position")
            .contains("position stored in Kafka forgotten")
    );
    let _relay = ready(&harness).await;
    let number = |record: &Received| {
        let value: serde_json::Value = serde_json::from_str(record.value_text()?).ok()?;
        value["n"].as_u64()
    };
    let are_there = move |records: &[Received]| {
        let numbers: BTreeSet<u64> = records.iter().filter_map(number).collect();
        (0..250).all(|wanted| numbers.contains(&wanted))
    };
    harness.consume_until(&[&harness.topic(SCHEMA)], "the events of both histories", are_there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_positions_are_refused_and_a_forgotten_one_is_not() {
    let harness = Harness::with_own_kafka("exact lost", KafkaOptions::default()).await;
    prepare(&harness).await;
    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 0, 100)).await;
    let end = harness.query_text("select pg_current_wal_insert_lsn()::text").await.expect("an LSN");
    published(&mut relay, 100).await;
    let noted = format!("select position is not null from outbox.relay where slot = '{}'", harness.name());
    harness.wait_for(&noted).await;
    // Without positions the next relay starts at the slot's confirmed_flush_lsn.
    let slot = format!("from pg_replication_slots where slot_name = '{}'", harness.name());
    harness.wait_for(&format!("select confirmed_flush_lsn >= '{end}' {slot}")).await;
    relay.kill();
    harness.delete_topic(POSITIONS).await;
    let slot = confirmed(&harness).await;
    // A start does not create the topic: what comes after it must see the same.
    let idle = format!("select not active from pg_replication_slots where slot_name = '{}'", harness.name());
    for _ in 0..2 {
        harness.wait_for(&idle).await;
        let lost = &examine(&exact(&harness, "")).of(&harness, "position")[0];
        assert!(lost.starts_with("failure: topic walpost.positions has no record with key"), "{lost}");
        let mut relay = Relay::start_with(&exact(&harness, ""));
        assert_eq!(relay.exit().await.code(), Some(69), "{}", relay.log());
        let log = relay.log();
        assert!(log.contains("has no record with key") && log.contains(&format!("position {slot} may be")), "{log}");
    }
    // Another relay may have created it.
    harness.create_topic(POSITIONS, 1, &[]).await;
    harness.wait_for(&idle).await;
    let lost = &examine(&exact(&harness, "")).of(&harness, "position")[0];
    assert!(lost.starts_with("failure: topic walpost.positions has no record with key"), "{lost}");

    walpost_with(&exact(&harness, ""), "slot adopt --forget-position");
    let mut relay = ready(&harness).await;
    harness.execute(&emit("w0-0", 100, 150)).await;
    published(&mut relay, 50).await;
    assert!(relay.log().contains("it was forgotten"), "{}", relay.log());
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());

    // Without positions there is nothing to lose.
    let at_least_once = exact(&harness, "").replace("exactly-once", "at-least-once");
    let mut relay = Relay::start_with(&at_least_once);
    harness.wait_for(&noted.replace("is not null", "is null")).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    harness.delete_topic(POSITIONS).await;
    let _relay = ready(&harness).await;
    Verdict::of(&harness, SCHEMA).await.assert_sound();
}
