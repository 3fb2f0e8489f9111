//! Databases whose text is not UTF-8.

use crate::harness::{Harness, Received, Relay, config};

fn keys(records: &[Received]) -> Vec<&str> {
    records.iter().filter_map(Received::key_text).collect()
}

/// SQL_ASCII accepts any bytes. Those of the first row come with the backfill, the others with the stream.
#[tokio::test(flavor = "multi_thread")]
async fn case_33_only_the_row_with_invalid_text_becomes_a_dead_letter() {
    let harness = Harness::encoded("sql_ascii", "SQL_ASCII").await;
    harness.register("order.placed").await;
    let bad = "select outbox.emit('order.placed', convert_from('\\x6b2de9', 'SQL_ASCII'), '{\"n\": 0}')";
    harness.execute(bad).await;
    harness.execute("select outbox.emit('order.placed', 'k1-\u{e9}', '{\"n\": \"\u{e9}\"}')").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness.execute(&format!("begin; select outbox.emit('order.placed', 'k2', '1'); {bad}; commit")).await;
    harness.execute("select outbox.emit('order.placed', 'k3', '1')").await;
    let records = harness.consume(&harness.topic("order.placed"), 3).await;
    assert_eq!(keys(&records), ["k1-\u{e9}", "k2", "k3"]);
    assert_eq!(records[0].value_text(), Some("{\"n\": \"\u{e9}\"}"));
    let dead_letters = harness.consume(&harness.topic("dead-letter"), 2).await;
    for dead_letter in &dead_letters {
        assert_eq!(dead_letter.header("outbox-error"), Some("undecodable"));
        let detail = "key can't be converted from the database's encoding SQL_ASCII to UTF-8";
        assert_eq!(dead_letter.header("outbox-error-detail"), Some(detail));
        assert_eq!((dead_letter.key.as_deref(), dead_letter.value_text()), (Some(&b"k-\xe9"[..]), Some("{\"n\": 0}")));
    }
    assert_eq!(relay.terminate().await.code(), Some(0));
}

/// The relay converts, names included.
#[tokio::test(flavor = "multi_thread")]
async fn case_33_a_database_in_another_encoding_is_published_in_utf8() {
    let harness = Harness::encoded("latin1", "LATIN1").await;
    harness.register("order.placed").await;
    harness
        .execute(
            "create publication \"\u{e9}v\u{e9}nement\" for table outbox.event with (publish = 'insert', publish_via_partition_root = true); \
             alter table outbox.event add column \"not\u{e9}\" text",
        )
        .await;
    let emit = |key: &str| {
        format!(
            "select outbox.emit('order.placed', '{key}-\u{e9}', '{{\"name\": \"\u{fc}\"}}', headers => '{{\"who\": \"\u{e4}\"}}')"
        )
    };
    harness.execute(&emit("before")).await;
    let config = config(&harness, "").replace("[kafka]", "publication = \"\u{e9}v\u{e9}nement\"\n[kafka]");
    let mut relay = Relay::start_with(&config);
    relay.ready().await;
    harness.execute(&emit("after")).await;
    let records = harness.consume(&harness.topic("order.placed"), 2).await;
    assert_eq!(keys(&records), ["before-\u{e9}", "after-\u{e9}"]);
    for record in &records {
        assert_eq!((record.value_text(), record.header("who")), (Some("{\"name\": \"\u{fc}\"}"), Some("\u{e4}")));
    }
    assert_eq!(relay.terminate().await.code(), Some(0));
}
