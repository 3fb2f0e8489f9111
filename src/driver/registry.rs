//! Schema versions and types in the database, read over one persistent connection.
//!
//! Rows can contain any name, and a flood of unregistered names must not cost a connection or a query each. So the
//! first such name of a batch reads the list of all registered names, and further ones are looked up there.
//!
//! A list proves that a name is not registered only if it shows the transaction that uses the name: a commit is
//! streamed once it is flushed, but becomes visible later, with synchronous replication only after the standby has
//! answered. The snapshot that the list was read with tells.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use super::visible_transactions::VisibleTransactions;
use crate::contracts;
use crate::driver::limits::{ANSWER_TIMEOUT, LISTED_MAX, VISIBLE_BACK_OFF, VISIBLE_PATIENCE};
use crate::postgres::{self, ConnectOptions, Connection, Session, sqlstate};
use crate::relay::boundary::MessageKeys;
use crate::relay::boundary::{ColumnType, SchemaVersion, SchemaVersionId};
use crate::source::{SourceError, look_up_type, read_message_keys};

/// The names of all registered versions, and the snapshot they were read with.
const LIST: &str = "select true, pg_current_snapshot()::text, null \
    union all (select false, name, version from outbox.schema_version limit 20001)";

/// The database, queried for one request at a time.
pub(super) struct Registry {
    options: ConnectOptions,
    slot: String,
    kept: Mutex<RegistryCache>,
    /// Which input the core is working on.
    input: AtomicU64,
}

#[derive(Default)]
struct RegistryCache {
    session: Option<Session>,
    listed: Option<Listed>,
}

/// What a lookup of schema versions found.
#[derive(Default)]
pub(super) struct Looked {
    /// The requested version.
    pub(super) asked: Option<SchemaVersion>,
    /// Other versions, looked up early. A registered version never changes.
    pub(super) ahead: Vec<SchemaVersion>,
}

/// The registered versions as of the reception of an input.
struct Listed {
    input: u64,
    snapshot: VisibleTransactions,
    /// All registered versions; `None` if there are too many to keep.
    names: Option<HashSet<SchemaVersionId>>,
}

impl Registry {
    pub(super) fn new(options: ConnectOptions, slot: String) -> Self {
        Self { options, slot, kept: Mutex::default(), input: AtomicU64::new(0) }
    }

    /// New input has arrived; an older list does not cover its rows.
    pub(super) fn handle_input(&self) {
        self.input.fetch_add(1, Ordering::Relaxed);
    }

    /// Closes the connection until the next request.
    pub(super) async fn rest(&self) {
        *self.kept.lock().await = RegistryCache::default();
    }

    /// The version registered under that name, used by a row of transaction `xid`, and those of `ahead` that are
    /// registered as far as they were looked up with it.
    pub(super) async fn schema_version(
        &self,
        id: &SchemaVersionId,
        ahead: &[SchemaVersionId],
        xid: Option<u32>,
    ) -> anyhow::Result<Looked> {
        let mut kept = self.kept.lock().await;
        let input = self.input.load(Ordering::Relaxed);
        kept.listed.take_if(|listed| listed.input != input);
        let shows = |listed: &Listed| xid.is_none_or(|xid| listed.snapshot.shows(xid));
        // The common case needs no list.
        if !kept.listed.as_ref().is_some_and(shows)
            && let looked @ Looked { asked: Some(_), .. } = self.ask(&mut kept, id, ahead).await?
        {
            return Ok(looked);
        }
        let (mut back_off, give_up) = (VISIBLE_BACK_OFF, Instant::now() + VISIBLE_PATIENCE);
        loop {
            if let Some(listed) = kept.listed.as_ref().filter(|listed| shows(listed)) {
                let is_missing = listed.names.as_ref().is_some_and(|names| !names.contains(id));
                return if is_missing { Ok(Looked::default()) } else { self.ask(&mut kept, id, ahead).await };
            }
            if kept.listed.is_some() {
                if Instant::now() >= give_up {
                    let xid = xid.unwrap_or_default();
                    bail!(
                        "schema version {id} is not visible yet, nor is transaction {xid}, which uses it: \
                         its commit waits for a synchronous standby; see synchronous_standby_names"
                    );
                }
                sleep(back_off.wait()).await;
            }
            kept.listed = Some(self.list(&mut kept, input).await?);
        }
    }

    async fn list(&self, kept: &mut RegistryCache, input: u64) -> anyhow::Result<Listed> {
        let rows = self.query(kept, LIST, &[]).await.map_err(|error| self.explain(error))?;
        let (header, rows): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.is_true(0));
        let snapshot = header.first().and_then(|row| row.text(1)).and_then(VisibleTransactions::parse);
        let snapshot = snapshot.context("look up schema versions: Postgres gave no snapshot")?;
        let name = |row: &postgres::Row, column| row.text(column).unwrap_or_default().into();
        let id = |row: &&postgres::Row| SchemaVersionId { name: name(row, 1), version: name(row, 2) };
        let names = (rows.len() <= LISTED_MAX).then(|| rows.iter().map(id).collect());
        Ok(Listed { input, snapshot, names })
    }

    async fn ask(
        &self,
        kept: &mut RegistryCache,
        id: &SchemaVersionId,
        ahead: &[SchemaVersionId],
    ) -> anyhow::Result<Looked> {
        let (sql, parameters) = contracts::look_up_query(std::iter::once(id).chain(ahead));
        let parameters = [Some(parameters[0].as_str()), Some(parameters[1].as_str())];
        let rows = self.query(kept, sql, &parameters).await.map_err(|error| self.explain(error))?;
        let mut looked = Looked::default();
        for row in &rows {
            let name = |column| row.text(column).unwrap_or_default().into();
            let found = SchemaVersionId { name: name(6), version: name(7) };
            let columns = std::array::from_fn(|column| row.text(column).map(str::to_owned));
            match contracts::parse(&found, columns) {
                Ok(version) if found == *id => looked.asked = Some(version),
                Ok(version) => looked.ahead.push(version),
                // It was registered with something the relay can't use, and can't be changed: its events are refused
                // rather than held up.
                Err(error) if found == *id => {
                    tracing::error!(schema_version = %id, error = %error, "schema version is malformed; treating it as unknown");
                }
                // Reported when it is asked for.
                Err(_) => {}
            }
        }
        Ok(looked)
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

    /// Runs a query over the open connection, or over a new one if that was closed.
    async fn query(
        &self,
        kept: &mut RegistryCache,
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
