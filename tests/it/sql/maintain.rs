//! `outbox.maintain` creates partitions ahead, drops old ones, and does not disturb business transactions.

use sqlx::PgConnection;

use super::database::{Database, changes, refusal, run, slot, text};

/// An event `days` days from now.
fn insert(days: i32) -> String {
    format!(
        "insert into outbox.event (schema_name, schema_version, key, created_at)
         values ('order.placed', '1', 'k', now() + {days} * interval '1 day')"
    )
}

/// Creates the partition of the day `days` days from now, which maintain does not create.
fn partition(days: i32) -> String {
    format!(
        "do $$ declare day timestamptz := (date_trunc('day', now() at time zone 'UTC') + {days} * interval '1 day') at time zone 'UTC';
         begin
             execute format('create table outbox.old_%s partition of outbox.event for values from (%L) to (%L)',
                 {}, day, day + interval '1 day');
         end $$",
        days.unsigned_abs()
    )
}

async fn maintain(connection: &mut PgConnection, arguments: &str) -> anyhow::Result<Vec<(String, String, String)>> {
    let sql = format!("select action, partition, detail from outbox.maintain({arguments})");
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(connection).await?)
}

/// Only the actions and their objects.
async fn done(connection: &mut PgConnection, arguments: &str) -> anyhow::Result<Vec<String>> {
    let rows = maintain(connection, arguments).await?;
    Ok(rows.into_iter().map(|(action, partition, _)| format!("{action} {partition}")).collect())
}

async fn count(connection: &mut PgConnection, table: &str) -> anyhow::Result<Option<String>> {
    text(connection, &format!("select count(*) from outbox.{table}")).await
}

#[tokio::test]
async fn a_partition_is_created_for_each_day_ahead() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    assert_eq!(done(&mut connection, "").await?, Vec::<String>::new(), "the migration has created a week of them");
    // Whatever the caller's settings, days are UTC days.
    run(
        &mut connection,
        "set timezone = 'Pacific/Kiritimati'; set datestyle = 'German, DMY'; set standard_conforming_strings = off",
    )
    .await?;
    let day = "select to_char((now() at time zone 'UTC') + interval '9 days', '\"event_\"YYYYMMDD')";
    let last = text(&mut connection, day).await?.unwrap_or_default();
    let made = done(&mut connection, "ahead => 9").await?;
    assert_eq!((made.len(), made.last()), (2, Some(&format!("created {last}"))));
    assert_eq!(done(&mut connection, "ahead => 9").await?, Vec::<String>::new());
    for days in 0..=9 {
        run(&mut connection, &insert(days)).await?;
    }
    assert_eq!(count(&mut connection, "event_default").await?.as_deref(), Some("0"));
    assert_eq!(count(&mut connection, &last).await?.as_deref(), Some("1"));
    for wrong in ["interval '-1 day'", "ahead => -1", "ahead => 367"] {
        let (code, _) = refusal(&mut connection, &format!("select outbox.maintain({wrong})")).await?;
        assert_eq!(code, "22023", "{wrong}");
    }
    Ok(())
}

#[tokio::test]
async fn events_are_accepted_on_a_day_without_a_partition() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    let tables: Vec<String> =
        sqlx::query_scalar("select name from outbox.event_partitions()").fetch_all(&mut connection).await?;
    run(&mut connection, &format!("drop table outbox.{}", tables.join(", outbox."))).await?;
    run(&mut connection, "select outbox.emit('order.placed', 'k', '1')").await?;
    assert_eq!(count(&mut connection, "event_default").await?.as_deref(), Some("1"));

    // Today's partition can't be created any more, and no rows are moved, because that would publish them again.
    let slot = slot(&mut connection).await?;
    let rows = maintain(&mut connection, "ahead => 1").await?;
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!((rows[0].0.as_str(), rows[1].0.as_str()), ("skipped", "created"));
    assert!(rows[0].2.contains("in the default partition already"), "{rows:?}");
    run(&mut connection, "select outbox.emit('order.placed', 'k', '2')").await?;
    assert_eq!(count(&mut connection, "event_default").await?.as_deref(), Some("2"));
    let inserts = changes(&mut connection, &slot).await?.iter().filter(|change| change[0] == b'I').count();
    assert_eq!(inserts, 1, "only the second emit");
    sqlx::query("select pg_drop_replication_slot($1)").bind(&slot).execute(&mut connection).await?;
    Ok(())
}

