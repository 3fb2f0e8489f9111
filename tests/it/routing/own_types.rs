//! User-defined column types: enums, domains, and types like citext.

use super::{create_table, values};
use crate::harness::{Harness, Received, Relay};

/// A type that is sent by one of Postgres's built-in functions, like citext, which is not installed everywhere.
const EXTENSION: &str = "
    create type public.ci;
    create function public.ci_in(cstring) returns public.ci language internal immutable strict as 'textin';
    create function public.ci_out(public.ci) returns cstring language internal immutable strict as 'textout';
    create function public.ci_send(public.ci) returns bytea language internal immutable strict as 'textsend';
    create type public.ci (input = public.ci_in, output = public.ci_out, send = public.ci_send, like = text);
    -- A domain has its base type's send function; this one has none, and comes as text.
    create type public.mute;
    create function public.mute_in(cstring) returns public.mute language internal immutable strict as 'textin';
    create function public.mute_out(public.mute) returns cstring language internal immutable strict as 'textout';
    create type public.mute (input = public.mute_in, output = public.mute_out, like = text);";

const TYPES: &str = "
    create type public.colour as enum ('red', 'green', 'light blue');
    create domain public.body as jsonb check (value is not null);
    create domain public.inner_body as public.body;
    create domain public.shade as public.colour;
    create domain public.raw as bytea;
    create domain public.number as bigint;
    create domain public.moment as timestamptz;
    create domain public.\"Odd Name\" as uuid;";

/// A type, a value of it in SQL, and its bytes in the record.
type Typed = (&'static str, &'static str, &'static [u8]);

/// Keys and payloads.
const COLUMNS: [(Typed, Typed); 7] = [
    (("public.colour", "'light blue'", b"light blue"), ("public.body", r#"'{"a":1}'"#, br#"{"a": 1}"#)),
    (("public.shade", "'green'", b"green"), ("public.inner_body", "'[1,2]'", b"[1, 2]")),
    (("public.ci", "'MiXed'", b"MiXed"), ("public.raw", r"'\x00ff'", b"\0\xFF")),
    (("public.number", "-5", b"-5"), ("public.ci", "'Größe'", "Größe".as_bytes())),
    (
        ("public.\"Odd Name\"", "'4D47E190-0402-4048-BC2C-89DD54343CDC'", b"4d47e190-0402-4048-bc2c-89dd54343cdc"),
        ("public.colour", "'red'", b"red"),
    ),
    (("information_schema.sql_identifier", "'name'", b"name"), ("public.mute", "'said'", b"said")),
    (("public.raw", r"'\x0001'", b"\0\x01"), ("text", "'plain'", b"plain")),
];

#[tokio::test(flavor = "multi_thread")]
async fn case_02_user_defined_types_give_the_same_bytes_in_backfill_and_stream() {
    let harness = Harness::migrated("own_types").await;
    harness.execute(EXTENSION).await;
    harness.execute(TYPES).await;
    let mut outboxes = String::new();
    let mut inserts = Vec::new();
    for (number, ((key_type, key, _), (payload_type, payload, _))) in COLUMNS.into_iter().enumerate() {
        let table = format!("public.t{number}");
        let columns = format!(
            "payload {payload_type}, at public.moment default '2026-01-01 00:00:00+00', key {key_type}, \
             id public.shade default 'red', region public.colour default 'green'"
        );
        create_table(&harness, &table, &columns).await;
        inserts.push(format!("insert into {table} (key, payload) values ({key}, {payload})"));
        let topic = harness.topic(&format!("t{number}"));
        outboxes += &format!(
            "[[outbox]]\ntable = \"{table}\"\ntopic = \"{topic}.{{region}}\"\n\
             columns = {{ created_at = \"at\" }}\nheader_columns = {{ region = \"shade\" }}\n"
        );
    }
    let inserts = inserts.join(";");
    harness.execute(&inserts).await;
    let mut relay = Relay::start(&harness, &outboxes);
    relay.ready().await;
    harness.execute(&inserts).await;
    for (number, ((key_type, _, key), (payload_type, _, payload))) in COLUMNS.into_iter().enumerate() {
        for record in harness.consume(&harness.topic(&format!("t{number}.green")), 2).await {
            assert_eq!(record.key.as_deref(), Some(key), "{key_type}");
            assert_eq!(record.value.as_deref(), Some(payload), "{payload_type}");
            assert_eq!((record.header("ce_id"), record.header("shade")), (Some("red"), Some("green")));
            assert_eq!(record.header("ce_time"), Some("2026-01-01T00:00:00.000000Z"));
        }
    }
    assert_eq!(relay.status().await["dead_letters"], serde_json::json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_05_a_type_created_at_runtime_is_read_from_its_first_row_on() {
    let harness = Harness::migrated("new_types").await;
    let topic = harness.topic("orders");
    create_table(&harness, "public.orders", "id int, key text, payload text").await;
    let outbox = format!("[[outbox]]\ntable = \"public.orders\"\ntopic = \"{topic}\"\n");
    let mut relay = Relay::start(&harness, &outbox);
    relay.ready().await;
    harness
        .execute(
            "insert into public.orders values (1, 'k', '1');
             begin;
             create type public.colour as enum ('red', 'green');
             alter table public.orders alter column key type public.colour using 'red';
             insert into public.orders values (2, 'green', '2');
             create domain public.body as jsonb;
             alter table public.orders alter column payload type public.body using payload::jsonb;
             insert into public.orders values (3, 'red', '3');
             commit;
             alter type public.colour add value 'blue'",
        )
        .await;
    harness.execute("insert into public.orders values (4, 'blue', '4')").await;
    // Both at once: the transaction's first row is in the stream before others can see its type.
    let arrived = harness.consume(&topic, 4).await;
    assert_eq!(values(&arrived), ["1", "2", "3", "4"].map(Some));
    let keys = |records: &[Received]| -> Vec<_> {
        records.iter().map(|record| record.key_text().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(keys(&arrived), ["k", "green", "red", "blue"]);
    assert!(!relay.log().contains("dead-letter topic"), "{}", relay.log());

    // A type that was dropped before the relay has read its rows remains unknown: they are dead letters, with their bytes.
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    harness
        .execute(
            "insert into public.orders values (5, 'green', '5');
             alter table public.orders alter column key type text;
             drop type public.colour;
             insert into public.orders values (6, 'k', '6')",
        )
        .await;
    let mut relay = Relay::start(&harness, &outbox);
    relay.ready().await;
    let refused = harness.consume(&harness.topic("dead-letter"), 1).await;
    assert_eq!((refused[0].key_text(), refused[0].value_text()), (Some("green"), Some("5")));
    assert_eq!(refused[0].header("outbox-error"), Some("undecodable"));
    assert_eq!(values(&harness.consume(&topic, 5).await)[4], Some("6"));
}
