//! Events that wait behind a slot. Every reader gets a copy of the slot, so that all read the same events.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::Payload;
use super::error::BenchError;
use super::stage::{Destination, SCHEMA, Stage};
use crate::lab::environment::{EnvironmentError, View};
use crate::terminal::grouped;

/// Events per statement, small enough to show progress and to notice an interrupt.
const CHUNK: u64 = 20_000;
/// Number of distinct keys.
const KEYS: u64 = 5_000;

/// A backlog.
#[derive(Clone, Debug)]
pub(super) struct Backlog {
    pub(super) payload: Payload,
    pub(super) per_transaction: u64,
    pub(super) events: u64,
    /// The slot before the first event. Nobody reads it.
    base: String,
    /// A position behind the last event; more WAL follows it.
    pub(super) end: String,
    pub(super) destination: Destination,
}

impl Backlog {
    /// Creates the slot and writes the events.
    pub(super) async fn write(
        stage: &Stage,
        payload: Payload,
        per_transaction: u64,
        events: u64,
        view: &View,
    ) -> Result<Self, BenchError> {
        let mut connection = stage.connect().await?;
        let destination = stage.destination(&mut connection).await?;
        let base = create_slot(stage, &mut connection).await?;
        let procedure = procedure(payload, per_transaction, &destination.version);
        let failed = || EnvironmentError::postgres("write the backlog");
        connection.execute(AssertSqlSafe(procedure)).await.map_err(failed())?;
        connection.execute("set synchronous_commit = off").await.map_err(failed())?;
        let what = format!("writing {} events, {per_transaction} per transaction", payload.as_str());
        let doing = view.counting(&what, events);
        let chunk = CHUNK.next_multiple_of(per_transaction);
        let mut written = 0;
        while written < events {
            let last = (written + chunk).min(events);
            let call = format!("call bench.fill({}, {last})", written + 1);
            connection.execute(AssertSqlSafe(call)).await.map_err(failed())?;
            written = last;
            doing.reached(written);
        }
        doing.done(&format!(
            "{} events of {} written, {per_transaction} per transaction",
            grouped(events),
            payload.as_str()
        ));
        let end = seal(&mut connection).await.map_err(failed())?;
        // Flushes dirty pages now rather than during a run. Not every role may request a checkpoint.
        let _ = connection.execute("checkpoint").await;
        let _ = connection.close().await;
        Ok(Self { payload, per_transaction, events, base, end, destination })
    }

    /// Sets whether the events' schema version has a schema, which the next relay checks them against. This bypasses the trigger
    /// that makes the row immutable, so that one backlog can be read with and without checking, in turn.
    pub(super) async fn promise(&self, stage: &Stage, schema: bool) -> Result<(), BenchError> {
        let mut connection = stage.connect().await?;
        let failed = EnvironmentError::postgres("change the schema of the benchmark's events");
        let value = if schema { "bench.payload_schema()" } else { "null" };
        let version = &self.destination.version;
        let statements = format!(
            "begin; alter table outbox.schema_version disable trigger user;
             update outbox.schema_version set schema = {value} where name = '{SCHEMA}' and version = '{version}';
             alter table outbox.schema_version enable trigger user; commit"
        );
        connection.execute(AssertSqlSafe(statements)).await.map_err(failed)?;
        let _ = connection.close().await;
        Ok(())
    }

    /// Creates a slot for one reader.
    pub(super) async fn slot(&self, stage: &Stage) -> Result<String, BenchError> {
        let name = stage.slot_name();
        let mut connection = stage.connect().await?;
        sqlx::query("select pg_copy_logical_replication_slot($1, $2)")
            .bind(&self.base)
            .bind(&name)
            .execute(&mut connection)
            .await
            .map_err(EnvironmentError::postgres("copy a slot"))?;
        let _ = connection.close().await;
        Ok(name)
    }

    /// Frees the disk space on both sides.
    pub(super) async fn remove(self, stage: &Stage) -> Result<(), BenchError> {
        drop_slot(stage, &self.base).await?;
        let mut connection = stage.connect().await?;
        let truncate = format!("truncate {}", self.payload.table());
        connection.execute(AssertSqlSafe(truncate)).await.map_err(EnvironmentError::postgres("empty the outbox"))?;
        let _ = connection.close().await;
        stage.discard(&self.destination).await;
        Ok(())
    }
}

/// Creates a slot at the current position.
pub(super) async fn create_slot(stage: &Stage, connection: &mut PgConnection) -> Result<String, BenchError> {
    let name = stage.slot_name();
    sqlx::query("select pg_create_logical_replication_slot($1, 'pgoutput')")
        .bind(&name)
        .execute(connection)
        .await
        .map_err(EnvironmentError::postgres("create a slot"))?;
    Ok(name)
}

/// Drops a slot as soon as its walsender has noticed that the reader is gone.
pub(super) async fn drop_slot(stage: &Stage, name: &str) -> Result<(), BenchError> {
    const OBJECT_IN_USE: &str = "55006";
    const ATTEMPTS: u32 = 200;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(25);
    let mut connection = stage.connect().await?;
    let mut attempt = 1;
    loop {
        let dropped = sqlx::query("select pg_drop_replication_slot($1)").bind(name).execute(&mut connection).await;
        let Err(error) = dropped else { break };
        let held = error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == OBJECT_IN_USE);
        if !held || attempt == ATTEMPTS {
            return Err(EnvironmentError::postgres("drop a slot")(error).into());
        }
        attempt += 1;
        tokio::time::sleep(PAUSE).await;
    }
    let _ = connection.close().await;
    Ok(())
}

/// Flushes all WAL so far and writes a little more, which a reader will receive. Returns the position between the two.
async fn seal(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    connection.execute("reset synchronous_commit").await?;
    let end = sqlx::query_scalar("select pg_current_wal_insert_lsn()::text").fetch_one(&mut *connection).await?;
    connection.execute("select pg_logical_emit_message(true, 'walpost-bench', 'the backlog ends here')").await?;
    Ok(end)
}

fn procedure(payload: Payload, per_transaction: u64, version: &str) -> String {
    let (table, value) = (payload.table(), payload.cast("bench.payload(i)"));
    format!(
        "create or replace procedure bench.fill(first bigint, last bigint) language plpgsql as $$
         begin
             while first <= last loop
                 insert into {table} (schema_name, schema_version, key, payload)
                 select '{SCHEMA}', '{version}', 'customer-' || i % {KEYS}, {value}
                 from generate_series(first, least(first + {per_transaction} - 1, last)) i;
                 commit;
                 first := first + {per_transaction};
             end loop;
         end $$"
    )
}