#[tokio::test]
async fn old_partitions_and_rows_are_removed_and_the_removal_is_not_published() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    for days in [-10, -9, -2] {
        run(&mut connection, &partition(days)).await?;
    }
    // -20 and -3 have no partition.
    for days in [-20, -10, -9, -3, -2, 0] {
        run(&mut connection, &insert(days)).await?;
    }
    let slot = slot(&mut connection).await?;
    assert_eq!(done(&mut connection, "retention => null").await?, Vec::<String>::new());
    assert_eq!(count(&mut connection, "event").await?.as_deref(), Some("6"));
    // A row within the retention is kept, and so is a partition that may have one.
    assert_eq!(done(&mut connection, "interval '9 days'").await?, ["deleted event_default", "dropped old_10"]);
    assert_eq!(count(&mut connection, "event").await?.as_deref(), Some("4"));
    assert_eq!(done(&mut connection, "").await?, ["dropped old_9"]);
    assert_eq!(done(&mut connection, "interval '1 hour'").await?, ["deleted event_default", "dropped old_2"]);
    assert_eq!(count(&mut connection, "event").await?.as_deref(), Some("1"));
    let published = changes(&mut connection, &slot).await?;
    assert!(published.iter().all(|change| matches!(change[0], b'B' | b'C')), "no row, no delete, no truncate");
    sqlx::query("select pg_drop_replication_slot($1)").bind(&slot).execute(&mut connection).await?;
    Ok(())
}

#[tokio::test]
async fn creating_partitions_neither_waits_for_writers_nor_blocks_them() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let (mut writer, mut other, mut maintainer) =
        (database.connect().await?, database.connect().await?, database.connect().await?);
    run(&mut writer, "begin; select outbox.emit('order.placed', 'open', '1')").await?;
    run(&mut maintainer, "begin").await?;
    let made = done(&mut maintainer, "ahead => 20").await?;
    assert_eq!(made.len(), 13);
    assert!(made.iter().all(|row| row.starts_with("created ")), "{made:?}");
    // The maintainer still holds all its locks, and the other writer has a lock timeout.
    run(&mut other, "set lock_timeout = '1ms'; select outbox.emit('order.placed', 'other', '1')").await?;
    run(&mut maintainer, "commit").await?;
    run(&mut writer, "select outbox.emit('order.placed', 'open', '2'); commit").await?;
    assert_eq!(count(&mut other, "event").await?.as_deref(), Some("3"));
    Ok(())
}

#[tokio::test]
async fn under_an_open_transaction_old_partitions_are_emptied_and_dropped_later() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let (mut writer, mut other, mut maintainer) =
        (database.connect().await?, database.connect().await?, database.connect().await?);
    run(&mut other, &partition(-10)).await?;
    run(&mut other, &insert(-10)).await?;
    run(&mut writer, "begin; select outbox.emit('order.placed', 'open', '1')").await?;
    run(&mut maintainer, "begin").await?;
    assert_eq!(done(&mut maintainer, "").await?, ["emptied old_10"]);
    run(&mut other, "set lock_timeout = '1ms'; select outbox.emit('order.placed', 'other', '1')").await?;
    run(&mut maintainer, "commit").await?;
    assert_eq!(count(&mut other, "event_partitions() p join outbox.old_10 on true").await?.as_deref(), Some("0"));
    assert_eq!(done(&mut maintainer, "").await?, ["emptied old_10"], "as long as the transaction is open");
    run(&mut writer, "commit").await?;
    assert_eq!(done(&mut maintainer, "").await?, ["dropped old_10"]);
    assert_eq!(count(&mut other, "event").await?.as_deref(), Some("2"));
    Ok(())
}

#[tokio::test]
async fn a_default_partition_in_use_is_skipped() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let (mut writer, mut other, mut maintainer) =
        (database.connect().await?, database.connect().await?, database.connect().await?);
    run(&mut writer, &format!("begin; {}", insert(-100))).await?;
    run(&mut maintainer, "begin").await?;
    let rows = maintain(&mut maintainer, "retention => null, ahead => 9").await?;
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows.iter().all(|row| row.0 == "skipped" && row.2.contains("open transactions")), "{rows:?}");
    run(&mut other, &format!("set lock_timeout = '1ms'; {}", insert(-101))).await?;
    run(&mut maintainer, "commit").await?;
    run(&mut writer, "commit").await?;
    let made = done(&mut maintainer, "retention => null, ahead => 9").await?;
    assert!(made.len() == 2 && made.iter().all(|row| row.starts_with("created ")), "{made:?}");
    Ok(())
}

#[tokio::test]
async fn a_partition_that_is_being_read_is_kept() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let (mut reader, mut maintainer) = (database.connect().await?, database.connect().await?);
    run(&mut reader, &partition(-10)).await?;
    run(&mut reader, &insert(-10)).await?;
    run(&mut reader, "begin; select from outbox.event").await?;
    assert_eq!(done(&mut maintainer, "").await?, ["kept old_10"]);
    assert_eq!(count(&mut reader, "event").await?.as_deref(), Some("1"));
    run(&mut reader, "commit").await?;
    assert_eq!(done(&mut maintainer, "").await?, ["dropped old_10"]);
    Ok(())
}

