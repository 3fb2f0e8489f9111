//! What the database says about schema versions and types, over one connection that is kept.
//!
//! Rows can name anything, and a flood of names that nobody has registered must not cost a connection each, nor a query each. So the
//! first such name of a batch has all registered names listed, and further ones are looked for there. The list is as good as a query:
//! it is newer than every row of the batch, so it has every version that was registered in a row's transaction or before it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::contracts;
use crate::postgres::{self, ConnectOptions, Connection, Session, sqlstate};
use crate::relay::boundary::{ColumnType, SchemaVersion, SchemaVersionId};
use crate::relay::proof::MessageKeys;
use crate::source::{SourceError, look_up_type, read_message_keys};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a name that is not there is waited for: a commit is streamed a moment before others see it.
const VISIBLE_AFTER: Duration = Duration::from_millis(20);
/// Longest list of registered versions that is kept; where there are more, each name is asked for.
const LISTED_MAX: usize = 20_000;
/// Every registered version's name.
const LIST: &str = "select name, version from outbox.schema_version limit 20001";

/// The database, asked one question at a time.
pub(super) struct Registry {
    options: ConnectOptions,
    slot: String,
    kept: Mutex<Kept>,
    /// Which input the core works on.
    input: AtomicU64,
}

#[derive(Default)]
struct Kept {
    session: Option<Session>,
    /// Every registered version, as of after this input was received.
    listed: Option<(u64, HashSet<SchemaVersionId>)>,
}

impl Registry {
    pub(super) fn new(options: ConnectOptions, slot: String) -> Self {
        Self { options, slot, kept: Mutex::default(), input: AtomicU64::new(0) }
    }

    /// New input has come, whose rows a list of before knows nothing of.
    pub(super) fn handle_input(&self) {
        self.input.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the connection until the next question.
    pub(super) async fn rest(&self) {
        *self.kept.lock().await = Kept::default();
    }

    pub(super) async fn schema_version(&self, id: &SchemaVersionId) -> anyhow::Result<Option<SchemaVersion>> {
        let mut kept = self.kept.lock().await;
        let input = self.input.load(Ordering::Relaxed);
        kept.listed.take_if(|(of, _)| *of != input);
        if kept.listed.as_ref().is_some_and(|(_, listed)| !listed.contains(id)) {
            return Ok(None);
        }
        if let Some(found) = self.ask(&mut kept, id).await? {
            return Ok(Some(found));
        }
        if kept.listed.is_some() {
            return Ok(None);
        }
        sleep(VISIBLE_AFTER).await;
        let rows = self.query(&mut kept, LIST, &[]).await.map_err(|error| self.explain(error))?;
        if rows.len() > LISTED_MAX {
            return self.ask(&mut kept, id).await;
        }
        let name = |row: &postgres::Row, column| row.text(column).unwrap_or_default().into();
        let listed: HashSet<_> =
            rows.iter().map(|row| SchemaVersionId { name: name(row, 0), version: name(row, 1) }).collect();
        let is_listed = listed.contains(id);
        kept.listed = Some((input, listed));
        if is_listed { self.ask(&mut kept, id).await } else { Ok(None) }
    }

    async fn ask(&self, kept: &mut Kept, id: &SchemaVersionId) -> anyhow::Result<Option<SchemaVersion>> {
        let (sql, parameters) = contracts::look_up_query(id);
        let rows = self.query(kept, sql, &parameters).await.map_err(|error| self.explain(error))?;
        let text = |row: &postgres::Row, column| row.text(column).map(str::to_owned);
        let columns = rows.iter().map(|row| std::array::from_fn(|column| text(row, column))).collect();
        match contracts::look_up(id, |_, _| Ok::<_, postgres::Error>(columns)) {
            // It was registered with what the relay can't use, and can't be changed: its events are refused, not held up.
            Err(contracts::LookUpError::Malformed { id, source }) => {
                tracing::error!(schema_version = %id, error = %source, "schema version is malformed and counts as unknown");
                Ok(None)
            }
            found => Ok(found?),
        }
    }

    pub(super) async fn message_keys(&self) -> anyhow::Result<MessageKeys> {
        let (options, slot) = (self.options.clone(), self.slot.clone());
        let read = move || {
            let mut connection = Connection::open(&options)?;
            let keys = read_message_keys(&mut connection, &slot);
            connection.close();
            keys
        };
        tokio::task::spawn_blocking(read).await?.context("read outbox.secret")
    }

    pub(super) async fn column_type(&self, oid: u32) -> anyhow::Result<Option<ColumnType>> {
        let options = self.options.clone();
        let found = tokio::task::spawn_blocking(move || look_up_type(&options, oid)).await?;
        found.with_context(|| format!("look up the type with OID {oid}"))
    }

    /// Asks over the connection that is kept, or over a new one where that has ended meanwhile.
    async fn query(
        &self,
        kept: &mut Kept,
        sql: &str,
        parameters: &[Option<&str>],
    ) -> Result<Vec<postgres::Row>, postgres::Error> {
        if let Some(mut session) = kept.session.take()
            && let Ok(Ok(rows)) = timeout(ANSWER_TIMEOUT, session.query(sql, parameters)).await
        {
            kept.session = Some(session);
            return Ok(rows);
        }
        let mut session = Session::open(&self.options).await?;
        let rows = timeout(ANSWER_TIMEOUT, session.query(sql, parameters))
            .await
            .unwrap_or(Err(postgres::Error::Interrupted))?;
        kept.session = Some(session);
        Ok(rows)
    }

    fn explain(&self, error: postgres::Error) -> anyhow::Error {
        if error.sqlstate() == Some(sqlstate::INSUFFICIENT_PRIVILEGE) {
            let role = self.options.user().to_owned();
            return SourceError::NoPrivilege { role, doing: "read outbox.schema_version" }.into();
        }
        anyhow::Error::new(error).context("look up a schema version")
    }
}
