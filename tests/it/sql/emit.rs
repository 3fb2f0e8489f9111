//! `outbox.emit`, `outbox.emit_message`, plain INSERT and COPY.

use anyhow::{Context, ensure};
use sqlx::PgConnection;
use sqlx::postgres::PgPoolCopyExt;

use super::database::{Database, changes, refusal, run, slot, text};

/// The only event in the table, as a composite of the columns that a caller sets.
async fn only_event(connection: &mut PgConnection) -> anyhow::Result<String> {
    let event = "select (schema_name, schema_version, topic, key, payload::text, headers) from outbox.event";
    let row = text(connection, event).await?.context("a row")?;
    run(connection, "truncate outbox.event").await?;
    Ok(row)
}

#[tokio::test]
async fn every_overload_of_emit_writes_the_event() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    let calls = [
        (r#"'order.placed', '42', '{"b":1.50,  "a":1}'"#, r#"(order.placed,2,,42,"{""b"":1.50,  ""a"":1}",)"#),
        (r#"'order.placed', '42', '{"a":  1}'::text"#, r#"(order.placed,2,,42,"{""a"":  1}",)"#),
        (r#"'order.placed', '42'::varchar, '"x"'::varchar"#, r#"(order.placed,2,,42,"""x""",)"#),
        (r#"'order.placed', '42', '{"a":  1}'::json"#, r#"(order.placed,2,,42,"{""a"":  1}",)"#),
        (r#"'order.placed', '42', '{"a":  1}'::jsonb"#, r#"(order.placed,2,,42,"{""a"": 1}",)"#),
        ("'order.placed', '42', json_build_object('a', 1)", r#"(order.placed,2,,42,"{""a"" : 1}",)"#),
        ("'order.placed', '42', jsonb_build_object('a', 1)", r#"(order.placed,2,,42,"{""a"": 1}",)"#),
        ("'order.placed', '42', null", "(order.placed,2,,42,,)"),
        ("'order.placed', '42', 'null'", "(order.placed,2,,42,null,)"),
        ("'order.placed', null, '1'", "(order.placed,2,,,1,)"),
        ("'order.placed', '', '1'", r#"(order.placed,2,,"",1,)"#),
        ("'order.placed', '42', '1', '1'", "(order.placed,1,,42,1,)"),
        (
            "schema_name => 'order.placed', key => '42', payload => '1', version => '1', topic => 'elsewhere',
             headers => '{\"t\": \"00-1\"}'",
            r#"(order.placed,1,elsewhere,42,1,"{""t"": ""00-1""}")"#,
        ),
    ];
    for (arguments, row) in calls {
        let id = text(&mut connection, &format!("select outbox.emit({arguments})")).await?;
        assert_eq!(text(&mut connection, "select id from outbox.event").await?, id, "{arguments}");
        assert_eq!(only_event(&mut connection).await?, row, "{arguments}");
    }
    Ok(())
}

#[tokio::test]
async fn a_refused_event_is_named_and_fails_the_transaction() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    run(
        &mut connection,
        "create table business (id int);
         select outbox.register_schema_version('old', v, 't') from unnest(array['1', '2']) v;
         update outbox.schema_version set status = 'retired' where name = 'old' and version = '1';
         update outbox.schema_version set status = 'deprecated' where name = 'old' and version = '2'",
    )
    .await?;
    let refused = [
        ("'nope', '1', '{}'", "WP001", "schema nope is not registered"),
        ("'nope', '1', '{}', version => '7'", "WP001", "schema nope is not registered (version 7)"),
        ("'order.placed', '1', '{}', version => '7'", "WP001", "schema version order.placed/7 is not registered"),
        ("null, '1', '{}'", "WP001", "an event needs the name of its schema"),
        ("'old', '1', '{}'", "WP001", "schema old has no active version"),
        ("'old', '1', '{}', version => '1'", "WP002", "schema version old/1 is retired"),
        ("'order.placed', '1', '{}', headers => '[1]'", "22023", "headers of an event are a JSON object, not array"),
        ("'order.placed', '1', '{}', headers => 'null'", "22023", "headers of an event are a JSON object, not null"),
        ("'order.placed', '1', '{\"a\":'", "22P02", "invalid input syntax for type json"),
    ];
    for function in ["emit", "emit_message"] {
        for (arguments, code, message) in refused {
            run(&mut connection, "begin; insert into business values (1)").await?;
            let refusal = refusal(&mut connection, &format!("select outbox.{function}({arguments})")).await?;
            assert_eq!((refusal.0.as_str(), refusal.1.as_str()), (code, message), "{arguments}");
            run(&mut connection, "commit").await?;
        }
    }
    // A deprecated version can be emitted by naming it.
    run(&mut connection, "select outbox.emit('old', '1', '{}', version => '2')").await?;
    assert_eq!(only_event(&mut connection).await?, "(old,2,,1,{},)");
    assert_eq!(text(&mut connection, "select count(*) from business").await?.as_deref(), Some("0"));
    Ok(())
}

/// `outbox.emittable_version` is a copy: whatever it has, an emit must behave according to the table.
#[tokio::test]
async fn registrations_are_visible_to_sessions_that_have_already_emitted() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let (mut service, mut owner) = (database.connect().await?, database.connect().await?);
    let emit = "select outbox.emit('order.placed', 'k', '1')";
    let version = "select schema_version from outbox.event order by ctid desc limit 1";
    // More than enough for a cached plan.
    for _ in 0..12 {
        sqlx::query(emit).execute(&mut service).await?;
    }
    assert_eq!(text(&mut service, version).await?.as_deref(), Some("2"));
    run(&mut owner, "begin; select outbox.register_schema_version('order.placed', '3', 'orders')").await?;
    sqlx::query(emit).execute(&mut service).await?;
    assert_eq!(text(&mut service, version).await?.as_deref(), Some("2"), "not committed yet");
    run(&mut owner, "commit").await?;
    sqlx::query(emit).execute(&mut service).await?;
    assert_eq!(text(&mut service, version).await?.as_deref(), Some("3"));
    run(
        &mut owner,
        "begin; select outbox.register_schema_version('gone', '1', 't'); select outbox.emit('gone', 'k', '1'); rollback",
    )
    .await?;
    assert_eq!(refusal(&mut owner, "select outbox.emit('gone', 'k', '1')").await?.0, "WP001");
    run(&mut owner, "update outbox.schema_version set status = 'retired'").await?;
    for version in ["null", "'1'", "'2'", "'3'"] {
        let call = format!("select outbox.emit('order.placed', 'k', '1', {version})");
        let code = if version == "null" { "WP001" } else { "WP002" };
        assert_eq!(refusal(&mut service, &call).await?.0, code, "{version}");
    }
    Ok(())
}

#[tokio::test]
async fn more_schemas_than_the_cache_holds_and_names_with_any_characters() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    run(
        &mut connection,
        r#"select outbox.register_schema_version(format('s%s', n), v, 't')
           from generate_series(1, 250) n, unnest(array['1', '2']) v;
           update outbox.schema_version set status = 'retired' where name = 's1' and version = '2';
           select outbox.register_schema_version(n, v, 't')
           from unnest(array['it''s', 'a\\b', '$$', '%L', '"x"', '[1]', 'é', ' ']) n, unnest(array['1''', '\', '%']) v;
           create function outbox.version_of_an_emit(name text, version text) returns text language plpgsql as $$
           declare event_id uuid := outbox.emit(name, 'k', '1'::json, version); begin
               return (select e.schema_version from outbox.event e where e.id = event_id);
           end $$"#,
    )
    .await?;
    let wrong = "select count(*) from outbox.schema_version s where s.status <> 'retired' \
                 and (outbox.version_of_an_emit(s.name, s.version) is distinct from s.version \
                 or outbox.version_of_an_emit(s.name, null) is distinct from (select l.version from outbox.schema_version l \
                    where l.name = s.name and l.status = 'active' order by l.ordinal desc limit 1))";
    assert_eq!(text(&mut connection, wrong).await?.as_deref(), Some("0"));
    // The oldest are not in the copy: otherwise this would not test the fallback.
    let held = "select outbox.emittable_version('s1', v) from unnest(array[null, '1']) v where \
                outbox.emittable_version('s1', v) is not null";
    assert_eq!(text(&mut connection, &format!("select count(*) from ({held}) h")).await?.as_deref(), Some("0"));
    assert_eq!(text(&mut connection, "select outbox.emittable_version('%L', '%')").await?.as_deref(), Some("%"));
    assert_eq!(refusal(&mut connection, "select outbox.emit('s1', 'k', '1', '2')").await?.0, "WP002");
    Ok(())
}

#[tokio::test]
async fn an_event_that_is_rolled_back_is_gone() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    run(
        &mut connection,
        "begin; select outbox.emit('order.placed', '1', '1'); savepoint s; select outbox.emit('order.placed', '2', '2');
         rollback to savepoint s; select outbox.emit('order.placed', '3', '3'); commit;
         begin; select outbox.emit('order.placed', '4', '4'); rollback",
    )
    .await?;
    let keys =
        "select string_agg(key, ',' order by key) from outbox.event where created_at is not null and id is not null";
    assert_eq!(text(&mut connection, keys).await?.as_deref(), Some("1,3"));
    Ok(())
}

/// Functions run with their owner's privileges: they must not resolve names in a schema that the caller chooses.
#[tokio::test]
async fn a_hostile_search_path_changes_nothing() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    run(
        &mut connection,
        "create schema evil;
         create function evil.trap() returns boolean language plpgsql as $$ begin raise exception 'trapped'; end $$;
         create function evil.texts(text, text) returns boolean language sql as 'select evil.trap()';
         create operator evil.= (leftarg = text, rightarg = text, function = evil.texts);
         create operator evil.<> (leftarg = text, rightarg = text, function = evil.texts);
         create function evil.now() returns timestamptz language sql as $$ select evil.trap(); select '-infinity'::timestamptz $$;
         create function evil.gen_random_uuid() returns uuid language sql as $$ select evil.trap(); select null::uuid $$;
         create function evil.jsonb_typeof(jsonb) returns text language sql as $$ select evil.trap(); select 'array' $$;
         create function evil.to_json(text) returns json language sql as $$ select evil.trap(); select '1'::json $$;
         create function evil.to_json(timestamptz) returns json language sql as $$ select evil.trap(); select '1'::json $$;
         create function evil.convert_to(text, name) returns bytea language sql as $$ select evil.trap(); select ''::bytea $$;
         create domain evil.text as pg_catalog.text check (evil.trap());
         create domain evil.json as pg_catalog.json check (evil.trap());
         create domain evil.jsonb as pg_catalog.jsonb check (evil.trap());
         create domain evil.uuid as pg_catalog.uuid check (evil.trap());
         set search_path = evil, pg_catalog",
    )
    .await?;
    assert!(refusal(&mut connection, "select now()").await?.1.contains("trapped"), "the trap does not work");
    for version in ["null", "'1'", "'2'"] {
        for kind in ["json", "jsonb", "text"] {
            for function in ["emit", "emit_message"] {
                let call = format!(
                    "select outbox.{function}('order.placed', 'k', '1'::pg_catalog.{kind}, {version}, '{{}}'::pg_catalog.jsonb)"
                );
                run(&mut connection, &call).await.with_context(|| call.clone())?;
            }
        }
    }
    run(&mut connection, "insert into outbox.event (schema_name, schema_version) values ('order.placed', '1')").await?;
    assert!(
        refusal(&mut connection, "select outbox.emit('nope', 'k', '1'::pg_catalog.json)").await?.1.contains("nope")
    );
    Ok(())
}

#[tokio::test]
async fn plain_insert_and_copy_are_accepted_unchecked() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    run(
        &mut connection,
        "insert into outbox.event (schema_name, schema_version, key, payload) values ('nope', '1', 'a', '{}')",
    )
    .await?;
    let pool = sqlx::PgPool::connect_with(database.options()).await?;
    let mut copy = pool
        .copy_in_raw(
            "copy outbox.event (schema_name, schema_version, key, payload, headers) from stdin with (format csv)",
        )
        .await?;
    copy.send(&b"order.placed,1,b,\"{\"\"n\"\": 1.0}\",\norder.placed,1,,,\"{\"\"h\"\": \"\"1\"\"}\"\n"[..]).await?;
    assert_eq!(copy.finish().await?, 2);
    pool.close().await;
    let complete = "select count(*) from outbox.event where id is not null and created_at <= now()";
    assert_eq!(text(&mut connection, complete).await?.as_deref(), Some("3"));
    let ids = "select count(distinct id) from outbox.event";
    assert_eq!(text(&mut connection, ids).await?.as_deref(), Some("3"));
    Ok(())
}

/// The content of a logical message in pgoutput
/// (<https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>): `M`, flags, LSN, prefix, length, content.
fn message(change: &[u8]) -> anyhow::Result<Option<(u8, &[u8])>> {
    let Some((b'M', rest)) = change.split_first() else { return Ok(None) };
    let (flags, rest) = (rest[0], &rest[9..]);
    let content = rest.strip_prefix(b"outbox\0").context("prefix outbox")?;
    let (length, content) = content.split_first_chunk().context("a length")?;
    ensure!(usize::try_from(i32::from_be_bytes(*length))? == content.len(), "the length is that of the content");
    Ok(Some((flags, content)))
}

#[tokio::test]
async fn a_message_is_one_json_object_with_the_payload_as_written() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    let slot = slot(&mut connection).await?;
    let payloads = [
        ("'{ \"b\":1.50,\n \"a\":\"é\" }'", Some("{ \"b\":1.50,\n \"a\":\"é\" }")),
        ("null", None),
        ("'null'", Some("null")),
        ("'\"\"'", Some("\"\"")),
    ];
    let mut ids = Vec::new();
    for (payload, _) in payloads {
        let call = format!(
            r#"select outbox.emit_message('order.placed', 'quote " and é', {payload}, headers => '{{"t": "1"}}', version => '1')"#
        );
        ids.push(text(&mut connection, &call).await?.context("an id")?);
    }
    run(&mut connection, "begin; select outbox.emit_message('order.placed', null, '1'); rollback").await?;
    let id = text(&mut connection, "select outbox.emit_message('order.placed', null, '1', topic => 'x')").await?;

    let changes = changes(&mut connection, &slot).await?;
    let mut messages = Vec::new();
    for change in &changes {
        messages.extend(message(change)?);
    }
    assert_eq!(messages.len(), payloads.len() + 1, "a message that was rolled back is not sent");
    for ((flags, content), ((_, payload), id)) in messages.iter().zip(payloads.iter().zip(&ids)) {
        assert_eq!(*flags, 1, "it is transactional");
        let head = format!(
            r#"{{"id":"{id}","schema_name":"order.placed","schema_version":"1","topic":null,"key":"quote \" and é""#
        );
        let payload = payload.map(|payload| format!(r#","payload":{payload}"#)).unwrap_or_default();
        let start = format!(r#"{head}{payload},"headers":{{"t": "1"}},"created_at":""#);
        let content = std::str::from_utf8(content)?;
        assert!(content.starts_with(&start), "{content}\nis not\n{start}");
        let parsed: serde_json::Value = serde_json::from_str(content)?;
        assert!(parsed["created_at"].as_str().is_some_and(|at| at.contains('T')), "{content}");
    }
    let last: serde_json::Value = serde_json::from_slice(messages[payloads.len()].1)?;
    let expected = serde_json::json!({
        "id": id, "schema_name": "order.placed", "schema_version": "2", "topic": "x", "key": null, "payload": 1,
        "headers": null, "created_at": last["created_at"], "proof": last["proof"],
    });
    assert_eq!(last, expected);
    sqlx::query("select pg_drop_replication_slot($1)").bind(&slot).execute(&mut connection).await?;
    Ok(())
}
