//! Case 37: keys, headers and topics of every scalar type, and columns that do not fit.

use super::{create_table, values};
use crate::harness::{Harness, Relay};

/// Column, type, value in SQL, and the SQL for its text unless it is `::text`.
const COLUMNS: [(&str, &str, &str, &str); 24] = [
    ("c_bool", "boolean", "true", ""),
    ("c_int2", "smallint", "-7", ""),
    ("c_int4", "integer", "42", ""),
    ("c_int8", "bigint", "9223372036854775807", ""),
    ("c_oid", "oid", "4294967295", ""),
    ("c_real", "real", "1234567", ""),
    ("c_double", "double precision", "1e23", ""),
    ("c_tie", "double precision", "125653957237358.125", ""),
    ("c_numeric", "numeric(20,3)", "12345678901.5", ""),
    ("c_small", "numeric", "0.00010", ""),
    ("c_date", "date", "'2026-11-29'", ""),
    ("c_bc", "date", "'0044-03-15 BC'", ""),
    ("c_time", "time", "'12:30:00.25'", ""),
    ("c_timetz", "timetz", "'12:30:00+05:30'", ""),
    ("c_timestamp", "timestamp", "'2026-11-29 22:56:24.1'", ""),
    ("c_timestamptz", "timestamptz", "'2026-11-29 22:56:24.123456+02'", ""),
    ("c_interval", "interval", "'1 year -2 days 03:04:05.6'", ""),
    ("c_uuid", "uuid", "'4D47E190-0402-4048-BC2C-89DD54343CDC'", ""),
    ("c_inet", "inet", "'2001:db8::1'", "inet_out(c_inet)::text"),
    ("c_cidr", "cidr", "'10.0.0.0/8'", ""),
    ("c_json", "json", "'{\"a\":  1}'", ""),
    ("c_jsonb", "jsonb", "'{\"a\":  1}'", ""),
    ("c_enum", "public.colour", "'light blue'", ""),
    ("c_domain", "public.price", "1.50", ""),
];

#[tokio::test(flavor = "multi_thread")]
async fn case_37_scalars_have_the_text_that_psql_shows_in_backfill_and_stream() {
    let harness = Harness::migrated("scalars").await;
    harness
        .execute("create type public.colour as enum ('light blue'); create domain public.price as numeric(10,2)")
        .await;
    let columns: Vec<_> = COLUMNS.iter().map(|(name, kind, ..)| format!("{name} {kind}")).collect();
    create_table(
        &harness,
        "public.scalar",
        &format!("id int8 generated always as identity, key numeric, day date, payload text, {}", columns.join(", ")),
    )
    .await;
    let names: Vec<_> = COLUMNS.iter().map(|(name, ..)| *name).collect();
    let literals: Vec<_> = COLUMNS.iter().map(|(_, _, value, _)| *value).collect();
    let insert = format!(
        "insert into public.scalar (key, day, payload, {}) values (1.50, '2026-11-29', 'x', {}), (1.50, '2026-11-29', 'nulls', {})",
        names.join(", "),
        literals.join(", "),
        vec!["null"; literals.len()].join(", "),
    );
    harness.execute(&insert).await;
    let topic = harness.topic("{day}");
    let outbox = format!(
        "[[outbox]]\ntable = \"public.scalar\"\ntopic = \"{topic}\"\nheader_columns = [{}]\n",
        names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    );
    let mut relay = Relay::start(&harness, &outbox);
    relay.ready().await;
    harness.execute(&insert).await;

    let session = harness.session().await;
    session
        .batch_execute("set timezone = 'UTC'; set datestyle = 'ISO'; set intervalstyle = 'postgres'")
        .await
        .expect("settings");
    let texts =
        COLUMNS.map(|(name, _, _, text)| if text.is_empty() { format!("{name}::text") } else { text.to_owned() });
    let row = session
        .query_one(&format!("select {} from public.scalar where id = 1", texts.join(", ")), &[])
        .await
        .expect("the first row");
    let records = harness.consume(&harness.topic("2026-11-29"), 4).await;
    assert_eq!(records.len(), 4);
    for record in &records {
        assert_eq!(record.key_text(), Some("1.50"));
        for (place, name) in names.iter().enumerate() {
            let expected: Option<String> = if record.value_text() == Some("x") { row.get(place) } else { None };
            assert_eq!(record.header(name), expected.as_deref(), "{name} of {:?}", record.header("ce_id"));
        }
    }
    assert_eq!(relay.status().await["dead_letters"], serde_json::json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_37_rows_written_while_a_column_was_missing_can_become_dead_letters() {
    let harness = Harness::migrated("column_gone").await;
    let topic = harness.topic("orders");
    create_table(&harness, "public.orders", "id int, key text, payload text").await;
    let outbox = format!("[[outbox]]\ntable = \"public.orders\"\ntopic = \"{topic}\"\n");
    let mut relay = Relay::start(&harness, &outbox);
    relay.ready().await;
    relay.wait_for_log("initial backfill published").await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    // In separate transactions: the relay stops between them.
    for statement in [
        "insert into public.orders values (1, 'k', '1')",
        "alter table public.orders drop column key",
        "insert into public.orders (id, payload) values (2, '2')",
        "alter table public.orders add column key text",
        "insert into public.orders values (3, '3', 'k')",
    ] {
        harness.execute(statement).await;
    }
    let mut relay = Relay::start(&harness, &outbox);
    assert_eq!(relay.exit().await.code(), Some(65), "{}", relay.log());
    let log = relay.log();
    let printed = log.lines().last().unwrap_or_default();
    assert!(printed.contains("no column \"key\"") && printed.contains("dead-letter-always"), "{printed}");

    let mut relay = Relay::start(&harness, &format!("on_rejected = \"dead-letter-always\"\n{outbox}"));
    relay.ready().await;
    assert_eq!(values(&harness.consume(&topic, 2).await), [Some("1"), Some("3")]);
    let refused = harness.consume(&harness.topic("dead-letter"), 1).await;
    assert_eq!((refused[0].value_text(), refused[0].header("outbox-error")), (Some("2"), Some("undecodable")));
    let detail = refused[0].header("outbox-error-detail");
    assert!(detail.is_some_and(|detail| detail.contains("no column \"key\"")), "{detail:?}");
}
