//! User-defined outbox tables: any columns, several at once, and the same record whether a row is backfilled or
//! streamed.

use super::{create_table, register_ordered, values};
use crate::harness::{Harness, Received, Relay, config, walpost};

/// A type, a value of it in SQL, and its bytes in the record.
type Typed = (&'static str, &'static str, &'static [u8]);

/// Keys and payloads.
const TYPES: [(Typed, Typed); 8] = [
    (("text", "'k'", b"k"), ("json", r#"'{"b": 1.50, "a" :2}'"#, br#"{"b": 1.50, "a" :2}"#)),
    (("varchar(20)", "'Größe'", "Größe".as_bytes()), ("jsonb", r#"'{"b": 1.50, "a" :2}'"#, br#"{"a": 2, "b": 1.50}"#)),
    (
        ("uuid", "'4D47E190-0402-4048-BC2C-89DD54343CDC'", b"4d47e190-0402-4048-bc2c-89dd54343cdc"),
        ("text", "'no json'", b"no json"),
    ),
    (("bigint", "-9223372036854775808", b"-9223372036854775808"), ("bytea", r"'\x00ff00'", b"\0\xFF\0")),
    (("int", "42", b"42"), ("varchar", "'日本'", "日本".as_bytes())),
    (("smallint", "-7", b"-7"), ("bytea", r"'\x'", b"")),
    (("bytea", r"'\x00ff'", b"\0\xFF"), ("text", "''", b"")),
    (("char(5)", "'ab'", b"ab   "), ("json", "'null'", b"null")),
];

#[tokio::test(flavor = "multi_thread")]
async fn case_02_columns_of_every_type_give_the_same_bytes_in_backfill_and_stream() {
    let harness = Harness::migrated("types").await;
    let mut outboxes = String::new();
    let mut inserts = Vec::new();
    for (number, ((key_type, key, _), (payload_type, payload, _))) in TYPES.into_iter().enumerate() {
        let table = format!("public.t{number}");
        let columns =
            format!("payload {payload_type}, n int generated always as identity, key {key_type}, id bigint default 7");
        create_table(&harness, &table, &columns).await;
        inserts.push(format!("insert into {table} (key, payload) values ({key}, {payload})"));
        let topic = harness.topic(&format!("t{number}"));
        outboxes += &format!("[[outbox]]\ntable = \"{table}\"\ntopic = \"{topic}\"\n");
    }
    let inserts = inserts.join(";");
    harness.execute(&inserts).await;
    let mut relay = Relay::start(&harness, &outboxes);
    relay.ready().await;
    harness.execute(&inserts).await;
    for (number, ((key_type, _, key), (payload_type, _, payload))) in TYPES.into_iter().enumerate() {
        for record in harness.consume(&harness.topic(&format!("t{number}")), 2).await {
            assert_eq!(record.key.as_deref(), Some(key), "{key_type}");
            assert_eq!(record.value.as_deref(), Some(payload), "{payload_type}");
            assert_eq!(record.header("ce_id"), Some("7"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_01_each_of_several_outbox_tables_follows_its_own_configuration() {
    let harness = Harness::migrated("several").await;
    let orders = register_ordered(&harness, "order.placed").await;
    create_table(
        &harness,
        "public.mapped",
        "event_id uuid default gen_random_uuid(), contract text, revision text, partition_by int, body text, meta json, at timestamptz",
    )
    .await;
    create_table(&harness, "public.routed", "id int, key text, payload text, region text, \"Kind\" text").await;
    create_table(&harness, "public.stranger", "id int, payload text").await;
    let routed = harness.topic("routed.{region}");
    let outboxes = format!(
        "[[outbox]]\ntable = \"outbox.event\"\n\
         [[outbox]]\ntable = \"public.mapped\"\ncolumns = {{ id = \"event_id\", schema_name = \"contract\", schema_version = \"revision\", \
         key = \"partition_by\", payload = \"body\", headers = \"meta\", topic = false, created_at = \"at\" }}\n\
         [[outbox]]\ntable = \"public.routed\"\ntopic = \"{routed}\"\nheader_columns = [\"Kind\", \"region\"]"
    );
    let mut relay = Relay::start(&harness, &outboxes);
    relay.ready().await;
    harness
        .execute(
            r#"begin;
            select outbox.emit('order.placed', '1', '"event"');
            insert into public.mapped (contract, revision, partition_by, body, meta, at)
                values ('order.placed', '1', 1, 'mapped', '{"a": "b"}', '2026-01-01 00:00:00+00');
            insert into public.routed values (5, null, 'routed', 'eu', 'Kind');
            insert into public.stranger values (6, 'nobody asked for this');
            commit"#,
        )
        .await;
    let records = harness.consume(&orders, 2).await;
    assert_eq!(values(&records), [Some("\"event\""), Some("mapped")]);
    assert_eq!(records[1].key_text(), Some("1"));
    assert_eq!(records[1].header("a"), Some("b"));
    assert_eq!(records[1].header("ce_time"), Some("2026-01-01T00:00:00.000000Z"));
    let records = harness.consume(&harness.topic("routed.eu"), 1).await;
    assert_eq!(values(&records), [Some("routed")]);
    assert_eq!((records[0].key.as_deref(), records[0].header("ce_id")), (None, Some("5")));
    assert_eq!((records[0].header("Kind"), records[0].header("region")), (Some("Kind"), Some("eu")));
    assert_eq!(records[0].header("ce_type"), Some(harness.topic("routed.eu").as_str()));
    let absent = ["ce_dataschema", "content-type"];
    assert!(absent.iter().all(|name| records[0].header(name).is_none()), "a table with a topic has no contract");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_21_backfilled_rows_arrive_once_and_before_streamed_ones() {
    let harness = Harness::migrated("before").await;
    let topic = register_ordered(&harness, "order.placed").await;
    for number in 1..=3 {
        harness.execute(&format!("select outbox.emit('order.placed', 'k', '{number}')")).await;
    }
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness.execute("select outbox.emit('order.placed', 'k', '4')").await;
    let records: Vec<Received> = harness.consume(&topic, 4).await;
    assert_eq!(values(&records), ["1", "2", "3", "4"].map(Some));
    assert_eq!(super::ordinals(&records), [1, 2, 3, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_an_unreadable_table_at_the_first_start_is_a_definite_error() {
    let harness = Harness::migrated("unreadable").await;
    create_table(&harness, "public.secret", "id int, key text, payload text").await;
    let role = harness.name();
    harness.execute(&format!("create role {role} login replication password 'relay'")).await;
    let migrate = walpost().args(["migrate", "--database-url", harness.url(), "--relay-role", role]).output();
    assert!(migrate.expect("the binary runs").status.success());
    let mut url = url::Url::parse(harness.url()).expect("a URL");
    url.set_username(role).and_then(|()| url.set_password(Some("relay"))).expect("a URL with a host");
    let outbox = format!("[[outbox]]\ntable = \"public.secret\"\ntopic = \"{}\"", harness.topic("secret"));
    let configuration = config(&harness, &outbox).replacen(harness.url(), url.as_str(), 1);
    let mut relay = Relay::start_with(&configuration);
    let status = relay.exit().await;
    let log = relay.log();
    let printed = log.lines().last().unwrap_or_default();
    assert!(printed.contains(role) && printed.contains("read the outbox tables"), "{log}");
    assert_eq!(status.code(), Some(69), "{log}");
    // With the grant the next start continues, and publishes the existing rows.
    harness
        .execute(&format!("insert into public.secret values (1, 'k', 'seen'); grant select on public.secret to {role}"))
        .await;
    let mut relay = Relay::start_with(&configuration);
    relay.ready().await;
    // Rows committed between the two starts may be both backfilled and streamed.
    let records = harness.consume(&harness.topic("secret"), 1).await;
    assert!(values(&records).iter().all(|value| *value == Some("seen")), "{records:?}");
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    harness.execute(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_12_a_relay_can_be_stopped_before_the_backfill_is_read() {
    let harness = Harness::migrated("early_stop").await;
    let topic = register_ordered(&harness, "order.placed").await;
    harness.execute("select outbox.emit('order.placed', 'k', '1')").await;
    // Readiness is reported when the stream starts, about when those rows are read: each round hits a different
    // moment.
    for _ in 0..4 {
        let mut relay = Relay::start(&harness, "");
        relay.ready().await;
        assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    }
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness.execute("select outbox.emit('order.placed', 'k', '2')").await;
    assert_eq!(values(&harness.consume(&topic, 2).await), [Some("1"), Some("2")]);
}
