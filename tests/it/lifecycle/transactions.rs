//! Transactions: open ones, interleaved ones, large ones.

use rustix::process::{Pid, Signal, kill_process};
use walpost::lab::sandbox::{Durability, KafkaOptions, PostgresOptions};

use super::{SCHEMA, emit, named, numbers, prepare, published, ready};
use crate::harness::{Harness, Relay, Verdict};

/// Rows of the transaction of case 16, unless `WALPOST_TEST_LARGE_ROWS` is set: a debug build needs a minute for a
/// million.
const LARGE: u64 = 300_000;
/// Peak memory limit of a relay, in KiB: the limits on what is in flight leave a debug build well below.
const MEMORY_LIMIT_KIB: u64 = 150 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn case_13_a_transaction_open_across_restarts_arrives_once() {
    let harness = Harness::new("open transaction").await;
    prepare(&harness).await;
    let mut relay = ready(&harness, "first").await;
    let session = harness.session().await;
    session.batch_execute(&format!("begin; {}", emit("w0-0", 0, 5))).await.expect("an open transaction");
    // Commits of other sessions are confirmed past its first rows.
    harness.execute(&emit("w1-0", 0, 5)).await;
    published(&mut relay, 5).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    session.batch_execute(&emit("w0-0", 5, 10)).await.expect("an open transaction");
    let mut relay = ready(&harness, "second").await;
    session.batch_execute(&emit("w0-0", 10, 15)).await.expect("an open transaction");
    harness.execute(&emit("w1-0", 5, 10)).await;
    published(&mut relay, 5).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    session.batch_execute("commit").await.expect("a commit");
    let _third = ready(&harness, "third").await;
    let verdict = Verdict::of(&harness, SCHEMA).await;
    verdict.assert_exact();
    assert_eq!(verdict.records, 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_14_transactions_arrive_in_commit_order() {
    let harness = Harness::migrated("interleaved").await;
    harness.register(SCHEMA).await;
    let _relay = ready(&harness, "r").await;
    let (first, second) = (harness.session().await, harness.session().await);
    first.batch_execute(&format!("begin; {}", emit("a", 0, 2))).await.expect("an open transaction");
    second.batch_execute(&format!("begin; {}; {}", emit("b", 0, 1), emit("same", 0, 1))).await.expect("an open one");
    first.batch_execute(&emit("same", 1, 2)).await.expect("an open transaction");
    second.batch_execute(&format!("{}; commit", emit("b", 1, 2))).await.expect("a commit");
    first.batch_execute(&format!("{}; commit", emit("a", 2, 3))).await.expect("a commit");
    let records = harness.consume(&harness.topic(SCHEMA), 7).await;
    let expected = [("b", 0), ("same", 0), ("b", 1), ("a", 0), ("a", 1), ("same", 1), ("a", 2)];
    assert_eq!(numbers(&records), expected.map(|(key, number)| (key.to_owned(), number)));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_15_a_kill_between_rows_that_share_an_lsn_leaves_no_gap() {
    let harness = Harness::new("shared lsn").await;
    prepare(&harness).await;
    let mut relay = Relay::start(&harness, &(named("first") + "max_in_flight = 50\n"));
    relay.ready().await;
    // COPY writes many rows with one WAL record.
    harness
        .execute(
            r#"copy outbox.event (schema_name, schema_version, key, payload)
               from program 'seq -f ''load|1|w0-0|{"n":%.0f}'' 0 9999' with (delimiter '|')"#,
        )
        .await;
    published(&mut relay, 1_000).await;
    relay.kill();
    let _second = ready(&harness, "second").await;
    let verdict = Verdict::of(&harness, SCHEMA).await;
    verdict.assert_sound();
    assert_eq!(verdict.committed, 10_000);
    assert!(verdict.duplicates >= 1_000, "the transaction is repeated from its first row: {verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_16_a_large_transaction_is_streamed_in_constant_memory_with_status_updates() {
    let rows = std::env::var("WALPOST_TEST_LARGE_ROWS").map_or(LARGE, |text| text.parse().expect("a number of rows"));
    let settings = vec![("wal_sender_timeout".to_owned(), "5s".to_owned())];
    let options = PostgresOptions { durability: Durability::NoFsync, settings, ..PostgresOptions::default() };
    let mut harness = Harness::with_own_servers("large transaction", options, KafkaOptions::default()).await;
    prepare(&harness).await;
    let mut relay = ready(&harness, "r").await;
    harness
        .execute(&format!(
            r#"insert into outbox.event (schema_name, schema_version, key, payload)
               select '{SCHEMA}', '1', 'w0-0', '{{"n":1}}' from generate_series(1, {rows})"#
        ))
        .await;
    published(&mut relay, 1_000).await;
    // In the middle of the transaction Kafka stops answering, for longer than Postgres would wait for a silent relay.
    let broker = harness.own_kafka().pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("a process");
    kill_process(broker, Signal::STOP).expect("an own process");
    let replied = "(select reply_time from pg_stat_replication)";
    let since = harness.query_text(&format!("select {replied}::text")).await.expect("a status update");
    harness.wait_for(&format!("select {replied} > '{since}'::timestamptz + interval '7 s'")).await;
    let status = relay.status().await;
    assert!(status["in_flight_records"].as_u64() > Some(0) && status["events"].as_u64() < Some(rows), "{status}");
    kill_process(broker, Signal::CONT).expect("an own process");
    for tenth in 1..=10 {
        published(&mut relay, rows * tenth / 10).await;
    }
    let status = relay.status().await;
    assert_eq!((status["events"].as_u64(), status["postgres_connected"].as_bool()), (Some(rows), Some(true)));
    assert!(!relay.log().contains("replication connection failed"), "the connection was never lost: {}", relay.log());
    let memory_kib = relay.peak_memory_kib();
    assert!(memory_kib < MEMORY_LIMIT_KIB, "{memory_kib} KiB");
    assert_eq!(harness.count_records(&harness.topic(SCHEMA)).await, rows);
}
