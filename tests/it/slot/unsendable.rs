//! A transaction that Postgres can't send.

use crate::harness::{Harness, Received, Relay, config, program};

/// Only Postgres can convert EUC_TW, and it has nothing for these bytes.
#[tokio::test(flavor = "multi_thread")]
async fn case_33_a_transaction_that_postgres_cant_send_is_named_and_can_be_skipped() {
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
    // What stands before the row in its transaction was sent, and is published.
    assert_eq!(report["events_sent_before"], 1);
    assert_eq!((&report["skipped_lsn"], report["rows"].as_array().map(Vec::len)), (&lsn.as_str().into(), Some(2)));
    assert_eq!(skip(&lsn).code(), Some(65), "it is skipped already");

    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let records = harness.consume(&harness.topic("order.placed"), 3).await;
    // Keys may be in different partitions.
    let mut keys: Vec<_> = records.iter().filter_map(Received::key_text).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["a", "b", "c"]);
    let letters = harness.consume(&harness.topic("dead-letter"), 2).await;
    let mut ids: Vec<_> = letters.iter().filter_map(|letter| letter.header("id")).collect();
    ids.sort_unstable();
    let mut listed: Vec<_> =
        report["rows"].as_array().expect("a list").iter().filter_map(|row| row["id"].as_str()).collect();
    listed.sort_unstable();
    assert_eq!(ids, listed);
    assert!(
        letters.iter().all(|letter| letter.header("outbox-error") == Some("undecodable") && letter.value.is_none())
    );
    assert_eq!(relay.terminate().await.code(), Some(0));
}

/// The same bytes in rows from before the slot.
#[tokio::test(flavor = "multi_thread")]
async fn case_33_a_row_from_before_the_slot_that_postgres_cant_send_is_set_aside_alone() {
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
    let letters = harness.consume(&harness.topic("dead-letter"), 2).await;
    let mut ids: Vec<_> = letters.iter().filter_map(|letter| letter.header("ce_id")).collect();
    ids.sort_unstable();
    assert_eq!(ids.join(" "), bad);
    for letter in &letters {
        assert_eq!((letter.header("outbox-error"), letter.header("h")), (Some("undecodable"), Some("1")));
        assert_eq!((letter.key.as_deref(), letter.value_text()), (None, Some("{}")));
        assert_eq!(letter.header("outbox-value-omitted"), Some("0"));
        let detail = letter.header("outbox-error-detail").expect("a reason");
        assert!(detail.starts_with("key of the row with ctid (0,") && detail.contains("22P05"), "{detail}");
    }
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
}
