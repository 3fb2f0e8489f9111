//! Case 5: the table changes while the relay runs.

use super::{create_table, register_ordered, values};
use crate::harness::{Harness, Relay};

/// Drops the slot and its state.
const FORGET: &str = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database(); \
                      delete from outbox.relay";

/// Expects exit code 65, and all of these words in the last line on stderr.
async fn refuses(relay: &mut Relay, words: &[&str]) {
    let status = relay.exit().await;
    let log = relay.log();
    let printed = log.lines().last().unwrap_or_default();
    assert!(words.iter().all(|word| printed.contains(word)), "{words:?} are not all in: {log}");
    assert_eq!(status.code(), Some(65), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_05_added_and_dropped_columns_are_followed() {
    let harness = Harness::migrated("columns").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let mut number = 0;
    for change in [
        "select 1",
        "alter table outbox.event add column tenant text default 'x'",
        "alter table outbox.event drop column headers",
        "alter table outbox.event rename column tenant to \"Tenant\"",
        "alter table outbox.event add column headers jsonb",
        // Columns after a dropped one move up; a re-added one is last.
        "alter table outbox.event drop column topic; alter table outbox.event add column topic text",
        "alter table outbox.event alter column key type uuid using null",
        "alter table outbox.event alter column payload type jsonb",
        "alter table outbox.event alter column payload type bytea using convert_to(payload::text, 'UTF8')",
    ] {
        harness.execute(change).await;
        number += 1;
        let insert = format!(
            "insert into outbox.event (schema_name, schema_version, key, payload) \
             values ('order.placed', '1', '4d47e190-0402-4048-bc2c-89dd54343cdc', '{number}')"
        );
        harness.execute(&insert).await;
    }
    let records = harness.consume(&topic, number).await;
    let expected: Vec<_> = (1..=number).map(|number| number.to_string()).collect();
    assert_eq!(values(&records), expected.iter().map(|text| Some(text.as_str())).collect::<Vec<_>>());
    assert!(records.iter().all(|record| record.key_text() == Some("4d47e190-0402-4048-bc2c-89dd54343cdc")));
    assert!(relay.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_05_a_change_within_a_transaction_is_followed() {
    let harness = Harness::migrated("change_within").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let insert = |value: &str| {
        format!(
            "insert into outbox.event (schema_name, schema_version, payload) values ('order.placed', '1', '{value}');"
        )
    };
    let statements = [
        "begin;",
        &insert("1"),
        "alter table outbox.event drop column topic;",
        &insert("2"),
        "alter table outbox.event add column topic text; alter table outbox.event add column more int;",
        &insert("3"),
        "commit",
    ];
    harness.execute(&statements.concat()).await;
    assert_eq!(values(&harness.consume(&topic, 3).await), [Some("1"), Some("2"), Some("3")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_05_a_renamed_required_column_is_reported_and_can_be_reconfigured() {
    let harness = Harness::migrated("renamed").await;
    let topic = harness.topic("orders");
    create_table(&harness, "public.orders", "id uuid default gen_random_uuid(), key text, payload text").await;
    let outbox = format!("[[outbox]]\ntable = \"public.orders\"\ntopic = \"{topic}\"\n");
    let mut relay = Relay::start(&harness, &outbox);
    relay.ready().await;
    harness.execute("insert into public.orders (key, payload) values ('k', '1')").await;
    harness.consume(&topic, 1).await;
    harness.execute("alter table public.orders rename column payload to body").await;
    harness.execute("insert into public.orders (key, body) values ('k', '2')").await;
    refuses(&mut relay, &["public.orders", "payload"]).await;
    // It is deterministic: the next start reports the same.
    let mut again = Relay::start(&harness, &outbox);
    refuses(&mut again, &["public.orders", "payload"]).await;
    let mut fixed = Relay::start(&harness, &format!("{outbox}columns = {{ payload = \"body\" }}"));
    fixed.ready().await;
    assert_eq!(values(&harness.consume(&topic, 2).await), [Some("1"), Some("2")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_32_rows_written_while_the_table_was_renamed_are_published() {
    let harness = Harness::migrated("renamed_table").await;
    let topic = harness.topic("orders");
    create_table(&harness, "public.orders", "id uuid default gen_random_uuid(), key text, payload text").await;
    let outbox = format!("[[outbox]]\ntable = \"public.orders\"\ntopic = \"{topic}\"\n");
    let mut relay = Relay::start(&harness, &outbox);
    relay.ready().await;
    // Otherwise the next start reads the table again.
    relay.wait_for_log("initial backfill published").await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    for (name, payload) in [("orders", "1"), ("meanwhile", "2"), ("orders", "3")] {
        harness.execute(&format!("insert into public.{name} (key, payload) values ('k', '{payload}')")).await;
        let next = if name == "orders" { "meanwhile" } else { "orders" };
        if payload != "3" {
            harness.execute(&format!("alter table public.{name} rename to {next}")).await;
        }
    }
    let mut relay = Relay::start(&harness, &outbox);
    relay.ready().await;
    assert_eq!(values(&harness.consume(&topic, 3).await), [Some("1"), Some("2"), Some("3")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_05_a_dropped_or_retyped_required_column_is_reported() {
    let harness = Harness::migrated("dropped").await;
    let topic = harness.topic("orders");
    let outbox =
        format!("[[outbox]]\ntable = \"public.orders\"\ntopic = \"{topic}\"\ncolumns = {{ id = \"Event Id\" }}\n");
    for (change, insert, words) in [
        ("drop column \"Event Id\"", "(key, payload) values ('k', '1')", ["public.orders", "Event Id"]),
        ("drop column key", "(payload) values ('1')", ["public.orders", "key"]),
        ("alter column payload type point using null", "(payload) values ('(1,2)')", ["public.orders", "payload"]),
    ] {
        harness.execute("drop table if exists public.orders").await;
        create_table(&harness, "public.orders", "\"Event Id\" uuid, key text, payload text").await;
        let mut relay = Relay::start(&harness, &outbox);
        relay.ready().await;
        harness.execute(&format!("alter table public.orders {change}")).await;
        harness.execute(&format!("insert into public.orders {insert}")).await;
        refuses(&mut relay, &words).await;
        // The same before there is a slot, when the rows are read from the table.
        harness.execute(FORGET).await;
        let mut first = Relay::start(&harness, &outbox);
        refuses(&mut first, &words).await;
        harness.execute(FORGET).await;
    }
}
