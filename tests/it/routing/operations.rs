//! Case 4: only committed inserts are published.

use super::{create_table, register_ordered, values};
use crate::harness::{Harness, Relay};

#[tokio::test(flavor = "multi_thread")]
async fn case_04_update_delete_and_truncate_publish_nothing() {
    let harness = Harness::migrated("no_inserts").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let everything = harness.topic("everything");
    // A publication that sends all operations, unlike walpost's own.
    create_table(&harness, "public.box", "id uuid primary key default gen_random_uuid(), key text, payload text").await;
    harness.execute("alter publication outbox set (publish = 'insert, update, delete, truncate')").await;
    // Postgres rejects updates of a published table without a replica identity.
    harness.execute("alter table outbox.event replica identity full").await;
    let partitions = "select format('alter table %s replica identity full', relid) from pg_partition_tree('outbox.event') where isleaf";
    for row in harness.query(partitions).await {
        harness.execute(row.get(0)).await;
    }
    let outboxes =
        format!("[[outbox]]\ntable = \"outbox.event\"\n[[outbox]]\ntable = \"public.box\"\ntopic = \"{everything}\"");
    let mut relay = Relay::start(&harness, &outboxes);
    relay.ready().await;
    for statement in [
        "select outbox.emit('order.placed', 'k', '1'); insert into public.box (key, payload) values ('k', '1')",
        "update outbox.event set payload = '0'; update public.box set payload = '0'",
        "update public.box set id = gen_random_uuid()",
        "delete from outbox.event; delete from public.box",
        "insert into public.box (key, payload) values ('k', '2')",
        "truncate outbox.event; truncate public.box",
        "truncate outbox.event, public.box restart identity cascade",
        "select outbox.emit('order.placed', 'k', '2'); insert into public.box (key, payload) values ('k', '3')",
    ] {
        harness.execute(statement).await;
    }
    assert_eq!(values(&harness.consume(&topic, 2).await), [Some("1"), Some("2")]);
    let found = harness.consume(&everything, 3).await;
    let mut found = values(&found);
    found.sort_unstable();
    assert_eq!(found, [Some("1"), Some("2"), Some("3")]);
    assert!(relay.is_running());
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_04_insert_and_delete_in_one_transaction_publishes_once() {
    let harness = Harness::migrated("insert_delete").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness
        .execute(
            "begin; select outbox.emit('order.placed', 'k', '1'); delete from outbox.event; \
             select outbox.emit('order.placed', 'k', '2'); truncate outbox.event; commit; \
             select outbox.emit('order.placed', 'k', '3')",
        )
        .await;
    assert_eq!(values(&harness.consume(&topic, 3).await), [Some("1"), Some("2"), Some("3")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_04_a_rollback_publishes_nothing_and_a_rollback_to_a_savepoint_drops_exactly_what_followed_it() {
    let harness = Harness::migrated("rollback").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let emit = |payload: &str| {
        format!(
            "select outbox.emit('order.placed', 'k', '\"row {payload}\"'); \
             select outbox.emit_message('order.placed', 'k', '\"message {payload}\"');"
        )
    };
    harness.execute(&format!("begin; {} rollback", emit("rolled back"))).await;
    let statements = [
        "begin;",
        &emit("1"),
        "savepoint a;",
        &emit("after a"),
        "savepoint b;",
        &emit("after b"),
        "release b; rollback to a;",
        &emit("2"),
        "savepoint c;",
        &emit("3"),
        "release c; commit",
    ];
    harness.execute(&statements.concat()).await;
    // A block with an exception handler is a savepoint too.
    harness
        .execute(
            "do $$ begin begin perform outbox.emit('order.placed', 'k', '\"caught\"'); raise exception 'no'; \
             exception when others then perform outbox.emit('order.placed', 'k', '\"handler\"'); end; end $$",
        )
        .await;
    let records = harness.consume(&topic, 7).await;
    let expected =
        ["row 1", "message 1", "row 2", "message 2", "row 3", "message 3", "handler"].map(|text| format!("\"{text}\""));
    assert_eq!(values(&records), expected.iter().map(|text| Some(text.as_str())).collect::<Vec<_>>());
    assert_eq!(super::ordinals(&records), [1, 2, 3, 4, 5, 6, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_04_nontransactional_messages_and_other_prefixes_are_ignored() {
    let harness = Harness::migrated("stray").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let content = r#"{"id":"x","schema_name":"order.placed","schema_version":"1","payload":"stray"}"#;
    harness.execute(&format!("select pg_logical_emit_message(false, 'outbox', '{content}')")).await;
    harness.execute(&format!("select pg_logical_emit_message(true, 'outbox2', '{content}')")).await;
    harness.execute("select outbox.emit_message('order.placed', 'k', '\"event\"')").await;
    assert_eq!(values(&harness.consume(&topic, 1).await), [Some("\"event\"")]);
}
