//! Skipping a transaction that Postgres can't send, and nothing else.
//!
//! The slot's stream is read up to the server's error, without confirming anything. Only the transaction in which it
//! ends can be skipped, and only if no event before it is unpublished. The slot is moved one byte past the start of
//! the commit record: Postgres sends every transaction whose commit record starts at or after the slot's position,
//! and no other starts in between.
//!
//! # What a crash leaves
//!
//! The lease is held from before the first step to after the last, so that no relay streams meanwhile. A relay that is started in between
//! fails at the same transaction again: it can't come past it before the slot does.
//!
//! | after | Kafka | `outbox.relay` | slot | a relay that is started then | the command, run again |
//! |---|---|---|---|---|---|
//! | reading the stream | | | before | as before | begins anew |
//! | 1. dead letters, and with exactly-once delivery, in the same Kafka transaction, the position past it | written | | before | passes over what is in Kafka by the position, whose event is the same as before; fails at the transaction | exactly-once: sees the position, and writes no dead letter twice; at-least-once: writes them again |
//! | 2. the note: up to where the slot is to stand, the stored position, nothing unsendable | written | written | before | the same; it notes the transaction again | the same |
//! | 3. moving the slot | written | written | past | continues after the transaction | reports that the slot is past it |
//!
//! The note comes before the slot is moved, as a start takes a slot past what is noted for one that somebody else has moved; the position
//! before the note, as a start takes a position before the noted one for an old one. A slot past the position would be a gap.
//!
//! Should Postgres be able to send the transaction after step 1 (a setting was changed), a relay publishes those of its events that are not in
//! Kafka: they come as records besides their dead letters.

use std::sync::Arc;

use super::open::start_command;
use super::reader::status_update;
use crate::postgres::{self, Connection, WaitLimit, quote_identifier};
use crate::relay::boundary::{Lsn, PositionProof, Timestamp};
use crate::relay::confirm::StreamStart;
use crate::relay::resume::{self, Backfill, Begun, LeaseAcquisition, Slot, StartFacts};
use crate::source::boundary::not_skipped::NotSkipped;
use crate::source::boundary::table::TableName;
use crate::source::detached::detached;
use crate::source::error::SourceError;
use crate::source::limits::{SKIP_LISTED_MAX, SKIP_LISTING_TIMEOUT, SKIP_SILENCE};
use crate::source::opening::SourceOptions;
use crate::source::server::answer::first;
use crate::source::slot::inspect::inspect_slot;
use crate::source::slot::lease::Lease;
use crate::source::slot::release::{Release, Stale};
use crate::source::slot::slot_admin::{SlotAdmin, decide};
use crate::source::state::gap_count::look;
use crate::source::state::relay_state;
use crate::source::state::secrets::{self, Secrets};

/// An outbox table and the column that identifies its rows.
#[derive(Clone, Debug)]
pub(crate) struct ListedTable {
    pub table: TableName,
    /// Its column with the event ids.
    pub id: Option<String>,
    /// Its column with the start time of a row's transaction.
    pub created_at: Option<String>,
}

/// A transaction that Postgres can't send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnsendableTransaction {
    /// The start of its commit record.
    pub commit: Lsn,
    /// When it committed.
    pub committed_at: Timestamp,
    /// Its id.
    pub xid: u32,
    /// What Postgres says.
    pub error: String,
    pub sqlstate: String,
    /// How many of its events Postgres sent before it failed: published, unless the relay stopped before Kafka
    /// acknowledged them.
    pub sent: u64,
    /// Its rows that are still in the outbox tables: the table, and the event's id.
    pub rows: Vec<(TableName, Option<String>)>,
    /// Tables whose rows could not be listed completely.
    pub unlisted: Vec<TableName>,
}

/// The slot before a transaction is skipped: what a position in Kafka is judged by.
#[derive(Clone, Debug)]
pub(crate) struct SlotBefore {
    /// What a stream would begin with.
    pub begun: Begun,
    /// What positions are signed and checked with.
    pub secrets: Secrets,
}

/// A transaction about to be skipped. No relay holds the slot meanwhile.
pub(crate) struct TransactionSkip {
    admin: SlotAdmin,
    slot: String,
    /// The slot as it was found.
    pub before: SlotBefore,
    /// Held until the end.
    lease: Arc<Lease>,
    /// What is skipped.
    pub unsendable: UnsendableTransaction,
}

