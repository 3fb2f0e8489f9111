//! Migrations and publication.

use expect_test::expect;

use super::{run_mend, unavailable, works};
use crate::harness::{Harness, Received, config};

#[tokio::test(flavor = "multi_thread")]
async fn case_24_migrations_missing() {
    let harness = Harness::new("no_migrations").await;
    let message = unavailable(&harness, &config(&harness, "")).await;
    expect![[r#"walpost: table "outbox"."event" does not exist in database db: run `walpost migrate`, or correct [[outbox]] table"#]].assert_eq(&message);
    harness.migrate().await;
    works(&harness, &config(&harness, "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_publication_missing_or_not_fit() {
    let harness = Harness::migrated("publication").await;
    let config = config(&harness, "");
    let mut told = String::new();
    for damage in [
        "drop publication outbox",
        "alter publication outbox drop table outbox.event",
        "alter publication outbox set (publish = 'update')",
        "alter publication outbox set (publish_via_partition_root = false)",
    ] {
        harness.execute(damage).await;
        let message = unavailable(&harness, &config).await;
        run_mend(&harness, &message).await;
        told += &format!("{message}\n");
        works(&harness, &config).await;
    }
    expect![[r#"
        walpost: publication outbox does not exist: run `create publication "outbox" for table "outbox"."event" with (publish = 'insert', publish_via_partition_root = true)`
        walpost: publication outbox lacks table "outbox"."event": run `alter publication "outbox" add table "outbox"."event"`
        walpost: publication outbox leaves out inserts: run `alter publication "outbox" set (publish = 'insert')`
        walpost: publication outbox publishes the partitions of "outbox"."event" under their own names: run `alter publication "outbox" set (publish_via_partition_root = true)`
    "#]].assert_eq(&told);
}

/// Postgres decodes a row by the publications of its own time: rows from while there was none are lost to the slot.
#[tokio::test(flavor = "multi_thread")]
async fn case_24_rows_from_while_there_was_no_publication() {
    let harness = Harness::migrated("publication_gap").await;
    let config = config(&harness, "");
    works(&harness, &config).await;
    harness.execute("drop publication outbox").await;
    harness.execute("select outbox.emit('order.placed', 'not lost', '1')").await;
    run_mend(&harness, &unavailable(&harness, &config).await).await;
    let message = unavailable(&harness, &config).await;
    let after = message.split("rows after ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a position");
    expect!["walpost: publication outbox did not exist when rows after LSN were written, and Postgres can't decode those: run `select pg_drop_replication_slot('db'); delete from outbox.relay where slot = 'db'` and start again; the new slot begins with every row that is still in the outbox tables, published or not"].assert_eq(&message.replace(after, "LSN"));
    run_mend(&harness, &message).await;
    works(&harness, &config).await;
    let key = |record: &Received| record.key_text() == Some("not lost");
    let published = move |records: &[Received]| records.iter().any(key);
    harness.consume_until(&[&harness.topic("order.placed")], "the row from before the new slot", published).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_tables_that_do_not_fit_the_configuration() {
    let harness = Harness::migrated("tables").await;
    let tables = [
        "table = 'public.nowhere'",
        "table = 'public.parcel'\ncolumns = { key = 'weight' }",
        "table = 'public.parcel'\ntopic = 'parcels.{kind}'",
        "table = 'public.parcel'\ntopic = 'parcels'\ncolumns = { key = 'sent_on' }",
    ];
    harness
        .execute(
            "create table public.parcel (id uuid default gen_random_uuid(), key text, sent_on date, payload json); \
             alter publication outbox add table public.parcel",
        )
        .await;
    let mut told = String::new();
    for table in tables {
        harness.execute("insert into public.parcel (key) values ('k')").await;
        let (code, message) = super::refused(&config(&harness, &format!("[[outbox]]\n{table}\n"))).await;
        told += &format!("{code:?}: {message}\n").replace(harness.name(), "db");
    }
    expect![[r#"
        Some(69): walpost: table "public"."nowhere" does not exist in database db: run `walpost migrate`, or correct [[outbox]] table
        Some(65): walpost: table public.parcel has no column "schema_name", which the relay reads as schema_name; add the column again or name another one in [[outbox]] columns
        Some(65): walpost: table public.parcel has no column "kind", which the relay reads as a part of the topic; add the column again or name another one in [[outbox]] columns
        Some(65): walpost: column "sent_on" of table public.parcel has type date, from which no key can be made; use text, varchar, uuid, an integer type or bytea
    "#]].assert_eq(&told);
}
