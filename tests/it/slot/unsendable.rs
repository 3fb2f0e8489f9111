//! A transaction that Postgres can't send.

use crate::exactly_once::exact;
use crate::harness::{Harness, Received, Relay, config, program};
use crate::setup::ended_with;

/// Only Postgres can convert EUC_TW, and it has no conversion for these bytes.
#[tokio::test(flavor = "multi_thread")]
async fn case_33_a_transaction_that_postgres_cant_send_is_reported_and_can_be_skipped() {
    let harness = Harness::encoded("unsendable", "EUC_TW").await;
    harness.register("order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let emit = |key: &str| format!("select outbox.emit('order.placed', {key}, '1')");
    harness.execute(&emit("'a'")).await;
    let bad = "convert_from('\\x6bfdfe', 'EUC_TW')";
    harness.execute(&format!("begin; {}; savepoint s; {}; commit", emit("'b'"), emit(bad))).await;
    harness.execute(&emit("'c'")).await;

    let status = relay.wait_for("stuck", |status| status["unsendable"]["lsn"].is_string()).await;
    let lsn = status["unsendable"]["lsn"].as_str().expect("text").to_owned();
    assert_eq!(status["ready"], false);
    let (code, reasons) = relay.get("/readyz").await.expect("an answer");
    assert_eq!(code, 503);
    assert!(reasons.contains(&format!("can't send the transaction at {lsn}: ERROR 22P05")), "{reasons}");
    assert!(reasons.contains(&format!("walpost slot skip --lsn {lsn}")), "{reasons}");
    let (_, metrics) = relay.get("/metrics").await.expect("an answer");
    assert!(!metrics.contains("walpost_unsendable_lsn_bytes 0"), "{metrics}");
    harness.wait_for("select unsendable_lsn is not null from outbox.relay").await;

    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("walpost.toml");
    std::fs::write(&path, config(&harness, "")).expect("the configuration is written");
    let path = path.to_str().expect("UTF-8");
    let skip = |lsn: &str| program::run("slot", &["skip", "--json", "--lsn", lsn, "--config", path]);
    assert_eq!(skip(&lsn).code(), Some(69), "the relay has the slot");
    let doctor = program::run("doctor", &["--config", path]);
    assert!(doctor.stdout.contains(&format!("slot skip --lsn {lsn}")), "{}", doctor.stdout);
    assert_eq!(relay.terminate().await.code(), Some(0));

    let (high, low) = lsn.split_once('/').expect("an LSN");
    let low = u32::from_str_radix(low, 16).expect("hexadecimal");
    let refused = skip(&format!("{high}/{:X}", low + 8));
    assert_eq!(refused.code(), Some(65), "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("can't send the transaction at {lsn}")), "{}", refused.stderr);
    let skipped = skip(&lsn);
    assert_eq!(skipped.code(), Some(0), "{}", skipped.stderr);
    let report = skipped.report();
    // Events before the row in its transaction were sent, and are published.
    assert_eq!(report["events_sent_before"], 1);
    assert_eq!((&report["skipped_lsn"], report["rows"].as_array().map(Vec::len)), (&lsn.as_str().into(), Some(2)));
    assert_eq!(skip(&lsn).code(), Some(65), "it has been skipped already");

    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let records = harness.consume(&harness.topic("order.placed"), 3).await;
    // Keys may be in different partitions.
    let mut keys: Vec<_> = records.iter().filter_map(Received::key_text).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["a", "b", "c"]);
    let dead_letters = harness.consume(&harness.topic("dead-letter"), 2).await;
    let mut ids: Vec<_> = dead_letters.iter().filter_map(|dead_letter| dead_letter.header("id")).collect();
    ids.sort_unstable();
    let mut listed: Vec<_> =
        report["rows"].as_array().expect("a list").iter().filter_map(|row| row["id"].as_str()).collect();
    listed.sort_unstable();
    assert_eq!(ids, listed);
    assert!(
        dead_letters.iter().all(|dead_letter| dead_letter.header("outbox-error") == Some("undecodable") && dead_letter.value.is_none())
    );
    assert_eq!(relay.terminate().await.code(), Some(0));
}

/// The same bytes in backfilled rows.
#[tokio::test(flavor = "multi_thread")]
async fn case_33_only_the_backfilled_row_that_postgres_cant_send_becomes_a_dead_letter() {
    let harness = Harness::encoded("unsendable_before", "EUC_TW").await;
    harness.register("order.placed").await;
    let emit = |key: &str| format!("select outbox.emit('order.placed', {key}, '{{}}', headers => '{{\"h\": 1}}')");
    for key in ["'a'", "convert_from('\\x6bfdfe', 'EUC_TW')", "'b'", "convert_from('\\xfdfe', 'EUC_TW')", "'c'"] {
        harness.execute(&emit(key)).await;
    }
    let sql = "select string_agg(id::text, ' ' order by id::text) from outbox.event where octet_length(key) > 1";
    let bad = harness.query_text(sql).await.expect("their ids");
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness.execute(&emit("'d'")).await;
    let records = harness.consume(&harness.topic("order.placed"), 4).await;
    let mut keys: Vec<_> = records.iter().filter_map(Received::key_text).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["a", "b", "c", "d"]);
    let dead_letters = harness.consume(&harness.topic("dead-letter"), 2).await;
    let mut ids: Vec<_> = dead_letters.iter().filter_map(|dead_letter| dead_letter.header("ce_id")).collect();
    ids.sort_unstable();
    assert_eq!(ids.join(" "), bad);
    for dead_letter in &dead_letters {
        assert_eq!((dead_letter.header("outbox-error"), dead_letter.header("h")), (Some("undecodable"), Some("1")));
        assert_eq!((dead_letter.key.as_deref(), dead_letter.value_text()), (None, Some("{}")));
        assert_eq!(dead_letter.header("outbox-value-omitted"), Some("0"));
        let detail = dead_letter.header("outbox-error-detail").expect("a reason");
        assert!(detail.starts_with("key of the row with ctid (0,") && detail.contains("22P05"), "{detail}");
    }
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
}

