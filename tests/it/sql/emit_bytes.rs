//! `outbox.emit_bytes`, and the column `payload_bytes`.

use walpost_producer::{EmitError, Event, sqlx as with_sqlx, tokio_postgres as with_tokio};

use super::database::{Database, refusal, run, text};

const EVENTS: &str = "select string_agg(concat_ws('|', schema_version, topic, key, coalesce(payload_bytes::text, 'tombstone'), headers), \
                      E'\\n' order by ctid) from outbox.event where payload is null";

const REGISTER: &str = "select outbox.register_schema_version('datum', '1', 'data', format => 'avro'), \
                        outbox.register_schema_version('datum', '2', 'data', format => 'protobuf')";

#[tokio::test]
async fn bytes_are_emitted_as_they_are_with_both_clients() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    let client = database.connect_tokio().await;
    run(&mut connection, REGISTER).await?;
    let payload = vec![0_u8, 255];
    let event = Event::of_bytes("datum", &payload).key("42").version("1").topic("t").header("a", "é");
    let ids = [
        with_sqlx::emit_bytes(&mut connection, &event).await?,
        with_tokio::emit_bytes(&client, &event).await?,
        with_sqlx::emit_bytes(&mut connection, &Event::of_bytes("datum", b"".as_slice())).await?,
    ];
    run(&mut connection, "select outbox.emit_bytes('datum', '42', null)").await?;
    let row = "1|t|42|\\x00ff|{\"a\": \"é\"}";
    let expected = format!("{row}\n{row}\n2|\\x\n2|42|tombstone");
    assert_eq!(text(&mut connection, EVENTS).await?, Some(expected));
    let stored = text(&mut connection, "select string_agg(id::text, ' ' order by ctid) from outbox.event").await?;
    let stored = stored.unwrap_or_default();
    assert!(stored.starts_with(&ids.map(|id| id.to_string()).join(" ")), "{stored}");
    Ok(())
}

#[tokio::test]
async fn bytes_that_can_t_be_published_fail_the_transaction() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    run(&mut connection, REGISTER).await?;
    let insert =
        "insert into outbox.event (schema_name, schema_version, payload, payload_bytes) values ('datum', '1', ";
    for (sql, code, message) in [
        (
            "select outbox.emit_bytes('order.placed', 'k', '\\x00')".to_owned(),
            "22023",
            "schema version order.placed/2 has format json",
        ),
        ("select outbox.emit_bytes('nope', 'k', '\\x00')".to_owned(), "WP001", "schema nope is not registered"),
        (
            "select outbox.emit_bytes('datum', 'k', '\\x00', version => '3')".to_owned(),
            "WP001",
            "schema version datum/3 is not registered",
        ),
        (
            "select outbox.emit_bytes('datum', 'k', '\\x00', headers => '[]')".to_owned(),
            "22023",
            "headers of an event are a JSON object, not array",
        ),
        (format!("{insert}'1', '\\x00')"), "23514", "an event has a payload or payload_bytes, not both"),
        (
            format!("{insert}null, decode(repeat('00', 67108865), 'hex'))"),
            "23514",
            "violates check constraint \"headers_to_1_mb_payload_to_64_mb_names_to_1_mb\"",
        ),
    ] {
        let (found, text) = refusal(&mut connection, &sql).await?;
        assert!(found == code && text.contains(message), "{sql:.100}: {found} {text}");
    }
    run(&mut connection, &format!("{insert}null, decode(repeat('00', 1000000), 'hex'))")).await?;
    let unknown = Event::of_bytes("nope", b"".as_slice());
    let error = with_sqlx::emit_bytes(&mut connection, &unknown).await.expect_err("it is unknown");
    assert!(matches!(error, EmitError::UnknownSchema { .. }), "{error:?}");
    Ok(())
}

/// Partitions that were made before the migration, and those that are made after it.
#[tokio::test]
async fn every_partition_takes_bytes_and_checks_them() -> anyhow::Result<()> {
    let database = Database::empty().await?;
    let mut connection = database.connect().await?;
    super::migrate::of_sqlx().run_to(16, &mut connection).await?;
    run(&mut connection, "select outbox.maintain()").await?;
    // Roles of an earlier version: whoever could emit and insert then can now, too.
    let role = super::database::unique("earlier");
    run(
        &mut connection,
        &format!(
            "create role \"{role}\" login; grant usage on schema outbox to \"{role}\"; grant insert on outbox.event to \"{role}\"; \
             grant execute on function outbox.emit(text, text, json, text, jsonb, text) to \"{role}\""
        ),
    )
    .await?;
    database.migrate().await?;
    run(&mut connection, "select outbox.maintain(ahead => 9)").await?;
    run(&mut connection, REGISTER).await?;
    let checks = "select count(*) || ' of ' || count(*) filter (where exists (select from pg_constraint k where k.conrelid = c.oid \
                  and k.contype = 'c' and pg_get_constraintdef(k.oid) like '%payload_bytes%')) \
                  from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'outbox.event'::regclass";
    assert_eq!(text(&mut connection, checks).await?.as_deref(), Some("11 of 11"), "ten days and the default partition");
    let mut writer = database.connect_as(&role).await?;
    run(&mut writer, "select outbox.emit_bytes('datum', 'k', '\\x00ff')").await?;
    let insert = "insert into outbox.event (schema_name, schema_version, payload_bytes) values ('datum', '1', '\\x01') returning id";
    run(&mut writer, insert).await?;
    assert_eq!(refusal(&mut writer, "select key from outbox.event").await?.0, "42501");
    let rows = "select string_agg(payload_bytes::text, ',' order by payload_bytes) from outbox.event";
    assert_eq!(text(&mut connection, rows).await?.as_deref(), Some("\\x00ff,\\x01"));
    run(&mut connection, &format!("drop owned by \"{role}\"; drop role \"{role}\"")).await?;
    Ok(())
}
