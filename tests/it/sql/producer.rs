//! `walpost-producer` through both clients.

use serde_json::value::RawValue;
use sqlx::Connection;
use walpost_producer::{EmitError, Event, sqlx as with_sqlx, tokio_postgres as with_tokio};

use super::database::{Database, changes, run, slot, text};

/// Every event in the order of the table, which is insert order: it is append-only.
const EVENTS: &str = "select string_agg(concat_ws('|', schema_version, topic, key, coalesce(payload::text, 'tombstone'), headers), \
                      E'\\n' order by ctid) from outbox.event";

#[tokio::test]
async fn sqlx_emits_the_event_as_built() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    let raw: Box<RawValue> = serde_json::from_str("{ \"total\": 1.50 }")?;
    let mut tx = connection.begin().await?;
    let id = with_sqlx::emit(&mut tx, &Event::new("order.placed", &*raw).key("42").version("1").topic("t")).await?;
    with_sqlx::emit(&mut tx, &Event::new("order.placed", "text").header("b", "2").header("a", "é")).await?;
    with_sqlx::emit(&mut tx, &Event::tombstone("order.placed", "42")).await?;
    tx.commit().await?;
    let mut tx = connection.begin().await?;
    with_sqlx::emit(&mut tx, &Event::new("order.placed", &1)).await?;
    tx.rollback().await?;
    let expected = "1|t|42|{ \"total\": 1.50 }\n2|\"text\"|{\"a\": \"é\", \"b\": \"2\"}\n2|42|tombstone";
    assert_eq!(text(&mut connection, EVENTS).await?.as_deref(), Some(expected));
    let first = text(&mut connection, "select id from outbox.event where topic = 't'").await?;
    assert_eq!(first, Some(id.to_string()));
    Ok(())
}

#[tokio::test]
async fn a_batch_keeps_its_order_and_returns_its_ids() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    let client = database.connect_tokio().await;
    let keys: Vec<String> = (0..500_u32).map(|n| (n.wrapping_mul(7919) % 500).to_string()).collect();
    let events: Vec<Event<'_, String>> =
        keys.iter()
            .map(|key| {
                if key == "7" { Event::new("order.placed", key).version("1") } else { Event::new("order.placed", key) }
            })
            .zip(&keys)
            .map(|(event, key)| event.key(key))
            .collect();
    let in_order =
        "select string_agg(key, ',' order by ctid) || ' ' || string_agg(id::text, ',' order by ctid) from outbox.event";
    for client_of_tokio in [false, true] {
        let ids = if client_of_tokio {
            with_tokio::emit_batch(&client, &events).await?
        } else {
            with_sqlx::emit_batch(&mut connection, &events).await?
        };
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let expected = format!("{} {}", keys.join(","), ids.join(","));
        assert_eq!(text(&mut connection, in_order).await?, Some(expected));
        let versions = "select count(*) from outbox.event where schema_version = '1' and key = '7'";
        assert_eq!(text(&mut connection, versions).await?.as_deref(), Some("1"));
        run(&mut connection, "truncate outbox.event").await?;
    }
    let none: [Event<'_, u8>; 0] = [];
    assert!(with_sqlx::emit_batch(&mut connection, &none).await?.is_empty());
    assert!(with_tokio::emit_batch(&client, &none).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn tokio_postgres_emits_the_event_as_built() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    let mut client = database.connect_tokio().await;
    let raw: Box<RawValue> = serde_json::from_str("{ \"total\": 1.50 }")?;
    let tx = client.transaction().await?;
    let id = with_tokio::emit(&tx, &Event::new("order.placed", &*raw).key("42").version("1").topic("t")).await?;
    with_tokio::emit(&tx, &Event::new("order.placed", "text").header("b", "2").header("a", "é")).await?;
    with_tokio::emit(&tx, &Event::tombstone("order.placed", "42")).await?;
    tx.commit().await?;
    let expected = "1|t|42|{ \"total\": 1.50 }\n2|\"text\"|{\"a\": \"é\", \"b\": \"2\"}\n2|42|tombstone";
    assert_eq!(text(&mut connection, EVENTS).await?.as_deref(), Some(expected));
    let first = text(&mut connection, "select id from outbox.event where topic = 't'").await?;
    assert_eq!(first, Some(id.to_string()));
    Ok(())
}

#[tokio::test]
async fn messages_leave_no_row() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    let client = database.connect_tokio().await;
    let slot = slot(&mut connection).await?;
    let event = Event::new("order.placed", "hello").key("42");
    let ids =
        [with_sqlx::emit_message(&mut connection, &event).await?, with_tokio::emit_message(&client, &event).await?];
    let sent = changes(&mut connection, &slot).await?;
    let messages: Vec<_> = sent.iter().filter(|change| change.first() == Some(&b'M')).collect();
    assert_eq!(messages.len(), 2);
    for (message, id) in messages.iter().zip(ids) {
        assert!(String::from_utf8_lossy(message).contains(&format!("\"id\":\"{id}\"")));
    }
    assert_eq!(text(&mut connection, "select count(*) from outbox.event").await?.as_deref(), Some("0"));
    sqlx::query("select pg_drop_replication_slot($1)").bind(&slot).execute(&mut connection).await?;
    Ok(())
}

fn assert_unknown<D: std::error::Error>(error: &EmitError<D>, wanted: Option<&str>) {
    let EmitError::UnknownSchema { name, version, source } = error else { panic!("not unknown: {error:?}") };
    assert_eq!((name.as_str(), version.as_deref()), ("nope", wanted), "{source}");
}

#[tokio::test]
async fn a_refused_event_has_a_specific_error() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    let client = database.connect_tokio().await;
    let fine = || Event::new("order.placed", &1);
    for version in [None, Some("3")] {
        let unknown = || version.map_or(Event::new("nope", &1), |version| Event::new("nope", &1).version(version));
        let batch = [fine(), unknown(), fine()];
        for event in [&batch[..], &batch[1..2]] {
            let error = with_sqlx::emit_batch(&mut connection, event).await.expect_err("one is unknown");
            assert_unknown(&error, version);
            let error = with_tokio::emit_batch(&client, event).await.expect_err("one is unknown");
            assert_unknown(&error, version);
        }
        assert_unknown(&with_sqlx::emit(&mut connection, &unknown()).await.expect_err("unknown"), version);
        assert_unknown(&with_sqlx::emit_message(&mut connection, &unknown()).await.expect_err("unknown"), version);
        assert_unknown(&with_tokio::emit(&client, &unknown()).await.expect_err("unknown"), version);
        assert_unknown(&with_tokio::emit_message(&client, &unknown()).await.expect_err("unknown"), version);
    }
    run(&mut connection, "update outbox.schema_version set status = 'retired' where version = '1'").await?;
    let error = with_sqlx::emit(&mut connection, &fine().version("1")).await.expect_err("retired");
    assert!(
        matches!(&error, EmitError::RetiredSchema { name, version, .. } if name == "order.placed" && version == "1")
    );
    run(&mut connection, "drop function outbox.emit(text, text, text, text, jsonb, text)").await?;
    let error = with_sqlx::emit(&mut connection, &fine()).await.expect_err("there is no such function");
    assert!(matches!(error, EmitError::Database(_)), "{error:?}");
    let map = std::collections::HashMap::from([((1, 2), 3)]);
    let error = with_sqlx::emit(&mut connection, &Event::new("order.placed", &map)).await.expect_err("no JSON key");
    assert!(matches!(error, EmitError::Serialize(_)), "{error:?}");
    assert_eq!(text(&mut connection, "select count(*) from outbox.event").await?.as_deref(), Some("0"));
    Ok(())
}
