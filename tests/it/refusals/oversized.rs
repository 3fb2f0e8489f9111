//! Rows and messages that are larger than a record may be.

use crate::harness::{Harness, Received, Relay};

/// Characters of a large payload.
const LARGE: u32 = 150_000_000;
/// Peak memory limit of the relay, in KiB: less than the large payload.
const MEMORY_LIMIT_KIB: u64 = 130 * 1024;

fn keys(records: &[Received]) -> Vec<&str> {
    records.iter().filter_map(Received::key_text).collect()
}

/// In each group of three rows the second is large. One group is backfilled, the other is streamed.
#[tokio::test(flavor = "multi_thread")]
async fn case_38_a_row_larger_than_memory_becomes_a_dead_letter_without_its_value() {
    let harness = Harness::migrated("oversized").await;
    let topic = harness.topic("orders");
    harness
        .execute(
            "create table orders (id int, unread text, key text, payload json); alter publication outbox add table orders",
        )
        .await;
    let insert = |id: u32| {
        let size = if id % 3 == 2 { LARGE } else { 1 };
        format!("insert into orders values ({id}, 'u', 'k{id}', to_json(repeat('x', {size})))")
    };
    for id in 1..=3 {
        harness.execute(&insert(id)).await;
    }
    let sections =
        format!("[[outbox]]\ntable = \"outbox.event\"\n[[outbox]]\ntable = \"public.orders\"\ntopic = \"{topic}\"\n");
    let mut relay = Relay::start(&harness, &sections);
    relay.ready().await;
    for id in 4..=6 {
        harness.execute(&insert(id)).await;
    }
    // Whoever wrote it: its signature can't be checked.
    harness.execute(&format!("select pg_logical_emit_message(true, 'outbox', repeat('x', {LARGE}))")).await;
    // Columns that the relay does not read may have any size.
    harness.execute(&format!("insert into orders values (7, repeat('x', {LARGE}), 'k7', '\"x\"')")).await;
    let mut records = harness.consume(&topic, 5).await;
    // The keys may be in different partitions.
    records.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(keys(&records), ["k1", "k3", "k4", "k6", "k7"]);
    assert!(records.iter().all(|record| record.value_text() == Some("\"x\"")));

    let mut dead_letters = harness.consume(&harness.topic("dead-letter"), 3).await;
    dead_letters.sort_by_key(|dead_letter| (dead_letter.key.is_none(), dead_letter.key.clone()));
    assert_eq!(keys(&dead_letters), ["k2", "k5"]);
    for (dead_letter, id) in dead_letters.iter().zip(["2", "5"]) {
        let header = |name| dead_letter.header(name);
        assert_eq!((header("ce_id"), header("outbox-topic")), (Some(id), Some(topic.as_str())));
        assert!(header("outbox-error-detail").is_some_and(|detail| detail.starts_with("payload has 150000002 bytes")));
    }
    for (dead_letter, bytes) in dead_letters.iter().zip(["150000002", "150000002", "150000000"]) {
        assert_eq!((dead_letter.header("outbox-error"), dead_letter.value.as_deref()), (Some("too_large"), None));
        assert_eq!(dead_letter.header("outbox-value-omitted"), Some(bytes));
    }
    let memory_kib = relay.peak_memory_kib();
    assert!(memory_kib < MEMORY_LIMIT_KIB, "{memory_kib} KiB");
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
}
