//! Events that wait behind a slot. Every reader gets a copy of the slot, so that all read the same events.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::error::BenchError;
use super::stage::{Destinations, SCHEMA, Stage};
use super::{Payload, Shape};
use crate::lab::environment::{EnvironmentError, View};
use crate::terminal::grouped;

/// Events per statement, small enough to show progress and to notice an interrupt.
const CHUNK: u64 = 20_000;

/// A backlog.
#[derive(Clone, Debug)]
pub(super) struct Backlog {
    pub(super) content: Content,
    pub(super) events: u64,
    /// The slot before the first event. Nobody reads it.
    base: String,
    /// A position behind the last event; more WAL follows it.
    pub(super) end: String,
    pub(super) destinations: Destinations,
}

/// What a backlog consists of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) payload: Payload,
    pub(super) per_transaction: u64,
    pub(super) shape: Shape,
}

impl Backlog {
    /// Creates the slot and writes the events.
    pub(super) async fn write(stage: &Stage, content: Content, events: u64, view: &View) -> Result<Self, BenchError> {
        let Content { payload, per_transaction, shape } = content;
        let mut connection = stage.connect().await?;
        let destinations = stage.destinations(&mut connection, &shape).await?;
        let base = create_slot(stage, &mut connection).await?;
        let procedure = procedure(&content, &destinations);
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
        Ok(Self { content, events, base, end, destinations })
    }

    /// Sets whether the events' schema versions have a schema, which the next relay checks them against. This bypasses the trigger
    /// that makes the rows immutable, so that one backlog can be read with and without checking, in turn.
    pub(super) async fn promise(&self, stage: &Stage, schema: bool) -> Result<(), BenchError> {
        let mut connection = stage.connect().await?;
        let failed = EnvironmentError::postgres("change the schema of the benchmark's events");
        let value = if schema { "bench.payload_schema()" } else { "null" };
        let versions = &self.destinations.versions;
        let statements = format!(
            "begin; alter table outbox.schema_version disable trigger user;
             update outbox.schema_version set schema = {value} where name = '{SCHEMA}' and version like '{versions}%';
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
        let truncate = format!("truncate {}", self.content.payload.table());
        connection.execute(AssertSqlSafe(truncate)).await.map_err(EnvironmentError::postgres("empty the outbox"))?;
        let _ = connection.close().await;
        stage.discard(&self.destinations).await;
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

/// The topic is picked by a hash of the event's number, so that consecutive events go to different topics.
fn procedure(content: &Content, destinations: &Destinations) -> String {
    let Content { payload, per_transaction, shape } = content;
    let Shape { topics, keys, payload_bytes, row_headers, .. } = shape;
    let (table, value) = (payload.table(), payload.cast(&format!("bench.payload(i, {payload_bytes})")));
    let versions = &destinations.versions;
    format!(
        "create or replace procedure bench.fill(first bigint, last bigint) language plpgsql as $$
         begin
             while first <= last loop
                 insert into {table} (schema_name, schema_version, key, payload, headers)
                 select '{SCHEMA}', '{versions}' || (hashint8(i)::bigint & 2147483647) % {topics}, 'customer-' || i % {keys},
                     {value}, bench.row_headers(i, {row_headers})
                 from generate_series(first, least(first + {per_transaction} - 1, last)) i;
                 commit;
                 first := first + {per_transaction};
             end loop;
         end $$"
    )
}
