//! Case 32: Postgres streams less than the outbox table has.

use super::{ended_with, run_fix, unavailable, works};
use crate::harness::{Harness, Relay, config};

const COLUMN_LIST: &str =
    "alter publication outbox set table outbox.event (id, schema_name, schema_version, key, payload, created_at)";

/// Makes today's partition unlogged.
async fn unlog(harness: &Harness) {
    let sql = "select c.oid::regclass::text from pg_class c where c.oid = (select tableoid from outbox.event limit 1)";
    harness.execute("select outbox.emit('order.placed', 'k', '0')").await;
    let partition = harness.query_text(sql).await.expect("a partition");
    harness.execute(&format!("alter table {partition} set unlogged")).await;
}

/// The start and doctor report the same.
async fn reported(harness: &Harness, config: &str, words: &str) -> String {
    let message = unavailable(harness, config).await;
    assert!(message.contains(words), "{words} is not in {message}");
    let doctor = ended_with(config, "doctor").stdout.replace(harness.name(), "db");
    assert!(doctor.contains(message.trim_start_matches("walpost: ")), "{message} is not in {doctor}");
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn case_32_rows_not_streamed_are_reported_at_the_start_and_by_doctor() {
    let harness = Harness::migrated("not_streamed").await;
    harness.register("order.placed").await;
    let of_event = config(&harness, "");
    harness.execute(COLUMN_LIST).await;
    let message = reported(
        &harness,
        &of_event,
        "excludes \"topic\", \"headers\", \"payload_bytes\" of table \"outbox\".\"event\" by a column list",
    )
    .await;
    run_fix(&harness, &of_event, &message).await;
    works(&harness, &of_event).await;
    unlog(&harness).await;
    let message = reported(&harness, &of_event, " of \"outbox\".\"event\" is unlogged").await;
    run_fix(&harness, &of_event, &message).await;
    works(&harness, &of_event).await;

    harness
        .execute(
            "create table public.box (id int, body json, k text generated always as (id::text) stored);
             create table public.box_child () inherits (public.box);
             create table public.crate (id int, key text, payload json) partition by list (key);
             create foreign data wrapper nothing;
             create server nowhere foreign data wrapper nothing;
             create foreign table public.crate_far partition of public.crate for values in ('far') server nowhere;
             alter publication outbox add table only public.box, public.crate",
        )
        .await;
    let config_of = |table: &str, columns: &str| {
        let outbox = format!("[[outbox]]\ntable = 'public.{table}'\ntopic = '{}'\n{columns}\n", harness.topic(table));
        config(&harness, &outbox)
    };
    let far = config_of("crate", "");
    let message =
        reported(&harness, &far, "partition \"public\".\"crate_far\" of \"public\".\"crate\" is a foreign table").await;
    run_fix(&harness, &far, &message).await;
    let generated = config_of("box", "columns = { key = 'k', payload = 'body' }");
    let message =
        reported(&harness, &generated, "table \"public\".\"box_child\" inherits from \"public\".\"box\"").await;
    run_fix(&harness, &generated, &message).await;
    reported(
        &harness,
        &generated,
        "column \"k\" of table \"public\".\"box\", which the relay reads as key, is generated",
    )
    .await;
    let version = harness.query_text("show server_version_num").await.and_then(|text| text.parse::<u32>().ok());
    if version >= Some(180_000) {
        harness.execute("alter publication outbox set (publish_generated_columns = stored)").await;
        harness.execute("insert into public.box (id, body) values (1, '1')").await;
        let mut relay = Relay::start_with(&generated);
        relay.ready().await;
        harness.execute("insert into public.box (id, body) values (2, '2')").await;
        let records = harness.consume(&harness.topic("box"), 2).await;
        let mut keys: Vec<_> = records.iter().map(|record| record.key_text()).collect();
        keys.sort_unstable();
        assert_eq!(keys, [Some("1"), Some("2")]);
    }
}

/// A partition that nobody can write to can't be missed in the stream.
#[tokio::test(flavor = "multi_thread")]
async fn case_32_archived_partitions_that_take_no_rows_are_warned_of_and_others_are_refused() {
    let harness = Harness::migrated("archived").await;
    harness.register("order.placed").await;
    let config = config(&harness, "");
    works(&harness, &config).await;
    let bounds = |year: u32| format!("for values from ('{year}-01-01') to ('{year}-01-02')");
    harness
        .execute(&format!(
            "create extension file_fdw;
             create server files foreign data wrapper file_fdw;
             create foreign table outbox.event_2020 partition of outbox.event {} server files
                 options (filename '/dev/null', format 'csv');
             create unlogged table outbox.event_2021 (like outbox.event including constraints);
             alter table outbox.event attach partition outbox.event_2021 {}",
            bounds(2020),
            bounds(2021)
        ))
        .await;
    // A row of that day would be routed there.
    let refused =
        reported(&harness, &config, "partition \"outbox\".\"event_2021\" of \"outbox\".\"event\" is unlogged").await;
    let close = refused.split('`').nth(5).expect("the command that closes it");
    harness.execute(close).await;
    let doctor = ended_with(&config, "doctor").stdout;
    for part in ["event_2020", "event_2021"] {
        assert!(doctor.contains(&format!("partition \"outbox\".\"{part}\" of")), "{doctor}");
    }
    works(&harness, &config).await;
    let mut relay = Relay::start_with(&config);
    relay.ready().await;
    let log = relay.log();
    assert!(
        log.contains("walpost replay --from-table") && log.contains("event_2020") && log.contains("event_2021"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn case_32_rows_no_longer_streamed_end_a_running_relay() {
    let harness = Harness::migrated("streamed_less").await;
    harness.register("order.placed").await;
    harness
        .execute(
            "create table public.box (id uuid default gen_random_uuid(), key text, payload json); \
             alter publication outbox add table public.box",
        )
        .await;
    let topic = harness.topic("box");
    let outboxes = format!("[[outbox]]\ntable = 'outbox.event'\n[[outbox]]\ntable = 'public.box'\ntopic = '{topic}'\n");
    let config = config(&harness, &outboxes);
    for damage in ["column list", "is unlogged", "inherits from"] {
        let mut relay = Relay::start_with(&config);
        relay.ready().await;
        match damage {
            "column list" => harness.execute(COLUMN_LIST).await,
            "is unlogged" => unlog(&harness).await,
            _ => harness.execute("create table public.box_child () inherits (public.box)").await,
        }
        // Setting the tables removes the other one.
        assert_eq!(relay.exit().await.code(), Some(69), "{}", relay.log());
        let log = relay.log();
        let message = log.lines().last().expect("the relay says why");
        assert!(message.contains(damage) && message.contains("may be missing from Kafka"), "{message}");
        run_fix(&harness, &config, &message.replace(harness.name(), "db")).await;
        if damage == "column list" {
            harness.execute("alter publication outbox add table public.box").await;
        }
    }
    let mut relay = Relay::start_with(&config);
    relay.ready().await;
}

/// With backfill and stream, the parent's rows are the parent's events, and the child's the child's.
#[tokio::test(flavor = "multi_thread")]
async fn case_32_an_inheriting_table_is_its_own_outbox_in_backfill_and_stream() {
    let harness = Harness::migrated("inherits").await;
    harness
        .execute(
            "create table public.box (id uuid default gen_random_uuid(), key text, payload json);
             create table public.box_child () inherits (public.box);
             alter publication outbox add table public.box",
        )
        .await;
    let insert = |n: u32| {
        format!(
            "insert into public.box (key, payload) values ('parent', '{n}'); \
             insert into public.box_child (key, payload) values ('child', '{n}')"
        )
    };
    harness.execute(&insert(1)).await;
    let outboxes = ["box", "box_child"]
        .map(|table| format!("[[outbox]]\ntable = 'public.{table}'\ntopic = '{}'\n", harness.topic(table)));
    let mut relay = Relay::start(&harness, &outboxes.concat());
    relay.ready().await;
    harness.execute(&insert(2)).await;
    for (table, key) in [("box", "parent"), ("box_child", "child")] {
        let records = harness.consume(&harness.topic(table), 2).await;
        let found: Vec<_> = records.iter().map(|record| (record.key_text(), record.value_text())).collect();
        assert_eq!(found, [(Some(key), Some("1")), (Some(key), Some("2"))]);
    }
    // The metric follows the acknowledgement within a second.
    relay.wait_for("four events", |status| status["events"] == 4).await;
}
