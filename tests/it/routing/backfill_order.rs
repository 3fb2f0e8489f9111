//! Case 21: the order of backfilled rows after deletes and a vacuum have freed space for later ones.

use super::{create_table, values};
use crate::harness::{Harness, Relay};
use crate::setup::{ended_with, walpost_with};

const TABLE: &str =
    "id uuid default gen_random_uuid(), aggregatetype text, aggregateid text default '1', type text, payload text";

#[tokio::test(flavor = "multi_thread")]
async fn case_21_the_backfill_is_in_transaction_order_not_in_table_order() {
    let harness = Harness::migrated("backfill_order").await;
    for (table, more) in [("untimed", ""), ("timed", ", created_at timestamptz")] {
        create_table(&harness, &format!("public.{table}"), &format!("{TABLE}{more}")).await;
    }
    let kind = |table: &str| harness.topic(table);
    let insert = async |payload: &str| {
        let kind = kind("untimed");
        harness
            .execute(&format!("insert into public.untimed (aggregatetype, payload) values ('{kind}', '{payload}')"))
            .await;
    };
    for payload in ["gone", "gone", "old1", "old2"] {
        insert(payload).await;
    }
    let placed = async || {
        let sql = "select string_agg(payload, ' ' order by ctid) from public.untimed";
        harness.query_text(sql).await.unwrap_or_default()
    };
    harness.execute("delete from public.untimed where payload = 'gone'").await;
    // Another session's snapshot may keep them for a while.
    let since = std::time::Instant::now();
    while !placed().await.starts_with("new") {
        assert!(since.elapsed() < crate::harness::PATIENCE, "no space is reused: {}", placed().await);
        harness.execute("delete from public.untimed where payload like 'new%'").await;
        harness.execute("vacuum public.untimed").await;
        insert("new1").await;
        insert("new2").await;
    }
    assert_eq!(placed().await, "new1 new2 old1 old2");
    let timed = kind("timed");
    harness
        .execute(&format!(
            "insert into public.timed (aggregatetype, payload, created_at) values
               ('{timed}', 'third', '2026-01-03'), ('{timed}', 'second', '2026-01-02'), ('{timed}', 'first', null)"
        ))
        .await;

    let outboxes = ["timed", "untimed"].map(|table| {
        format!("[[outbox]]\ntable = \"public.{table}\"\npreset = \"debezium\"\ntopic = \"{{aggregatetype}}\"\n")
    });
    let config = crate::harness::config(&harness, &outboxes.concat());
    let doctor = ended_with(&config, "doctor").stdout;
    let warned = "table \"public\".\"untimed\" has no created_at column";
    assert!(doctor.contains(warned) && !doctor.contains("\"public\".\"timed\" has no"), "{doctor}");
    let mut relay = Relay::start_with(&config);
    relay.ready().await;
    relay.wait_for_log("outbox table has no created_at column").await;
    let records = harness.consume(&kind("untimed"), 4).await;
    assert_eq!(values(&records), ["old1", "old2", "new1", "new2"].map(Some));
    let records = harness.consume(&kind("timed"), 3).await;
    assert_eq!(values(&records), ["first", "second", "third"].map(Some));

    // The same again, replayed from the tables.
    walpost_with(&config, "replay --from-table");
    let records = harness.consume(&kind("untimed"), 8).await;
    assert_eq!(values(&records)[4..], ["old1", "old2", "new1", "new2"].map(Some));
}
