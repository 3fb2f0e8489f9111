//! Case 7: partitions are one stream under their root's name.

use super::{register_ordered, values};
use crate::harness::{Harness, Relay};

#[tokio::test(flavor = "multi_thread")]
async fn case_07_rows_of_every_partition_are_one_stream() {
    let harness = Harness::migrated("partitions").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let partitions = "select relid::regclass::text from pg_partition_tree('outbox.event') where isleaf";
    assert!(harness.query(partitions).await.len() > 1, "the migrations create partitions ahead");
    // One transaction across today's partition, the default one and tomorrow's, and a row inserted directly into a
    // partition.
    harness
        .execute(
            "insert into outbox.event (schema_name, schema_version, key, payload, created_at) values \
                ('order.placed', '1', 'k', '1', now()), ('order.placed', '1', 'k', '2', '1999-01-01'), \
                ('order.placed', '1', 'k', '3', now() + interval '1 day'), ('order.placed', '1', 'k', '4', now()); \
             insert into outbox.event_default (schema_name, schema_version, key, payload, created_at) values \
                ('order.placed', '1', 'k', '5', '1999-01-02')",
        )
        .await;
    assert_eq!(values(&harness.consume(&topic, 5).await), ["1", "2", "3", "4", "5"].map(Some));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_07_partitions_are_attached_and_detached_while_the_relay_runs() {
    let harness = Harness::migrated("attach").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    // Its columns have a different order, and one was dropped: rows still arrive in the root's order.
    harness
        .execute(
            "create table public.late (payload json, gone int, created_at timestamptz not null, headers jsonb, payload_bytes bytea, \
                key text, topic text, schema_version text not null, schema_name text not null, id uuid not null default gen_random_uuid()); \
             alter table public.late drop column gone; \
             do $$ begin execute (select string_agg(format('alter table public.late add constraint %I %s', c.conname, \
                pg_get_constraintdef(c.oid)), ';') from pg_constraint c \
                where c.conrelid = 'outbox.event'::regclass and c.contype = 'c'); end $$",
        )
        .await;
    let insert = |table: &str, payload: i32, date: &str| {
        format!(
            "insert into {table} (schema_name, schema_version, key, payload, created_at) values \
             ('order.placed', '1', 'k', '{payload}', '{date}')"
        )
    };
    harness.execute(&insert("outbox.event", 1, "1998-01-01")).await;
    // Inserted before it was an outbox table: not an event.
    harness.execute(&insert("public.late", 2, "2001-01-01")).await;
    harness
        .execute(
            "alter table outbox.event attach partition public.late for values from ('2001-01-01') to ('2002-01-01')",
        )
        .await;
    harness.execute(&insert("outbox.event", 3, "2001-01-02")).await;
    harness.execute(&insert("public.late", 4, "2001-01-03")).await;
    harness.execute("alter table outbox.event detach partition public.late").await;
    harness.execute(&insert("public.late", 5, "2001-01-04")).await;
    harness.execute(&insert("outbox.event", 6, "2001-01-05")).await;
    harness.execute("drop table public.late; select outbox.maintain()").await;
    harness.execute(&insert("outbox.event", 7, "2001-01-06")).await;
    let records = harness.consume(&topic, 5).await;
    assert_eq!(values(&records), ["1", "3", "4", "6", "7"].map(Some));
    assert!(records.iter().all(|record| record.header("ce_type") == Some("order.placed")));
    assert!(relay.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_07_a_partition_dropped_before_the_relay_has_read_it_loses_nothing() {
    let harness = Harness::migrated("drop_behind").await;
    let topic = register_ordered(&harness, "order.placed").await;
    harness
        .execute("create table outbox.old partition of outbox.event for values from ('2001-01-01') to ('2002-01-01')")
        .await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    relay.wait_for_log("initial backfill published").await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    // Rows that are still in the WAL are published, although their table is gone when the relay reads them.
    harness
        .execute(
            "insert into outbox.event (schema_name, schema_version, key, payload, created_at) values \
             ('order.placed', '1', 'k', '1', '2001-01-01')",
        )
        .await;
    harness.execute("drop table outbox.old").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    assert_eq!(values(&harness.consume(&topic, 1).await), [Some("1")]);
}
