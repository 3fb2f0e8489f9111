//! The slot's checks.

use std::sync::Arc;

use walpost::postgres::ConnectOptions;
use walpost::source::{Lease, RECORD_BYTES, STATUS_INTERVAL, SourceOptions};

use super::{changed, examine};
use crate::harness::{Harness, Relay, config};

#[tokio::test(flavor = "multi_thread")]
async fn case_24_a_working_missing_or_foreign_slot_is_reported() {
    let harness = Harness::migrated("doctor_slot").await;
    let (slot, config) = (harness.name().to_owned(), config(&harness, ""));
    harness.register("order.placed").await;
    let mut relay = Relay::start_with(&config);
    relay.ready().await;
    harness.execute("select outbox.emit('order.placed', 'k', '1')").await;
    harness.consume(&harness.topic("order.placed"), 1).await;
    let running = examine(&config);
    assert_eq!((running.code, running.not_ok()), (Some(0), vec![("max_slot_wal_keep_size", "warning")]), "{running:?}");
    let line = &running.of(&harness, "slot")[0];
    assert!(line.starts_with("ok: db: walpost db (process "), "{line}");
    let address = relay.address().expect("it serves http");
    let there = examine(&config.replace("127.0.0.1:0", &address)).of(&harness, "http");
    assert_eq!(there, [format!("ok: {address}: the relay of slot db listens there")]);
    assert_eq!(relay.terminate().await.code(), Some(0));
    let stopped = examine(&config);
    assert!(stopped.of(&harness, "slot")[0].starts_with("ok: db: inactive"), "{stopped:?}");

    harness.execute("update outbox.relay set confirm_limit = '0/1'").await;
    let moved = examine(&config);
    let line = &moved.of(&harness, "slot")[0];
    assert!(line.contains("past 0/1, the last position") && line.contains("`walpost slot recreate`"), "{line}");
    harness.execute("update outbox.relay set confirm_limit = pg_current_wal_insert_lsn()").await;

    let was = "(select system_identifier::text from pg_control_system())";
    harness.execute("update outbox.relay set system_identifier = '42'").await;
    let other = examine(&config);
    assert!(other.of(&harness, "slot")[0].starts_with("failure: slot db was created on cluster 42"), "{other:?}");
    harness.execute(&format!("update outbox.relay set system_identifier = {was}")).await;

    harness.execute(&format!("select pg_drop_replication_slot('{slot}')")).await;
    let gone = examine(&config);
    assert!(
        gone.code == Some(69) && gone.of(&harness, "slot")[0].starts_with("failure: slot db no longer exists"),
        "{gone:?}"
    );
    harness.execute(&format!("select pg_create_physical_replication_slot('{slot}')")).await;
    let other = examine(&config);
    assert!(other.of(&harness, "slot")[0].starts_with("failure: slot db is a physical slot"), "{other:?}");
}

/// A position is stored in Kafka first, which is noted in the database, and only then confirmed.
#[tokio::test(flavor = "multi_thread")]
async fn case_49_a_healthy_idle_relay_is_no_warning() {
    let harness = Harness::migrated("doctor_idle_relay").await;
    let exactly_once = config(&harness, "").replace("[kafka]\n", "[kafka]\ndelivery = \"exactly-once\"\n");
    let mut relay = Relay::start_with(&exactly_once);
    relay.ready().await;
    for _ in 0..3 {
        harness.execute("select pg_logical_emit_message(true, 'x', 'y')").await;
        let found = examine(&exactly_once);
        assert!(found.of(&harness, "slot")[0].starts_with("ok: "), "{found:?}");
    }
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
}

/// A process that streams and never confirms.
#[tokio::test(flavor = "multi_thread")]
async fn case_24_a_held_slot_that_does_not_advance_is_a_warning() {
    let harness = Harness::migrated("doctor_still").await;
    let (slot, config) = (harness.name().to_owned(), config(&harness, ""));
    harness.execute(&format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await;
    let before = examine(&config);
    let options = SourceOptions {
        connect: ConnectOptions::parse(harness.url(), &|_| None).expect("the harness gives a URL"),
        slot: slot.clone(),
        publication: "outbox".to_owned(),
        tables: Vec::new(),
        status_interval: STATUS_INTERVAL,
        record_bytes: RECORD_BYTES,
    };
    let lease = Arc::new(Lease::new(options.connect.clone(), slot.clone()));
    let source = walpost::source::connect(&options, &lease, None).await.expect("the slot can be streamed from");
    harness.execute("select pg_logical_emit_message(true, 'x', 'y')").await;
    let line = changed(&harness, &before, &examine(&config));
    assert!(
        line.starts_with("slot: warning: ") && line.contains("has not confirmed anything for some seconds"),
        "{line}"
    );
    drop(source);
}

/// PostgreSQL 17 and newer: a slot created by hand is not synchronized to standbys.
#[tokio::test(flavor = "multi_thread")]
async fn case_25_a_slot_without_failover_is_a_warning() {
    let harness = Harness::migrated("doctor_failover").await;
    let (slot, config) = (harness.name().to_owned(), config(&harness, ""));
    harness.execute(&format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await;
    let found = examine(&config);
    let new = "select current_setting('server_version_num')::int >= 170000";
    let lines = found.of(&harness, "failover");
    match harness.query(new).await[0].get::<_, bool>(0) {
        true => assert!(lines[0].contains("run `ALTER_REPLICATION_SLOT db (FAILOVER true)`"), "{lines:?}"),
        false => assert!(lines.is_empty(), "{lines:?}"),
    }
    assert_eq!(found.code, Some(0), "{found:?}");
}
