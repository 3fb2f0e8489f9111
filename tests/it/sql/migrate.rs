//! Applying the migrations, and `walpost migrate`.

use std::sync::Arc;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use walpost::cli::migrate::{self, MigrateArgs, apply};
use walpost::migrations;

use super::database::{Database, run, text, unique};

/// Number of migrations.
fn all() -> usize {
    migrations::all().len()
}

#[tokio::test]
async fn a_second_migrate_applies_nothing() -> anyhow::Result<()> {
    let database = Database::empty().await?;
    let first = database.migrate().await?;
    let versions: Vec<i64> = first.iter().map(|applied| applied.version).collect();
    let all: Vec<i64> = migrations::all().map(|migration| migration.version).collect();
    assert_eq!(versions, all);
    assert_eq!(database.migrate().await?, []);
    Ok(())
}

#[tokio::test]
async fn everything_lives_in_schema_outbox() -> anyhow::Result<()> {
    let database = Database::empty().await?;
    let mut connection = database.connect().await?;
    let elsewhere = "select count(*) from (select relnamespace n from pg_class union all select pronamespace from pg_proc \
                     union all select typnamespace from pg_type) o join pg_namespace s on s.oid = o.n \
                     where s.nspname <> 'outbox' and s.nspname not like 'pg_toast%'";
    let before = text(&mut connection, elsewhere).await?;
    database.migrate().await?;
    assert_eq!(text(&mut connection, elsewhere).await?, before);
    let bookkeeping = "select count(*) from outbox._migrations where success";
    assert_eq!(text(&mut connection, bookkeeping).await?.as_deref(), Some(all().to_string().as_str()));
    Ok(())
}

#[tokio::test]
async fn concurrent_migrates_apply_each_migration_once() -> anyhow::Result<()> {
    let database = Database::empty().await?;
    let database = Arc::new(database);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let database = Arc::clone(&database);
        tasks.spawn(async move { database.migrate().await });
    }
    let mut counts = Vec::new();
    while let Some(applied) = tasks.join_next().await {
        counts.push(applied??.len());
    }
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 0, 0, 0, 0, 0, all()]);
    Ok(())
}

#[tokio::test]
async fn the_printed_sql_can_be_applied_twice_by_hand_and_then_migrated() -> anyhow::Result<()> {
    let database = Database::empty().await?;
    let mut connection = database.connect().await?;
    run(&mut connection, "create role walpost_sql_printed_writer").await.ok();
    let args = MigrateArgs {
        print: true,
        writer_role: Some("walpost_sql_printed_writer".to_owned()),
        ..MigrateArgs::default()
    };
    let mut printed = Vec::new();
    migrate::run(&args, None, &mut printed).await?;
    let printed = String::from_utf8(printed)?;
    run(&mut connection, &printed).await?;
    run(&mut connection, &printed).await?;
    // The second time, the emit_message of 0003, which does not sign, is created again: nobody sees it, even if 0013 fails.
    run(&mut connection, "alter table outbox.secret rename purpose to purpose_").await?;
    run(&mut connection, &printed).await.expect_err("0013 looks for a key of each purpose");
    run(&mut connection, "rollback; alter table outbox.secret rename purpose_ to purpose").await?;
    let signs = "select prosrc like '%\"proof\"%' from pg_proc \
                 where oid = 'outbox.emit_message(text, text, json, text, jsonb, text)'::regprocedure";
    assert_eq!(text(&mut connection, signs).await?.as_deref(), Some("true"));
    assert_eq!(database.migrate().await?.len(), all());
    let checks = "select string_agg(conname, ',') from pg_constraint where conrelid = 'outbox.event'::regclass and contype = 'c'";
    assert_eq!(text(&mut connection, checks).await?.as_deref(), Some("headers_to_1_mb_payload_to_64_mb_names_to_1_mb"));
    let allowed = "select has_function_privilege('walpost_sql_printed_writer', \
                   'outbox.emit(text, text, json, text, jsonb, text)', 'execute')";
    assert_eq!(text(&mut connection, allowed).await?.as_deref(), Some("true"));
    // Roles are shared by the whole server: nothing may depend on it.
    run(&mut connection, "drop owned by walpost_sql_printed_writer; drop role walpost_sql_printed_writer").await?;
    Ok(())
}

