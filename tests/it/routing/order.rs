//! Case 14: events are in commit order. Case 15: many rows of one commit.

use super::{commits, copy, ordinals, register_ordered, values};
use crate::harness::{Harness, Received, Relay};

/// A window so small, and batches that linger so long, that a few thousand rows take seconds.
const SLOW: &str = "max_in_flight = 10\n[kafka.properties]\n\"linger.ms\" = \"20\"";

#[tokio::test(flavor = "multi_thread")]
async fn case_14_interleaved_transactions_arrive_in_commit_order() {
    let harness = Harness::migrated("interleaved").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let sessions = [harness.session().await, harness.session().await, harness.session().await];
    let run = async |session: usize, sql: &str| sessions[session].batch_execute(sql).await.expect("a statement");
    let emit = async |session: usize, number: u32| {
        // Rows and messages alternate.
        let function = if number.is_multiple_of(2) { "emit" } else { "emit_message" };
        run(session, &format!("select outbox.{function}('order.placed', 'k', '\"{session}.{number}\"')")).await;
    };
    for session in 0..3 {
        run(session, "begin").await;
    }
    for number in 1..=2 {
        for session in 0..3 {
            emit(session, number).await;
        }
    }
    run(2, "commit").await;
    emit(0, 3).await;
    run(1, "rollback; begin").await;
    emit(1, 3).await;
    run(1, "savepoint s").await;
    emit(1, 4).await;
    run(0, "commit").await;
    emit(2, 3).await;
    run(1, "commit").await;
    let records = harness.consume(&topic, 8).await;
    let expected = ["2.1", "2.2", "0.1", "0.2", "0.3", "2.3", "1.3", "1.4"].map(|text| format!("\"{text}\""));
    assert_eq!(values(&records), expected.iter().map(|text| Some(text.as_str())).collect::<Vec<_>>());
    assert_eq!(ordinals(&records), [1, 2, 1, 2, 3, 1, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_14_transactions_of_concurrent_sessions_are_never_interleaved() {
    const SESSIONS: usize = 4;
    const TRANSACTIONS: usize = 30;
    let harness = Harness::migrated("many_sessions").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..SESSIONS {
        let session = harness.session().await;
        writers.spawn(async move {
            for number in 0..TRANSACTIONS {
                let emit = format!("select outbox.emit('order.placed', '{writer}', '{number}');");
                let statements = ["begin;", &emit, &emit, &emit, "commit"].concat();
                session.batch_execute(&statements).await.expect("a transaction");
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.expect("a writer");
    }
    let records = harness.consume(&topic, SESSIONS * TRANSACTIONS * 3).await;
    assert_eq!(records.len(), SESSIONS * TRANSACTIONS * 3);
    let mut next = [0; SESSIONS];
    for transaction in records.chunks(3) {
        assert_eq!(ordinals(transaction), [1, 2, 3]);
        assert!(commits(transaction).windows(2).all(|pair| pair[0] == pair[1]), "{transaction:?}");
        let writer: usize = transaction[0].key_text().and_then(|key| key.parse().ok()).expect("a writer's number");
        assert!(values(transaction).iter().all(|value| *value == Some(next[writer].to_string().as_str())));
        next[writer] += 1;
    }
}

/// One transaction: a COPY, an insert of many rows, and an insert of a query's rows; numbered from 0.
async fn write_many(harness: &Harness, count: usize) {
    let client = harness.session().await;
    let third = count / 3;
    client.batch_execute("begin").await.expect("a transaction begins");
    copy(&client, "order.placed", (0..third).map(|number| ("k".to_owned(), number.to_string()))).await;
    let rows: Vec<_> = (third..2 * third).map(|number| format!("('order.placed', '1', 'k', '{number}')")).collect();
    let insert = "insert into outbox.event (schema_name, schema_version, key, payload)";
    client.batch_execute(&format!("{insert} values {}", rows.join(","))).await.expect("rows are inserted");
    let rest =
        format!("select 'order.placed', '1', 'k', n::text::json from generate_series({}, {}) n", 2 * third, count - 1);
    client.batch_execute(&format!("{insert} {rest}; commit")).await.expect("rows are inserted");
}

fn numbers(records: &[Received]) -> Vec<usize> {
    let number = |record: &Received| record.value_text().and_then(|text| text.parse().ok());
    records.iter().map(|record| number(record).expect("the payload is a number")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_15_rows_that_share_an_lsn_all_arrive_in_order() {
    const COUNT: usize = 6_000;
    let harness = Harness::migrated("one_lsn").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay = Relay::start(&harness, "max_in_flight = 1000");
    relay.ready().await;
    write_many(&harness, COUNT).await;
    let records = harness.consume(&topic, COUNT).await;
    assert_eq!(numbers(&records), (0..COUNT).collect::<Vec<_>>());
    assert_eq!(ordinals(&records), (1..=COUNT as u64).collect::<Vec<_>>());
    assert!(commits(&records).windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_15_a_relay_killed_within_a_transaction_resumes_without_a_gap() {
    const COUNT: usize = 3_000;
    let harness = Harness::migrated("kill_within").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay = Relay::start(&harness, SLOW);
    relay.ready().await;
    write_many(&harness, COUNT).await;
    relay.wait_for("within the transaction", |status| status["events"].as_u64() >= Some(50)).await;
    relay.kill();
    let records = harness.consume(&topic, 50).await;
    let first = records.len();
    let commit = &commits(&records)[0];
    let before = format!(
        "select confirmed_flush_lsn < '{commit}' from pg_replication_slots where slot_name = '{}'",
        harness.name()
    );
    assert!(
        harness.query(&before).await[0].get::<_, bool>(0),
        "the slot is before the transaction that is only half published"
    );
    assert!(first < COUNT, "the relay was too fast to be killed within the transaction");
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let records = harness.consume(&topic, first + COUNT).await;
    // What was published before the kill, then the whole transaction again.
    assert_eq!(numbers(&records), (0..first).chain(0..COUNT).collect::<Vec<_>>());
    let same =
        |number: usize| records[number].header("outbox-position") == records[first + number].header("outbox-position");
    assert!((0..first).all(same), "a repeated row has the same position");
    assert!((0..first).all(|number| records[number].header("ce_id") == records[first + number].header("ce_id")));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_15_a_connection_lost_within_a_transaction_causes_no_loss_or_duplicates() {
    const COUNT: usize = 900;
    let harness = Harness::migrated("cut_within").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay = Relay::start(&harness, SLOW);
    relay.ready().await;
    write_many(&harness, COUNT).await;
    for published in [50, 300] {
        relay.wait_for("within the transaction", |status| status["events"].as_u64() >= Some(published)).await;
        let end = format!(
            "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{}'",
            harness.name()
        );
        harness.query(&end).await;
    }
    let records = harness.consume(&topic, COUNT).await;
    assert_eq!(numbers(&records), (0..COUNT).collect::<Vec<_>>());
    assert_eq!(ordinals(&records), (1..=COUNT as u64).collect::<Vec<_>>());
    // Nothing arrives late.
    harness.execute("select outbox.emit('order.placed', 'k', '1000000')").await;
    assert_eq!(harness.consume(&topic, COUNT + 1).await.len(), COUNT + 1);
    let status = relay.status().await;
    assert!(status["postgres_reconnects"].as_u64() >= Some(1), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_15_a_relay_stopped_within_a_transaction_finishes_it() {
    const COUNT: usize = 900;
    let harness = Harness::migrated("stop_within").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay = Relay::start(&harness, SLOW);
    relay.ready().await;
    write_many(&harness, COUNT).await;
    relay.wait_for("within the transaction", |status| status["events"].as_u64() >= Some(50)).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    harness.execute("select outbox.emit('order.placed', 'k', '900')").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let records = harness.consume(&topic, COUNT + 1).await;
    assert_eq!(numbers(&records), (0..=COUNT).collect::<Vec<_>>());
}