#[tokio::test]
async fn nothing_is_dropped_before_a_relay_has_published_the_existing_rows() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    run(&mut connection, &partition(-10)).await?;
    run(&mut connection, &insert(-10)).await?;
    run(&mut connection, &insert(-20)).await?;
    run(
        &mut connection,
        "insert into outbox.relay (slot, system_identifier, backfill) values ('a', '1', 'done'), ('b', '1', 'pending')",
    )
    .await?;
    assert_eq!(done(&mut connection, "").await?, ["kept event_default", "kept old_10"]);
    assert_eq!(count(&mut connection, "event").await?.as_deref(), Some("2"));
    run(&mut connection, "update outbox.relay set backfill = 'done'").await?;
    assert_eq!(done(&mut connection, "").await?, ["deleted event_default", "dropped old_10"]);
    Ok(())
}

#[tokio::test]
async fn of_two_concurrent_calls_the_second_is_skipped() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let (mut first, mut second) = (database.connect().await?, database.connect().await?);
    run(&mut first, "begin").await?;
    assert_eq!(done(&mut first, "ahead => 8").await?.len(), 1);
    assert_eq!(done(&mut second, "ahead => 8").await?, ["skipped event"], "and says so");
    run(&mut first, "rollback").await?;
    assert_eq!(done(&mut second, "ahead => 8").await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn foreign_partitions_are_respected() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    // A month that begins on the ninth day from now, and a table with the name of the eighth.
    run(
        &mut connection,
        "do $$ declare day timestamptz := (date_trunc('day', now() at time zone 'UTC') + interval '9 days') at time zone 'UTC';
         begin
             execute format('create table outbox.month partition of outbox.event for values from (%L) to (%L)',
                 day, day + interval '1 month');
             execute format('create table outbox.%I ()', to_char((now() at time zone 'UTC') + interval '8 days', '\"event_\"YYYYMMDD'));
         end $$",
    )
    .await?;
    let rows = maintain(&mut connection, "ahead => 12").await?;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert!(rows[0].0 == "skipped" && rows[0].2.contains("no partition of outbox.event"), "{rows:?}");
    Ok(())
}

#[tokio::test]
async fn case_36_maintain_works_beside_a_foreign_publication_for_all_tables() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    run(&mut connection, "create publication everything for all tables").await?;
    run(&mut connection, &insert(-20)).await?;
    let made = done(&mut connection, "ahead => 8").await?;
    assert_eq!((made.len(), made.last()), (2, Some(&"deleted event_default".to_owned())), "{made:?}");
    // Any other write to the schema while the other tool's publication exists.
    for statement in [
        "insert into outbox.relay (slot, system_identifier, backfill) values ('s', '1', 'pending')",
        "update outbox.relay set backfill = 'done'",
        "insert into outbox.moment values ('s', '1', '0/1', now())",
        "delete from outbox.moment",
        "insert into outbox.bookmark (slot, relay_slot, name) values ('b', 's', 'b')",
        "delete from outbox.bookmark",
        "insert into outbox.lease values ('s', 1)",
        "update outbox.lease set lock_key = 2",
        "update outbox.schema_version set status = 'retired'",
        "update outbox.unsigned_message set since = now()",
        "update outbox._migrations set success = success",
    ] {
        run(&mut connection, statement).await.map_err(|error| anyhow::anyhow!("{statement}: {error}"))?;
    }
    // A partition that the other tool's publication does not allow to change is kept, and the others are processed.
    run(&mut connection, "alter table outbox.event_default replica identity nothing").await?;
    run(&mut connection, &insert(-20)).await?;
    assert_eq!(done(&mut connection, "ahead => 9").await?.last(), Some(&"kept event_default".to_owned()));
    Ok(())
}

#[tokio::test]
async fn case_40_foreign_advisory_locks_block_neither_maintenance_nor_registration() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let (mut other, mut connection) = (database.connect().await?, database.connect().await?);
    for name in ["outbox.maintain", "outbox.schema_version"] {
        run(&mut other, &format!("select pg_advisory_lock(hashtextextended('{name}', 0))")).await?;
    }
    run(&mut connection, "set lock_timeout = '5s'").await?;
    assert_eq!(done(&mut connection, "ahead => 8").await?.len(), 1);
    run(&mut connection, "select outbox.register_schema_version('order.new', '1', 't')").await?;
    Ok(())
}

#[tokio::test]
async fn an_event_with_a_distant_created_at_is_refused() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    for created_at in ["2099-01-01", "infinity"] {
        let insert = format!(
            "insert into outbox.event (schema_name, schema_version, created_at) values ('order.placed', '1', '{created_at}')"
        );
        let refusal = refusal(&mut connection, &insert).await?;
        assert!(refusal.0 == "22008" && refusal.1.contains("created_at of an event is in the future"), "{refusal:?}");
    }
    run(&mut connection, &insert(2)).await?;
    assert_eq!(count(&mut connection, "event_default").await?.as_deref(), Some("0"));
    Ok(())
}
