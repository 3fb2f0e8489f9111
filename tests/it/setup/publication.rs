//! Migrations and publication.

use expect_test::expect;

use super::{run_fix, unavailable, unavailable_while_reading, works};
use crate::harness::{Harness, Received, Relay, config};

#[tokio::test(flavor = "multi_thread")]
async fn case_24_missing_migrations_are_named() {
    let harness = Harness::new("no_migrations").await;
    let message = unavailable(&harness, &config(&harness, "")).await;
    expect![[r#"walpost: table "outbox"."event" does not exist in database db: run `walpost migrate`, or correct [[outbox]] table"#]].assert_eq(&message);
    harness.migrate().await;
    works(&harness, &config(&harness, "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_migrations_of_an_older_walpost_are_refused() {
    let harness = Harness::new("old_migrations").await;
    harness.execute("create schema outbox").await;
    for migration in walpost::migrations::all().filter(|migration| migration.version < 6) {
        harness.execute(migration.sql).await;
    }
    let message = unavailable(&harness, &config(&harness, "")).await;
    expect!["walpost: schema outbox in database db is older than this walpost: run `walpost migrate` there"]
        .assert_eq(&message);
    harness.migrate().await;
    works(&harness, &config(&harness, "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_a_migration_that_was_not_applied_is_named() {
    let harness = Harness::migrated("one_migration").await;
    harness.execute("delete from outbox._migrations where version = 14").await;
    let message = unavailable(&harness, &config(&harness, "")).await;
    expect!["walpost: migration 14 (locks and partitions) is missing: run `walpost migrate`"].assert_eq(&message);
    harness.migrate().await;
    works(&harness, &config(&harness, "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_a_missing_or_unfit_publication_is_named() {
    let harness = Harness::migrated("publication").await;
    let config = config(&harness, "");
    let mut reported = String::new();
    for damage in [
        "drop publication outbox",
        "alter publication outbox drop table outbox.event",
        "alter publication outbox set (publish = 'update')",
        "alter publication outbox set (publish_via_partition_root = false)",
    ] {
        harness.execute(damage).await;
        let message = unavailable(&harness, &config).await;
        run_fix(&harness, &config, &message).await;
        reported += &format!("{message}\n");
        works(&harness, &config).await;
    }
    expect![[r#"
        walpost: publication outbox does not exist: run `create publication "outbox" for table "outbox"."event" with (publish = 'insert', publish_via_partition_root = true)`
        walpost: publication outbox lacks table "outbox"."event": run `alter publication "outbox" add table "outbox"."event"`
        walpost: publication outbox does not publish inserts: run `alter publication "outbox" set (publish = 'insert')`
        walpost: publication outbox publishes the partitions of "outbox"."event" under their own names: run `alter publication "outbox" set (publish_via_partition_root = true)`
    "#]].assert_eq(&reported);
}

/// PostgreSQL 15 and newer.
const FILTER: &str = "alter publication outbox set table outbox.event where (key <> 'x')";

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_omits_rows_is_refused_at_the_start_and_while_the_relay_runs() {
    let harness = Harness::migrated("publication_filter").await;
    harness.register("order.placed").await;
    let config = config(&harness, "");
    harness.execute(FILTER).await;
    let message = unavailable(&harness, &config).await;
    expect![[r#"walpost: publication outbox excludes rows of "outbox"."event" by a row filter, where ((key <> 'x'::text)): run `alter publication "outbox" drop table "outbox"."event"; alter publication "outbox" add table "outbox"."event"`"#]].assert_eq(&message);
    run_fix(&harness, &config, &message).await;
    works(&harness, &config).await;
    let mut relay = Relay::start_with(&config);
    relay.ready().await;
    harness.execute(&format!("{FILTER}; select outbox.emit('order.placed', 'x', '1')")).await;
    assert_eq!(relay.exit().await.code(), Some(69), "{}", relay.log());
    assert!(relay.log().contains("excludes rows of"), "{}", relay.log());
}

/// Detected by querying the catalog every few seconds: Postgres sends nothing about omitted rows.
#[tokio::test(flavor = "multi_thread")]
async fn case_24_a_publication_changed_while_the_relay_runs_is_noticed() {
    let harness = Harness::migrated("publication_lost").await;
    harness.register("order.placed").await;
    let config = config(&harness, "");
    let mut reported = String::new();
    for damage in [
        "alter publication outbox drop table outbox.event",
        "alter publication outbox set (publish = 'update')",
        "alter publication outbox set (publish_via_partition_root = false)",
        "drop publication outbox",
    ] {
        let mut relay = Relay::start_with(&config);
        relay.ready().await;
        harness.execute(&format!("{damage}; select outbox.emit('order.placed', 'k', '1')")).await;
        assert_eq!(relay.exit().await.code(), Some(69), "{}", relay.log());
        let log = relay.log();
        let message = log.lines().last().expect("the relay says why").replace(harness.name(), "db");
        run_fix(&harness, &config, &message).await;
        // How long ago it was last valid depends on when it was checked.
        let (before, rest) = message.split_once("; it was last valid ").expect("since when");
        let (since, rest) = rest.split_once(':').expect("what that means");
        assert!(since == "when the relay connected" || since.contains(" s ago at 0/"), "{message}");
        reported += &format!("{before}; it was last valid SINCE:{rest}\n");
    }
    expect![[r#"
        walpost: publication outbox lacks table "outbox"."event": run `alter publication "outbox" add table "outbox"."event"`; it was last valid SINCE: rows committed since may be missing from Kafka; republish them with `walpost replay --from-table`
        walpost: publication outbox does not publish inserts: run `alter publication "outbox" set (publish = 'insert')`; it was last valid SINCE: rows committed since may be missing from Kafka; republish them with `walpost replay --from-table`
        walpost: publication outbox publishes the partitions of "outbox"."event" under their own names: run `alter publication "outbox" set (publish_via_partition_root = true)`; it was last valid SINCE: rows committed since may be missing from Kafka; republish them with `walpost replay --from-table`
        walpost: publication outbox does not exist: run `create publication "outbox" for table "outbox"."event" with (publish = 'insert', publish_via_partition_root = true)`; it was last valid SINCE: rows committed since may be missing from Kafka; republish them with `walpost replay --from-table`
    "#]].assert_eq(&reported);
}

/// The catalog entry shows that the table was removed, even if no check fell into that time.
#[tokio::test(flavor = "multi_thread")]
async fn case_24_a_table_removed_from_the_publication_and_added_again_is_a_warning() {
    let harness = Harness::migrated("publication_back").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let change = "alter publication outbox drop table outbox.event; alter publication outbox add table outbox.event";
    let since = std::time::Instant::now();
    while !relay.log().contains("publication was changed and is valid again") {
        assert!(since.elapsed() < crate::harness::PATIENCE, "no warning: {}", relay.log());
        harness.execute(change).await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert!(relay.is_running());
}

/// Postgres decodes a row with the publications of its own time: rows from a time without one are lost to the slot.
#[tokio::test(flavor = "multi_thread")]
async fn case_24_rows_written_without_a_publication_are_reported() {
    let harness = Harness::migrated("publication_gap").await;
    let config = config(&harness, "");
    works(&harness, &config).await;
    harness.execute("drop publication outbox").await;
    harness.execute("select outbox.emit('order.placed', 'not lost', '1')").await;
    run_fix(&harness, &config, &unavailable(&harness, &config).await).await;
    let message = unavailable_while_reading(&harness, &config).await;
    let after = message.split("rows after ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a position");
    expect!["walpost: publication outbox did not exist when rows after LSN were written, so Postgres can't decode them for slot db; run `walpost slot recreate`: the relay recreates the slot, then republishes the rows that may be missing from Kafka, with the header outbox-recovered"].assert_eq(&message.replace(after, "LSN"));
    run_fix(&harness, &config, &message).await;
    works(&harness, &config).await;
    let key = |record: &Received| record.key_text() == Some("not lost");
    let published = move |records: &[Received]| records.iter().any(key);
    harness.consume_until(&[&harness.topic("order.placed")], "the row from before the new slot", published).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_37_tables_that_do_not_match_the_configuration_are_reported_at_the_start_and_by_doctor() {
    let harness = Harness::migrated("tables").await;
    let tables = [
        "table = 'public.nowhere'",
        "table = 'public.parcel'\ncolumns = { key = 'weight' }",
        "table = 'public.parcel'\ntopic = 'parcels.{kind}'",
        "table = 'public.parcel'\ntopic = 'parcels'\ncolumns = { key = 'place' }",
        "table = 'public.parcel'\ntopic = 'parcels'\nheader_columns = ['sent_on', 'tags']",
        "table = 'public.parcel'\ntopic = 'parcels'\nheader_columns = ['sent_on', 'nope']",
        "table = 'public.parcel'\ntopic = 'parcels'\ncolumns = { key = 'box' }",
        "table = 'public.parcel_view'\ntopic = 'parcels'",
    ];
    harness
        .execute(
            "create type public.box as (width int, height int); \
             create table public.parcel (id uuid default gen_random_uuid(), key text, sent_on date, payload json, place point, \
                 tags text[], box public.box); \
             create view public.parcel_view as select * from public.parcel; \
             alter publication outbox add table public.parcel",
        )
        .await;
    let mut reported = String::new();
    for table in tables {
        let config = config(&harness, &format!("[[outbox]]\n{table}\n"));
        let (code, message) = super::refused(&config).await;
        let doctor = super::ended_with(&config, "doctor").stdout;
        let expected = message.strip_prefix("walpost: ").expect("an error of walpost's");
        assert!(doctor.contains(expected), "{expected} is not in {doctor}");
        reported += &format!("{code:?}: {message}\n").replace(harness.name(), "db");
    }
    expect![[r#"
        Some(69): walpost: table "public"."nowhere" does not exist in database db: run `walpost migrate`, or correct [[outbox]] table
        Some(65): walpost: table public.parcel has no column "schema_name", which the relay reads as schema_name; add the column, or name another one in [[outbox]]
        Some(65): walpost: table public.parcel has no column "kind", which the relay reads as a part of the topic; add the column, or name another one in [[outbox]]
        Some(65): walpost: column "place" of table public.parcel has type point, which can't be read as key; use text, uuid, json, bytea, a number, boolean, a date or time, inet, or an enum or domain
        Some(65): walpost: column "tags" of table public.parcel has type text[], which can't be read as a header; use text, uuid, json, bytea, a number, boolean, a date or time, inet, or an enum or domain
        Some(65): walpost: table public.parcel has no column "nope", which the relay reads as a header; add the column, or name another one in [[outbox]]
        Some(65): walpost: column "box" of table public.parcel has type public.box, which can't be read as key; use text, uuid, json, bytea, a number, boolean, a date or time, inet, or an enum or domain
        Some(69): walpost: "public"."parcel_view" is a view, and Postgres streams the rows of tables only: set [[outbox]] table to the table itself
    "#]].assert_eq(&reported);
}