/// Starts a relay, which stops before the transaction that can't be sent; returns the LSN.
async fn stuck(harness: &Harness) -> String {
    let mut relay = Relay::start_with(&exact(harness, ""));
    let status = relay.wait_for("stuck", |status| status["unsendable"]["lsn"].is_string()).await;
    harness.wait_for("select unsendable_lsn is not null from outbox.relay").await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    status["unsendable"]["lsn"].as_str().expect("text").to_owned()
}

/// Interrupts the command once after each of its steps, and starts a relay in between.
#[tokio::test(flavor = "multi_thread")]
async fn case_33_a_skip_that_ends_anywhere_neither_loses_nor_repeats_an_event_exactly_once() {
    let harness = Harness::encoded("unsendable_exact", "EUC_TW").await;
    harness.register("order.placed").await;
    let slot = harness.name().to_owned();
    let emit = |key: &str| format!("select outbox.emit('order.placed', {key}, '1')");
    let mut relay = Relay::start_with(&exact(&harness, ""));
    relay.ready().await;
    harness.execute(&emit("'a'")).await;
    harness.consume(&harness.topic("order.placed"), 1).await;
    let bad = "convert_from('\\x6bfdfe', 'EUC_TW')";
    harness.execute(&format!("begin; {}; {}; commit", emit("'b'"), emit(bad))).await;
    harness.execute(&emit("'c'")).await;
    relay.wait_for("stuck", |status| status["unsendable"]["lsn"].is_string()).await;
    relay.kill();
    let lsn = stuck(&harness).await;
    let skip = || ended_with(&exact(&harness, ""), &format!("slot skip --json --lsn {lsn}"));

    // Kafka has the position and the dead letters, and the note fails.
    harness
        .execute(
            "create function outbox.fail() returns trigger language plpgsql as $$ begin raise 'no note'; end $$;
             create trigger fail before update of unsendable_lsn on outbox.relay for each row
                 when (old.unsendable_lsn is not null and new.unsendable_lsn is null) execute function outbox.fail()",
        )
        .await;
    let ended = skip();
    assert!(ended.code() != Some(0) && ended.stderr.contains("no note"), "{}", ended.stderr);
    assert_eq!(stuck(&harness).await, lsn);

    // The note is written, and the slot has not been moved.
    let note = format!(
        "alter table outbox.relay disable trigger fail;
         update outbox.relay set confirm_limit = '{lsn}'::pg_lsn + 1, position = '{lsn}'::pg_lsn + 1,
             signed_position = '{lsn}'::pg_lsn + 1, unsendable_lsn = null, unsendable_error = null"
    );
    harness.execute(&note).await;
    assert_eq!(stuck(&harness).await, lsn);

    let ended = skip();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let stands = format!(
        "select confirmed_flush_lsn = '{lsn}'::pg_lsn + 1 from pg_replication_slots where slot_name = '{slot}'"
    );
    harness.wait_for(&stands).await;
    let again = skip();
    assert_eq!(again.code(), Some(65), "{}", again.stderr);

    let mut relay = Relay::start_with(&exact(&harness, ""));
    relay.ready().await;
    harness.execute(&emit("'d'")).await;
    let has_last = |records: &[Received]| records.iter().any(|record| record.key_text() == Some("d"));
    let records = harness.consume_until(&[&harness.topic("order.placed")], "the last event", has_last).await;
    let mut keys: Vec<_> = records.iter().filter_map(Received::key_text).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["a", "b", "c", "d"]);
    let dead_letters = harness.consume(&harness.topic("dead-letter"), 2).await;
    assert_eq!(dead_letters.len(), 2, "one for each row of it, once");
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
}