#[tokio::test]
async fn a_migration_blocked_by_a_long_transaction_does_not_block_writers_and_is_applied_after_it() -> anyhow::Result<()>
{
    let database = Arc::new(Database::empty().await?);
    let (mut long, mut writer) = (database.connect().await?, database.connect().await?);
    of_sqlx().run_to(12, &mut writer).await?;
    run(&mut writer, "select outbox.register_schema_version('order.placed', '1', 'orders')").await?;
    // A day without a partition: 0014 changes the default partition.
    let insert =
        "insert into outbox.event (schema_name, schema_version, created_at) values ('order.placed', '1', '2020-01-01')";
    run(&mut long, &format!("begin; {insert}")).await?;
    let migrating = tokio::spawn({
        let database = Arc::clone(&database);
        async move { database.migrate().await }
    });
    let waits =
        "select exists (select from pg_locks where relation = 'outbox.event_default'::regclass and not granted)";
    while text(&mut writer, waits).await?.as_deref() != Some("true") {
        assert!(!migrating.is_finished(), "the migration waits for the long transaction");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // Queued behind the one that waits, until that gives up.
    run(&mut writer, insert).await?;
    assert!(!migrating.is_finished());
    run(&mut long, "commit").await?;
    assert_eq!(migrating.await??.len(), 6, "0013 to 0018");
    // Missing in the first days' partitions until then.
    let lacking = "select count(*)::text from pg_inherits i join pg_class c on c.oid = i.inhrelid \
                   where i.inhparent = 'outbox.event'::regclass and c.relreplident <> 'f'";
    assert_eq!(text(&mut writer, lacking).await?.as_deref(), Some("0"));

    // A transaction that began before the migration can still write a message.
    run(&mut long, "begin").await?;
    run(&mut writer, "truncate outbox.secret; select outbox.add_secret('message')").await?;
    run(&mut long, "select outbox.emit_message('order.placed', 'k', '1'::json); commit").await?;
    Ok(())
}

#[tokio::test]
async fn case_40_unsigned_messages_count_if_the_slot_predates_the_relays_state() -> anyhow::Result<()> {
    let bound = "select coalesce(accepted_before::text, 'not settled') || ' ' \
                 || coalesce(outbox.settle_unsigned_messages('no relay')::text, 'not settled') from outbox.unsigned_message";
    for (slot, expected) in [(None, "0/0 0/0"), (Some(unique("by_hand")), "not settled not settled")] {
        let database = Database::empty().await?;
        let mut connection = database.connect().await?;
        if let Some(slot) = &slot {
            run(&mut connection, &format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await?;
        }
        database.migrate().await?;
        assert_eq!(text(&mut connection, bound).await?.as_deref(), Some(expected));
        if let Some(slot) = &slot {
            run(&mut connection, &format!("select pg_drop_replication_slot('{slot}')")).await?;
        }
    }
    Ok(())
}

/// From before contracts had `onViolation`.
#[tokio::test]
async fn registrations_and_grants_survive_the_on_violation_migration() -> anyhow::Result<()> {
    let database = Database::empty().await?;
    let mut connection = database.connect().await?;
    let role = unique("walpost_registers");
    run(&mut connection, &format!("create role {role}; create schema outbox")).await?;
    for migration in migrations::all().filter(|migration| migration.version < 6) {
        run(&mut connection, migration.sql).await?;
    }
    run(&mut connection, &format!("grant execute on function outbox.register_schema_version to {role}")).await?;
    let register =
        "select outbox.register_schema_version('order.placed', '1', 'orders', schema => '{\"type\": \"object\"}')";
    let digest = "select digest from outbox.schema_version where version = '1'";
    run(&mut connection, register).await?;
    let before = text(&mut connection, digest).await?;
    database.migrate().await?;
    assert_eq!(text(&mut connection, digest).await?, before);
    assert_eq!(text(&mut connection, register).await?.as_deref(), Some("false"), "it is the same definition");
    let same = register.replace("'order.placed', '1'", "'order.placed', '2'");
    run(&mut connection, &same).await?;
    let halting = same
        .replace("'2'", "'3'")
        .replace("'{", "on_violation => 'halt', schema => '{")
        .replace(", schema => on", ", on");
    run(&mut connection, &halting).await?;
    let digests = "select count(distinct digest) || ' ' || count(*) from outbox.schema_version";
    assert_eq!(text(&mut connection, digests).await?.as_deref(), Some("3 3"));
    let allowed = "select string_agg(grantee::regrole::text, ',') from pg_proc, aclexplode(proacl) \
                   where proname = 'register_schema_version' and grantee <> proowner";
    assert_eq!(text(&mut connection, allowed).await?, Some(role.clone()));
    run(&mut connection, &format!("drop owned by {role}; drop role {role}")).await?;
    Ok(())
}

#[tokio::test]
async fn migrate_reports_what_it_did_and_what_a_role_lacks() -> anyhow::Result<()> {
    let database = Database::empty().await?;
    let mut connection = database.connect().await?;
    let relay = unique("Relay \"of\" orders; select");
    let quoted = relay.replace('"', "\"\"");
    run(&mut connection, &format!("create role \"{quoted}\" login")).await?;
    let args = MigrateArgs { relay_role: Some(relay.clone()), json: true, ..MigrateArgs::default() };
    let report = |out: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&out);

    let mut out = Vec::new();
    apply(&args, database.own_options(), &mut out).await?;
    let first = report(out)?;
    assert_eq!(first["applied"].as_array().map(Vec::len), Some(all()), "{first}");
    assert_eq!(first["relay_role"], relay);
    let warning = first["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("lacks REPLICATION"), "{warning}");

    // The advice is a valid statement.
    let fix = warning.split_once("to add it: ").map(|(_, fix)| fix).unwrap_or_default();
    run(&mut connection, fix).await?;
    let mut out = Vec::new();
    apply(&args, database.own_options(), &mut out).await?;
    let second = report(out)?;
    assert_eq!((&second["applied"], &second["warnings"]), (&serde_json::json!([]), &serde_json::json!([])));
    run(&mut connection, &format!("drop owned by \"{quoted}\"; drop role \"{quoted}\"")).await?;
    Ok(())
}

#[tokio::test]
async fn a_missing_role_is_named_with_the_fix() -> anyhow::Result<()> {
    let database = Database::empty().await?;
    let args = MigrateArgs { writer_role: Some("No Such Role".to_owned()), ..MigrateArgs::default() };
    let error = match apply(&args, database.own_options(), &mut Vec::new()).await {
        Ok(()) => anyhow::bail!("privileges were granted to a role that does not exist"),
        Err(error) => error.report(),
    };
    assert!(error.contains("run `create role \"No Such Role\" login`"), "{error}");
    Ok(())
}

/// The migrator that walpost used in earlier versions.
pub(super) fn of_sqlx() -> Migrator {
    let migrations = migrations::all().map(|migration| {
        let (description, sql) = (migration.description.into(), migration.sql.into_sql_str());
        Migration::new(migration.version, description, MigrationType::Simple, sql, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.create_schema("outbox");
    migrator.dangerous_set_table_name("outbox._migrations");
    migrator
}

#[tokio::test]
async fn migrations_continue_where_sqlx_left_off_and_vice_versa() -> anyhow::Result<()> {
    let database = Database::empty().await?;
    let mut connection = database.connect().await?;
    of_sqlx().run_to(3, &mut connection).await?;
    assert_eq!(database.migrate().await?.len(), all() - 3);
    of_sqlx().run(&mut connection).await?;
    assert_eq!(database.migrate().await?, []);
    Ok(())
}

#[tokio::test]
async fn changed_unknown_and_unfinished_migrations_are_refused_and_a_failed_one_leaves_nothing() -> anyhow::Result<()> {
    let database = Database::empty().await?;
    let mut connection = database.connect().await?;
    let refused = async || database.migrate().await.expect_err("it is refused").to_string();
    // An object of 0002 already exists.
    run(&mut connection, "create schema outbox; create table outbox.event ()").await?;
    assert_eq!(refused().await, "migration 0002 failed, and nothing was applied");
    assert_eq!(text(&mut connection, "select to_regclass('outbox.schema_version')").await?, None);
    run(&mut connection, "drop schema outbox cascade").await?;
    database.migrate().await?;
    for (damage, message) in [
        (
            "update outbox._migrations set checksum = '\\x00' where version = 2",
            "migration 0002 was applied with different SQL",
        ),
        ("update outbox._migrations set success = false where version = 2", "marks migration 0002 as failed"),
        (
            "update outbox._migrations set version = 9999 where version = 2",
            "migration 9999, which this walpost does not know",
        ),
    ] {
        run(&mut connection, damage).await?;
        let error = refused().await;
        assert!(error.contains(message), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_role_that_may_not_create_or_change_the_schema_is_named() -> anyhow::Result<()> {
    let database = Database::empty().await?;
    let role = unique("service");
    let mut connection = database.connect().await?;
    run(&mut connection, &format!("create role \"{role}\" login")).await?;
    let refused = async || {
        let become_it = format!("set role \"{role}\"");
        let migrated = database.with_own_client(move |connection| {
            connection.simple_query(&become_it)?;
            migrations::migrate(connection)
        });
        migrated.await.expect_err("it may not").to_string()
    };
    let without_schema = refused().await;
    run(&mut connection, "create schema outbox").await?;
    let with_schema = refused().await;
    run(&mut connection, &format!("drop role \"{role}\"")).await?;
    let expected = format!("role {role} may not create schema outbox in database ");
    assert!(without_schema.starts_with(&expected), "{without_schema}");
    assert!(without_schema.ends_with("pass the owner's URL with --database-url"), "{without_schema}");
    assert!(with_schema.starts_with("schema outbox belongs to role "), "{with_schema}");
    assert!(with_schema.contains(&format!(", and role {role} may not change it: ")), "{with_schema}");
    Ok(())
}