impl TransactionSkip {
    /// Checks that Postgres can't send the transaction at `commit`, and lists which of its rows the tables have.
    ///
    /// # Errors
    /// [`SourceError::NotSkipped`]; [`SourceError::SlotHeld`] while a relay has the slot.
    pub(crate) async fn begin(
        options: &SourceOptions,
        tables: Vec<ListedTable>,
        commit: Lsn,
    ) -> Result<Self, SourceError> {
        let (options, lease) = decide(options);
        detached(move |_| {
            let mut admin = SlotAdmin::open(&options, &lease)?;
            let stands = stands(&mut admin, &options.slot)?;
            let published = admin.kept.as_ref().and_then(|kept| kept.published.lsn).unwrap_or_default().max(stands);
            check_history(&mut admin, &options, stands)?;
            let first = find(&mut admin, &options, (stands, published), commit)?;
            // Again, as that may have been a passing failure; from the transaction on, so that what comes before it is not sent twice.
            self::stands(&mut admin, &options.slot)?;
            let mut unsendable = find(&mut admin, &options, (commit, published), commit)?;
            if first.sqlstate != unsendable.sqlstate {
                return Err(NotSkipped::Readable(commit).into());
            }
            for table in &tables {
                list(&mut admin.control, table, &mut unsendable)?;
            }
            let secrets = secrets::read(&mut admin.control, &admin.server, &options.slot)?;
            let is_first = admin.kept.as_ref().is_some_and(|kept| kept.noted.backfill == Backfill::Pending);
            let begun = Begun {
                server: admin.system.facts(),
                start: stands,
                noted: admin.kept.as_ref().and_then(|kept| kept.position),
                first: if is_first { StreamStart::FirstRows } else { StreamStart::Continued },
            };
            let before = SlotBefore { begun, secrets };
            Ok(Self { admin, slot: options.slot, before, lease, unsendable })
        })
        .await
    }

    /// Moves the slot past the transaction; where it stands then. `stored` is what the position in Kafka past it bears, where positions are kept.
    ///
    /// # Errors
    /// As [`TransactionSkip::begin`].
    pub(crate) async fn finish(mut self, stored: Option<PositionProof>) -> Result<Lsn, SourceError> {
        detached(move |_| {
            self.lease.take()?;
            let past = Lsn(self.unsendable.commit.0 + 1);
            // The lease may have been lost for a time, and a relay may have come further.
            if stands(&mut self.admin, &self.slot)? > past {
                return Err(NotSkipped::Absent(self.unsendable.commit).into());
            }
            let SlotAdmin { control, server, system, .. } = &mut self.admin;
            relay_state::skip(control, server, system, &self.slot, past, stored)?;
            let sql = "select end_lsn from pg_replication_slot_advance($1, $2::text::pg_lsn)";
            let rows = control.query(sql, &[Some(&self.slot), Some(&past.to_string())])?;
            let question = "the position of the slot";
            let end = first(&rows, question)?.text(0).and_then(|lsn| lsn.parse().ok());
            end.ok_or(SourceError::Answer { question })
        })
        .await
    }
}

/// Whether a relay would start here but for the transaction: skipping it must not hide that something else advanced the slot.
fn check_history(admin: &mut SlotAdmin, options: &SourceOptions, stands: Lsn) -> Result<(), SourceError> {
    let known = StartFacts {
        noted: admin.kept.as_ref().map(|kept| kept.noted.clone()),
        slot: Slot::At(stands),
        server: admin.system.facts(),
        resume: None,
        last: None,
        acquisition: LeaseAcquisition::New,
    };
    let published = admin.kept.as_ref().map(|kept| kept.published.clone()).unwrap_or_default();
    let control = &mut admin.control;
    let explain =
        |gap| SourceError::of(gap, &options.slot, || look(control, &options.publication, &options.tables, published));
    resume::plan(&known).map(|_| ()).map_err(explain)
}

/// The slot's position, once nobody streams from it.
fn stands(admin: &mut SlotAdmin, slot: &str) -> Result<Lsn, SourceError> {
    let mut release = Release::new(slot, Stale::Closed);
    loop {
        let Some(found) = inspect_slot(&mut admin.control, admin.server.version, slot)? else {
            return Err(SourceError::SlotMissing { slot: slot.to_owned(), unpublished: Box::default() });
        };
        let stands = found.check(slot, &admin.server.database)?;
        let Some(pid) = found.active_pid else { return Ok(stands) };
        release.wait(&mut admin.control, pid)?;
    }
}

