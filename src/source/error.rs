//! Why there is no stream. Each message says in one line what is wrong and how to fix it.

use std::time::Duration;

use crate::postgres::{self, ProtocolError, quote_identifier, quote_literal, sqlstate};
use crate::relay::boundary::Lsn;
use crate::relay::decode::layout_error::LayoutError;
use crate::source::boundary::gap_report::Unpublished;
use crate::source::boundary::holder::NotHeld;
use crate::source::boundary::not_skipped::NotSkipped;
use crate::source::boundary::not_streamed::NotStreamed;
use crate::source::boundary::place::StreamPlace;
use crate::source::boundary::service::ManagedService;
use crate::source::boundary::table::TableName;

const RECREATE: &str = "run `walpost slot recreate`: the relay recreates the slot, then republishes the rows that may be missing from Kafka, with the header outbox-recovered";

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The connection, or a server error without a variant of its own here.
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    /// The server ended a stream with an error, but not the session: it can't send a row.
    #[error("Postgres can't send the transaction {place}: {error}")]
    Unsendable {
        /// Where it happened.
        place: StreamPlace,
        /// The server's error.
        error: Box<postgres::Error>,
    },
    /// The transaction to skip is not the one that stops the slot.
    #[error(transparent)]
    NotSkipped(#[from] NotSkipped),
    /// Binary pgoutput and its messages were added in Postgres 14.
    #[error("the server is Postgres {0}: walpost needs 14 or newer")]
    ServerTooOld(String),
    /// The server is a standby, where the relay can't keep its state.
    #[error("the server is a standby: connect to the primary")]
    Standby,
    /// The server's WAL can't be decoded.
    #[error("wal_level is {found}: {}", service.logical_decoding())]
    WalLevel {
        /// The setting found.
        found: String,
        /// Who operates the server.
        service: ManagedService,
    },
    /// The server refuses the role a replication connection.
    #[error("role {role} lacks the REPLICATION attribute: {}", service.replication(role))]
    NoReplicationRole {
        role: String,
        /// Who operates the server.
        service: ManagedService,
    },
    /// The relay's state table is missing.
    #[error("table outbox.relay does not exist in database {database}: run `walpost migrate` there")]
    MigrationsMissing {
        /// The database connected to.
        database: String,
    },
    /// The relay's state table is from an older version.
    #[error("schema outbox in database {database} is older than this walpost: run `walpost migrate` there")]
    MigrationsOutdated {
        /// The database connected to.
        database: String,
    },
    /// Migrations are missing, or differ.
    #[error(transparent)]
    Migrations(#[from] crate::migrations::MigrationGap),
    /// The role lacks a privilege.
    #[error("role {role} may not {doing}: run `walpost migrate --relay-role {role}` as the schema's owner")]
    NoPrivilege {
        role: String,
        /// What it may not do.
        doing: &'static str,
    },
    /// Every walsender is in use.
    #[error(
        "all {limit} walsenders are in use: raise max_wal_senders and restart Postgres, or end one of `select pid, application_name from pg_stat_replication`"
    )]
    SendersUsedUp {
        /// The setting `max_wal_senders`.
        limit: u32,
    },
    /// Every slot is in use.
    #[error(
        "all {limit} replication slots are in use: raise max_replication_slots and restart Postgres, or drop one that `select slot_name from pg_replication_slots where not active` shows"
    )]
    SlotsUsedUp {
        /// The setting `max_replication_slots`.
        limit: u32,
    },
    /// Not a valid slot name in Postgres.
    #[error("\"{0}\" is not a valid slot name: use 1 to 63 of a-z, 0-9 and _")]
    SlotName(String),
    /// Another process streams from the slot, or is creating it.
    #[error("slot {slot} is held by process {}: stop that relay, or run `select pg_terminate_backend({})`", shown(*pid), shown(*pid))]
    SlotHeld {
        slot: String,
        /// The server process that holds it, if known.
        pid: Option<i32>,
    },
    /// The slot no longer exists, and rows after its position may never have been published.
    #[error("slot {slot} no longer exists: {unpublished}; {RECREATE}")]
    SlotMissing {
        slot: String,
        /// What may be missing.
        unpublished: Box<Unpublished>,
    },
    /// Postgres has removed WAL that the slot needed.
    #[error(
        "slot {slot} was invalidated ({reason}) at {confirmed_flush}: {unpublished}; raise max_slot_wal_keep_size, and {RECREATE}"
    )]
    SlotLost {
        slot: String,
        /// Why, in Postgres's words.
        reason: String,
        /// The last position that was confirmed.
        confirmed_flush: Lsn,
        /// What may be missing.
        unpublished: Box<Unpublished>,
    },
    /// A physical slot.
    #[error(
        "slot {slot} is a physical slot: set another [postgres] slot, or run `select pg_drop_replication_slot({})`",
        quote_literal(slot)
    )]
    SlotPhysical { slot: String },
    /// The slot uses another output plugin.
    #[error(
        "slot {slot} uses output plugin {plugin}, not pgoutput: set another [postgres] slot, or run `select pg_drop_replication_slot({})`",
        quote_literal(slot)
    )]
    SlotPlugin { slot: String, plugin: String },
    /// The slot streams prepared transactions before they are committed.
    #[error(
        "slot {slot} was created with two_phase, but walpost reads transactions only once they are committed; {RECREATE}"
    )]
    SlotTwoPhase { slot: String },
    /// The slot belongs to another database.
    #[error(
        "slot {slot} belongs to database {found}, not {wanted}: set another [postgres] slot, or connect to {found}"
    )]
    SlotDatabase {
        slot: String,
        /// Its database.
        found: String,
        /// The database connected to.
        wanted: String,
    },
    /// Something else moved or recreated the slot since its relay confirmed its last position.
    #[error(
        "slot {slot} is at {found}, past {expected}, the last position this relay confirmed: something other than this relay advanced or recreated it; {unpublished}; {RECREATE}; or run `walpost slot adopt` (with exactly-once delivery `walpost slot adopt --forget-position`) to continue at the slot's position without those events"
    )]
    SlotAdvanced {
        slot: String,
        /// Its position.
        found: Lsn,
        /// Its highest valid position.
        expected: Lsn,
        /// What may be missing.
        unpublished: Box<Unpublished>,
    },
    /// The server's WAL ends before a position that was confirmed.
    #[error(
        "the server's WAL ends at {found}, before {expected}, which this relay confirmed: it was restored from a backup, and Kafka has events that the database has lost; check what was published since, then restart walpost"
    )]
    ServerRewound {
        /// Where the WAL ends.
        found: Lsn,
        /// What was confirmed.
        expected: Lsn,
    },
    /// A standby was promoted while this process streamed: earlier LSNs may mean something else now.
    #[error(
        "the server switched from timeline {before} to {now}: a standby was promoted; restart walpost, which continues at the slot's position: events after it may be published twice"
    )]
    TimelineChanged {
        /// The timeline that was streamed from.
        before: u32,
        /// The server's now.
        now: u32,
    },
    /// The server's timeline does not descend from the one that the relay last streamed from.
    #[error(
        "slot {slot} was last used on timeline {before}, but the server is on {now}, which does not descend from it: this is another copy of the database; connect to the right one, or {RECREATE}"
    )]
    TimelineForeign {
        slot: String,
        /// The timeline noted in `outbox.relay`.
        before: u32,
        /// The server's.
        now: u32,
    },
    /// The state belongs to another cluster.
    #[error(
        "slot {slot} was created on cluster {stored}, but this is {found}: the database was restored elsewhere, or upgraded; {unpublished}; check what was published, and {RECREATE}"
    )]
    SystemChanged {
        slot: String,
        /// The system identifier noted in `outbox.relay`.
        stored: String,
        /// The server's.
        found: String,
        /// What may be missing.
        unpublished: Box<Unpublished>,
    },
    /// The publication does not exist.
    #[error(
        "publication {publication} does not exist: run `create publication {} for table {table} with (publish = 'insert', publish_via_partition_root = true)`",
        quote_identifier(publication)
    )]
    PublicationMissing {
        publication: String,
        /// A table that it should contain.
        table: TableName,
    },
    /// The publication was recreated, and rows were written while there was none.
    #[error(
        "publication {publication} did not exist when rows after {after} were written, so Postgres can't decode them for slot {slot}; {RECREATE}"
    )]
    PublicationGap {
        publication: String,
        slot: String,
        /// The last position that was confirmed.
        after: Lsn,
    },
    /// The publication lacks a table.
    #[error(
        "publication {publication} lacks table {table}: run `alter publication {} add table {table}`",
        quote_identifier(publication)
    )]
    PublicationLacksTable { publication: String, table: TableName },
    /// The publication does not publish inserts.
    #[error(
        "publication {publication} does not publish inserts: run `alter publication {} set (publish = 'insert')`",
        quote_identifier(publication)
    )]
    PublicationWithoutInserts { publication: String },
    /// The publication publishes partitions instead of their table.
    #[error(
        "publication {publication} publishes the partitions of {table} under their own names: run `alter publication {} set (publish_via_partition_root = true)`",
        quote_identifier(publication)
    )]
    PublicationByPartition {
        publication: String,
        /// The partitioned table.
        table: TableName,
    },
    /// The publication excludes some of a table's rows.
    #[error(
        "publication {publication} excludes rows of {table} by a row filter, where ({filter}): run `alter publication {} drop table {table}; alter publication {} add table {table}`",
        quote_identifier(publication),
        quote_identifier(publication)
    )]
    PublicationFilters {
        publication: String,
        table: TableName,
        /// The filter, in SQL.
        filter: String,
    },
    /// The publication was valid while the relay streamed, and no longer is: Postgres silently leaves out the rest.
    #[error(
        "{mismatch}; it was last valid {}: rows committed since may be missing from Kafka; republish them with `walpost replay --from-table`",
        found_in_order(last_in_order.as_ref())
    )]
    PublicationChanged {
        /// The mismatch, as at a start.
        mismatch: Box<SourceError>,
        /// When it was last valid: where the WAL ended, and how long ago.
        last_in_order: Option<(Lsn, Duration)>,
    },
    /// An outbox table does not exist.
    #[error("table {table} does not exist in database {database}: run `walpost migrate`, or correct [[outbox]] table")]
    TableMissing {
        table: TableName,
        /// The database connected to.
        database: String,
    },
    /// A table was altered between a look at its columns and reading its rows.
    #[error("table {table} was altered while its rows were being read; reading them again")]
    TableAltered {
        /// The table.
        table: TableName,
    },
    /// Rows or columns of an outbox table that Postgres does not stream.
    #[error(transparent)]
    NotStreamed(Box<NotStreamed>),
    /// An outbox table does not match the configuration.
    #[error(transparent)]
    Layout(Box<LayoutError>),
    /// No slot holds a requested position.
    #[error(transparent)]
    NotHeld(#[from] NotHeld),
    /// The server's answer makes no sense.
    #[error("unexpected answer from Postgres about {question}")]
    Answer {
        /// What was asked.
        question: &'static str,
    },
}

