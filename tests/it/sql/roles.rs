//! What the roles of `walpost migrate` may and may not do.

use walpost::migrations::{Roles, grant};

use super::database::{Database, refusal, run, unique};

/// SQLSTATE insufficient_privilege.
const DENIED: &str = "42501";

/// A database with a writer and a relay role with unusual names, the names, and the SQL that removes the roles.
async fn with_roles() -> anyhow::Result<(Database, String, String)> {
    let database = Database::migrated().await?;
    let (writer, relay) = (unique("Order Service"), unique("select"));
    let mut connection = database.connect().await?;
    run(&mut connection, &format!("create role \"{writer}\" login; create role \"{relay}\" login replication")).await?;
    let roles = Roles { writer: Some(writer.clone()), relay: Some(relay.clone()) };
    for _ in 0..2 {
        let roles = roles.clone();
        assert_eq!(database.with_own_client(move |connection| grant(connection, &roles)).await?, []);
    }
    Ok((database, writer, relay))
}

async fn remove(database: &Database, roles: [&str; 2]) -> anyhow::Result<()> {
    let mut connection = database.connect().await?;
    for role in roles {
        run(&mut connection, &format!("drop owned by \"{role}\"; drop role \"{role}\"")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_writer_can_emit_and_read_ids_and_times_only() -> anyhow::Result<()> {
    let (database, writer, relay) = with_roles().await?;
    let mut connection = database.connect_as(&writer).await?;
    for allowed in [
        "select outbox.emit('order.placed', '1', '{}')",
        "select outbox.emit('order.placed', '1', '{}'::json, version => '1')",
        "select outbox.emit('order.placed', '1', '{}'::jsonb)",
        "select outbox.emit_message('order.placed', '1', '{}')",
        "select outbox.emit_message('order.placed', '1', '{}'::json)",
        "select outbox.emit_message('order.placed', '1', '{}'::jsonb)",
        "select outbox.emit_bytes('order.placed', '1', null)",
        "insert into outbox.event (schema_name, schema_version, key, payload) values ('order.placed', '1', 'k', '{}')",
        // As ORMs do.
        "insert into outbox.event (schema_name, schema_version, key, payload) values ('order.placed', '1', 'k', '{}') \
         returning id, created_at",
    ] {
        run(&mut connection, allowed).await.map_err(|error| anyhow::anyhow!("{allowed}: {error}"))?;
    }
    for denied in [
        "select key from outbox.event",
        "select payload from outbox.event",
        "select payload_bytes from outbox.event",
        "select * from outbox.event",
        "select from outbox.event_default",
        "select from outbox.schema_version",
        "select outbox.emittable_version('order.placed', null)",
        "select from outbox.relay",
        "select from outbox._migrations",
        "select from outbox.secret",
        "select from outbox.unsigned_message",
        "select from outbox.lease",
        "select from outbox.mutex for update",
        "select outbox.add_secret('message')",
        "select outbox.lock_registration()",
        "insert into outbox.event (schema_name, schema_version) values ('order.placed', '1') returning key",
        "insert into outbox.event_default (schema_name, schema_version) values ('order.placed', '1')",
        "update outbox.event set key = 'x'",
        "delete from outbox.event",
        "truncate outbox.event",
        "insert into outbox.schema_version (name, version) values ('x', '1')",
        "select outbox.register_schema_version('x', '1', 'x')",
        "select outbox.maintain()",
        "select outbox.drop_partitions(now())",
        "select outbox.refuse_event('x', null, null)",
        "create table outbox.mine ()",
    ] {
        assert_eq!(refusal(&mut connection, denied).await?.0, DENIED, "{denied}");
    }
    // The error names the schema, even to a role that can't read it.
    assert_eq!(refusal(&mut connection, "select outbox.emit('nope', '1', '{}')").await?.0, "WP001");
    remove(&database, [&writer, &relay]).await
}

#[tokio::test]
async fn the_relay_has_what_it_needs_and_no_more() -> anyhow::Result<()> {
    let (database, writer, relay) = with_roles().await?;
    let mut connection = database.connect_as(&relay).await?;
    for allowed in [
        "select * from outbox.event",
        "select * from outbox.schema_version",
        "insert into outbox.relay (slot, system_identifier, backfill) values ('walpost', '1', 'pending')",
        "update outbox.relay set backfill = 'done', position = '0/16B3748', updated_at = now() where slot = 'walpost'",
        "select * from outbox.relay",
        // The queries of walpost doctor.
        "select version, success, checksum from outbox._migrations",
        "select * from outbox.maintain()",
        "select * from outbox.maintain(retention => interval '30 days', ahead => 2)",
    ] {
        run(&mut connection, allowed).await.map_err(|error| anyhow::anyhow!("{allowed}: {error}"))?;
    }
    for denied in [
        "select outbox.emit('order.placed', '1', '{}')",
        "insert into outbox.event (schema_name, schema_version) values ('order.placed', '1')",
        "delete from outbox.event",
        "truncate outbox.event",
        "update outbox.schema_version set status = 'retired'",
        "select outbox.register_schema_version('x', '1', 'x')",
        "select outbox.drop_partitions(now())",
        "delete from outbox.relay",
        "select description from outbox._migrations",
        "delete from outbox._migrations",
        "create table outbox.mine ()",
        "drop publication outbox",
    ] {
        assert_eq!(refusal(&mut connection, denied).await?.0, DENIED, "{denied}");
    }
    remove(&database, [&writer, &relay]).await
}

#[tokio::test]
async fn a_role_without_grants_can_do_nothing() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let role = unique("stranger");
    let mut connection = database.connect().await?;
    // Even with usage on the schema it can call none of its functions except the table's check, which every insert must call.
    run(&mut connection, &format!("create role {role}; grant usage on schema outbox to {role}")).await?;
    let functions = format!(
        "select p.oid::regprocedure::text from pg_proc p \
         where pronamespace = 'outbox'::regnamespace and p.proname <> 'can_be_sent' and has_function_privilege('{role}', p.oid, 'execute')"
    );
    let open: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(functions)).fetch_all(&mut connection).await?;
    assert_eq!(open, Vec::<String>::new());
    run(&mut connection, &format!("drop owned by {role}; drop role {role}")).await?;
    Ok(())
}