/// Reads the slot's stream from an LSN up to the server's error.
fn find(
    admin: &mut SlotAdmin,
    options: &SourceOptions,
    (from, published): (Lsn, Lsn),
    wanted: Lsn,
) -> Result<UnsendableTransaction, SourceError> {
    if wanted < from {
        return Err(NotSkipped::Absent(wanted).into());
    }
    let (mut replication, _) = admin.server.open_replication(&options.connect, &mut admin.control)?;
    replication.start_copy_both(&start_command(&admin.server, &options.slot, &options.publication, from))?;
    replication.set_wait_limit(WaitLimit::Timeout(SKIP_SILENCE));
    let mut reading = Reading { wanted, published, open: None, unpublished: None };
    loop {
        match replication.next_copy_start() {
            Ok(data) => {
                if reading.take(&data)? {
                    // An LSN of 0 confirms nothing.
                    replication.send_copy_data(&status_update(Lsn(0), false))?;
                }
            }
            // A terminated session, or a server that shuts down, says nothing about the transaction.
            Err(postgres::Error::Server(error)) if error.severity == "ERROR" && !error.code.starts_with("57") => {
                replication.close();
                return reading.failed(error.to_string(), &error.code).map_err(SourceError::from);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

struct OpenTransaction {
    commit: Lsn,
    at: Timestamp,
    xid: u32,
    events: u64,
}

/// What a stream that is read up to its error has shown.
struct Reading {
    wanted: Lsn,
    published: Lsn,
    open: Option<OpenTransaction>,
    /// The first transaction with unpublished events, and how many events there are.
    unpublished: Option<(Lsn, u64)>,
}

impl Reading {
    /// Takes the body of a CopyData message; returns whether the server requests a reply.
    fn take(&mut self, data: &[u8]) -> Result<bool, NotSkipped> {
        let long = |place: usize| {
            data.get(place..).and_then(|rest| rest.first_chunk()).map(|bytes| u64::from_be_bytes(*bytes))
        };
        let lsn = |place| Lsn(long(place).unwrap_or_default());
        // After the type, two LSNs and a time.
        const MESSAGE: usize = 25;
        match (data.first(), data.get(MESSAGE)) {
            (Some(b'k'), _) => {
                if self.open.is_none() && lsn(1) > self.wanted {
                    return Err(NotSkipped::Absent(self.wanted));
                }
                return Ok(data.get(17) == Some(&1));
            }
            (Some(b'w'), Some(b'B')) => {
                let commit = lsn(MESSAGE + 1);
                if commit > self.wanted {
                    return Err(NotSkipped::Absent(self.wanted));
                }
                let at = Timestamp::from_postgres(long(MESSAGE + 9).unwrap_or_default().cast_signed());
                let xid = data
                    .get(MESSAGE + 17..)
                    .and_then(|rest| rest.first_chunk())
                    .map(|bytes| u32::from_be_bytes(*bytes));
                self.open = Some(OpenTransaction { commit, at, xid: xid.unwrap_or_default(), events: 0 });
            }
            (Some(b'w'), Some(b'I' | b'M')) => {
                if let Some(open) = &mut self.open {
                    open.events += 1;
                }
            }
            (Some(b'w'), Some(b'C')) => {
                let end = lsn(MESSAGE + 10);
                if let Some(begun) = self.open.take() {
                    if begun.commit == self.wanted {
                        return Err(NotSkipped::Readable(self.wanted));
                    }
                    if begun.events > 0 && end > self.published {
                        let unpublished = self.unpublished.get_or_insert((begun.commit, 0));
                        unpublished.1 += begun.events;
                    }
                }
            }
            _ => {}
        }
        Ok(false)
    }

    fn failed(self, error: String, sqlstate: &str) -> Result<UnsendableTransaction, NotSkipped> {
        let wanted = self.wanted;
        let begun = self.open.ok_or_else(|| NotSkipped::Unnamed(error.clone()))?;
        if begun.commit != wanted {
            return Err(NotSkipped::Another { wanted, fails: begun.commit, error });
        }
        if let Some((commit, events)) = self.unpublished {
            return Err(NotSkipped::Unpublished { wanted, events, commit });
        }
        let OpenTransaction { commit, at, xid, events: sent } = begun;
        let sqlstate = sqlstate.to_owned();
        Ok(UnsendableTransaction {
            commit,
            committed_at: at,
            xid,
            error,
            sqlstate,
            sent,
            rows: Vec::new(),
            unlisted: Vec::new(),
        })
    }
}

/// Lists a table's rows of the transaction. Those written under a savepoint have another id; they share the
/// transaction's start time with the others.
fn list(
    control: &mut Connection,
    table: &ListedTable,
    unsendable: &mut UnsendableTransaction,
) -> Result<(), SourceError> {
    let id = table.id.as_deref().map_or_else(|| "null".to_owned(), |id| format!("{}::text", quote_identifier(id)));
    let (name, xid) = (&table.table, unsendable.xid);
    let own = format!("xmin::text = '{xid}'");
    let filter = match table.created_at.as_deref().map(quote_identifier) {
        Some(at) => format!("{own} or (xmin::text::bigint > {xid} and {at} in (select {at} from {name} where {own}))"),
        None => own,
    };
    let sql = format!("select {id} from {name} where {filter} limit {}", SKIP_LISTED_MAX + 1);
    control.configure(&format!("set statement_timeout = {}", SKIP_LISTING_TIMEOUT.as_millis()))?;
    match control.simple_query(&sql) {
        Ok(rows) => {
            if rows.len() > SKIP_LISTED_MAX {
                unsendable.unlisted.push(name.clone());
            }
            let ids = rows.iter().take(SKIP_LISTED_MAX).map(|row| (name.clone(), row.text(0).map(str::to_owned)));
            unsendable.rows.extend(ids);
        }
        Err(error @ postgres::Error::Server(_)) => {
            tracing::warn!(table = %name, error = %error, "could not list the rows of the transaction");
            unsendable.unlisted.push(name.clone());
        }
        Err(error) => return Err(error.into()),
    }
    control.simple_query("reset statement_timeout")?;
    Ok(())
}

#[cfg(test)]
#[path = "skip_tests.rs"]
mod tests;