impl SourceError {
    /// Whether the same attempt can succeed later without anyone fixing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Postgres(error) => error.is_transient(),
            _ => matches!(
                self,
                Self::SlotHeld { .. }
                    | Self::SendersUsedUp { .. }
                    | Self::Unsendable { .. }
                    | Self::TableAltered { .. }
            ),
        }
    }

    /// Whether the server ended a statement but not the session.
    pub(super) fn is_statements_end(&self) -> bool {
        let code = if let Self::Postgres(error) = self { error.sqlstate() } else { None };
        matches!(code, Some(sqlstate::QUERY_CANCELED | sqlstate::LOCK_NOT_AVAILABLE))
    }

    /// Whether rows of an outbox table are not published under its name.
    #[must_use]
    pub const fn is_publication_mismatch(&self) -> bool {
        matches!(
            self,
            Self::PublicationMissing { .. }
                | Self::PublicationLacksTable { .. }
                | Self::PublicationWithoutInserts { .. }
                | Self::PublicationByPartition { .. }
                | Self::PublicationFilters { .. }
                | Self::TableMissing { .. }
                | Self::NotStreamed(_)
        )
    }

    /// The connection's or the server's own error, if it is one.
    #[must_use]
    pub fn postgres(&self) -> Option<&postgres::Error> {
        match self {
            Self::Postgres(error) => Some(error),
            Self::Unsendable { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<ProtocolError> for SourceError {
    fn from(error: ProtocolError) -> Self {
        postgres::Error::from(error).into()
    }
}

impl From<NotStreamed> for SourceError {
    fn from(error: NotStreamed) -> Self {
        Self::NotStreamed(Box::new(error))
    }
}

impl From<LayoutError> for SourceError {
    fn from(error: LayoutError) -> Self {
        Self::Layout(Box::new(error))
    }
}

fn found_in_order(last: Option<&(Lsn, Duration)>) -> String {
    let first = || "when the relay connected".to_owned();
    last.map_or_else(first, |(lsn, ago)| format!("{} s ago at {lsn}", ago.as_secs()))
}

fn shown(pid: Option<i32>) -> String {
    pid.map_or_else(|| "(unknown)".to_owned(), |pid| pid.to_string())
}
