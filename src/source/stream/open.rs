//! From options to a running stream: checks everything, and decides where to start.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::begin::Begin;
use super::handle::Stream;
use super::reader::{StreamReader, Timing};
use crate::migrations::{self, MigrationGap, UpToDate};
use crate::postgres::{Connection, Error, Interrupt, quote_identifier, sqlstate};
use crate::relay::boundary::Lsn;
use crate::relay::confirm::Resume;
use crate::relay::resume::{self, Gap};
use crate::source::batch_channel::BatchChannel;
use crate::source::boundary::gap_report::{Published, Unpublished};
use crate::source::catalog::layout::check_layout;
use crate::source::catalog::publication::{check_publication, stray_outbox};
use crate::source::detached::detached;
use crate::source::error::SourceError;
use crate::source::opening::{Opening, SourceOptions};
use crate::source::origin::Origin;
use crate::source::server::identity::{Server, identify_system};
use crate::source::server::refusal;
use crate::source::slot::inspect::{CreatedSlot, check_slot_name, inspect_slot};
use crate::source::slot::lease::Lease;
use crate::source::snapshot::backfill::{self, BackfillRows};
use crate::source::state::relay_state::{self, Recovery};
use crate::source::state::secrets::{self, Secrets};

/// A stream that has started.
#[derive(Debug)]
pub struct Source {
    /// The stream. If there is a backfill, it comes first.
    pub stream: Stream,
    pub server: Server,
    /// Where it comes from.
    pub origin: Origin,
    /// Everything before this is confirmed.
    pub start: Lsn,
    /// Where the server's WAL ended when the slot was ours and nothing had been sent yet.
    pub wal_end: Lsn,
    /// A position of the slot stored in Kafka, according to an earlier [`crate::source::Note`].
    pub noted: Option<Lsn>,
    /// Where the backfill ends, if the stream brings one: once this LSN may be confirmed, [`Lease::note_backfill`]
    /// must be called.
    pub backfill_end: Option<Lsn>,
    /// The backfill repeats rows, because a slot was lost.
    pub recovery: Option<Recovery>,
    /// What messages and positions are checked with.
    pub secrets: Secrets,
    /// The OIDs of the outbox tables, in the order of the options.
    pub tables: Vec<u32>,
}

/// Connects, creates the slot if this is the first start, and starts the stream.
///
/// `lease` is taken first, and kept whatever happens. `resume` is what this process knows of the slot, if it has
/// streamed from it before. Dropping the future gives up.
///
/// # Errors
/// [`SourceError`]: what is wrong, and how to fix it. Worth a retry if it is transient.
pub async fn connect(
    options: &SourceOptions,
    lease: &Arc<Lease>,
    resume: Option<Resume>,
) -> Result<Source, SourceError> {
    let (options, lease) = (options.clone(), Arc::clone(lease));
    detached(move |interrupt| open(options, &lease, resume, None, interrupt)).await
}

/// As [`connect`], to the server of `last`: another cluster or timeline is an error before its slot is touched,
/// because its LSNs mean something else.
///
/// # Errors
/// As [`connect`]; [`SourceError::TimelineChanged`] and [`SourceError::SystemChanged`].
pub(crate) async fn reconnect(
    options: &SourceOptions,
    lease: &Arc<Lease>,
    resume: Option<Resume>,
    last: &Origin,
) -> Result<Source, SourceError> {
    let (options, lease, last) = (options.clone(), Arc::clone(lease), last.clone());
    detached(move |interrupt| open(options, &lease, resume, Some(&last), interrupt)).await
}

fn open(
    options: SourceOptions,
    lease: &Lease,
    resume: Option<Resume>,
    last: Option<&Origin>,
    interrupt: &Interrupt,
) -> Result<Source, SourceError> {
    check_slot_name(&options.slot)?;
    let acquisition = lease.take().map_err(|error| explain_lease(&options, error))?;
    let (mut control, server) = Server::open(&options.connect)?;
    control.configure("set synchronous_commit = local")?;
    let tables = check_tables(&mut control, &options)?;
    // One that has streamed goes on with what it has.
    if last.is_none() {
        check_migrations(&mut control)?;
    }
    if let Some(table) = stray_outbox(&mut control, &options.publication, &options.tables)? {
        tracing::warn!(
            %table, publication = options.publication,
            "table is in the publication but not in the configuration: ignoring its events; add `[[outbox]]` with `table = \"outbox.event\"`, or drop the table from the publication"
        );
    }
    let (replication, system) = server.open_replication(&options.connect, &mut control)?;
    let origin = Origin::of(&system, &replication);
    let (server_too, position) = (server.clone(), None);
    let mut opening = Opening { options, control, replication, server: server_too, system, position };
    let begin = opening.begin_at(resume, last, acquisition)?;
    lease.settle();
    let secrets = secrets::read(&mut opening.control, &server, &opening.options.slot)?;
    // Read again: the slot's previous holder may have received, and stored, what was written since the first time.
    let wal_end = identify_system(&mut opening.replication)?.wal_end;
    let noted = opening.position;
    let (stream, start, backfill_end, recovery) = match begin {
        Begin::At { start, backfill_end } => {
            opening.start_replication(start)?;
            (opening.stream(start)?, start, backfill_end, None)
        }
        Begin::Anew(recovery) => {
            let slot = opening.create(interrupt)?;
            let end = slot.consistent_point;
            (opening.backfill(slot, recovery.clone())?, end, Some(end), recovery)
        }
        // The slot's snapshot is gone; a later one shows the same rows and some more, which the stream brings again.
        // They can't be told apart by xmin: a row from before the slot that was updated since has a new one too, and
        // no stream brings it.
        Begin::Again(end, recovery) => {
            let slot = CreatedSlot { consistent_point: end, snapshot: None };
            (opening.backfill(slot, recovery.clone())?, end, Some(end), recovery)
        }
    };
    Ok(Source { stream, server, origin, start, wal_end, noted, backfill_end, recovery, secrets, tables })
}

/// Why the lease could not be requested, if there is a better explanation: the table may be missing with all others,
/// and a standby takes no locks.
fn explain_lease(options: &SourceOptions, error: SourceError) -> SourceError {
    let SourceError::Postgres(refusal) = error else { return error };
    if refusal.is_transient() || refusal.sqlstate().is_none() {
        return refusal.into();
    }
    let look = || {
        let (mut control, server) = Server::open(&options.connect)?;
        check_tables(&mut control, options)?;
        server.identify(&options.connect, &mut control)?;
        relay_state::read(&mut control, &server, &options.slot)?;
        Ok(server)
    };
    match look() {
        Err(found) => found,
        Ok(server) => match refusal::explain_statement(refusal, &server, "use outbox.lease") {
            SourceError::MigrationsMissing { database } => SourceError::MigrationsOutdated { database },
            other => other,
        },
    }
}

/// Checks that the migrations of this walpost were applied.
fn check_migrations(control: &mut Connection) -> Result<(), SourceError> {
    let applied = migrations::read_applied(control)?;
    match migrations::compare(&applied, &migrations::known()) {
        Ok(UpToDate::Newer(migration)) => {
            tracing::warn!(migration, "schema outbox has a migration of a newer walpost: upgrade the relay");
            Ok(())
        }
        // Whoever reads outbox.relay finds that it is missing, and names the database.
        Ok(UpToDate::Unknown | UpToDate::Same(_)) | Err(MigrationGap::NoSchema) => Ok(()),
        Err(gap) => Err(gap.into()),
    }
}

/// Checks that all rows of the outbox tables are streamed and can be read; returns the tables' OIDs.
pub(crate) fn check_tables(control: &mut Connection, options: &SourceOptions) -> Result<Vec<u32>, SourceError> {
    let mut oids = Vec::with_capacity(options.tables.len());
    for table in &options.tables {
        for part in check_publication(control, &options.publication, table, &options.tables)?.archived {
            tracing::warn!(
                table = %table.table,
                partition = %part,
                "partition is not streamed: it is unlogged or foreign, and takes no rows; its existing rows are published by the first start only, later with `walpost replay --from-table`"
            );
        }
        oids.push(check_layout(control, &options.publication, table)?.unwrap_or_default());
    }
    Ok(oids)
}

impl Opening {
    fn start_replication(&mut self, start: Lsn) -> Result<(), SourceError> {
        let command = start_command(&self.server, &self.options.slot, &self.options.publication, start);
        if let Err(error) = self.replication.start_copy_both(&command) {
            return Err(self.explain_start(error));
        }
        // Postgres silently starts at the slot's own position if that is past the requested one.
        let found = inspect_slot(&mut self.control, self.server.version, &self.options.slot)?;
        let confirmed = found.and_then(|slot| slot.confirmed_flush).unwrap_or(start);
        resume::not_past(confirmed, start).map_err(|gap| self.explain(gap, Published::default()))
    }

    fn explain_start(&mut self, error: Error) -> SourceError {
        let concerns_slot = matches!(
            error.sqlstate(),
            Some(sqlstate::OBJECT_IN_USE | sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE | sqlstate::UNDEFINED_OBJECT)
        );
        if !concerns_slot {
            return error.into();
        }
        let slot = self.options.slot.clone();
        match inspect_slot(&mut self.control, self.server.version, &slot) {
            Ok(None) => SourceError::of(Gap::SlotMissing, &slot, Unpublished::default),
            Ok(Some(found)) => match found.check(&slot, &self.server.database) {
                Err(error) => error,
                Ok(_) if error.sqlstate() == Some(sqlstate::OBJECT_IN_USE) => {
                    SourceError::SlotHeld { slot, pid: found.active_pid }
                }
                Ok(_) => error.into(),
            },
            Err(error) => error,
        }
    }

    fn timing(&self) -> Timing {
        let timeout = Duration::from_millis(self.server.wal_sender_timeout_millis.into());
        Timing::new(self.options.status_interval, timeout)
    }

    /// Hands the replication connection, which already streams, to its thread.
    fn stream(self, start: Lsn) -> Result<Stream, SourceError> {
        let (timing, limit) = (self.timing(), self.options.row_limit(&self.server));
        self.control.close();
        let parts = self.replication.into_parts();
        Stream::spawn(start, Interrupt::default(), move |channel| {
            StreamReader::new(parts, channel, timing, limit)?.run()
        })
    }

    /// Hands both connections to the thread: it reads the tables first and then streams.
    fn backfill(self, slot: CreatedSlot, recovery: Option<Recovery>) -> Result<Stream, SourceError> {
        let interrupt = Interrupt::default();
        let start = slot.consistent_point;
        // The snapshot ends with the next command on the replication connection.
        Stream::spawn(start, interrupt.clone(), move |channel| {
            self.backfill_then_stream(&slot, recovery.as_ref(), &interrupt, channel)
        })
    }

    fn backfill_then_stream(
        mut self,
        slot: &CreatedSlot,
        recovery: Option<&Recovery>,
        interrupt: &Interrupt,
        channel: &mut BatchChannel,
    ) -> Result<(), SourceError> {
        let limit = self.options.row_limit(&self.server);
        let SourceOptions { publication, tables, .. } = &self.options;
        let rows = BackfillRows { slot, publication, tables, limit, recovery };
        let rows = backfill::run(&mut self.control, &self.server, &rows, channel, interrupt)?;
        tracing::info!(slot = %self.options.slot, rows, "initial backfill read");
        // From here on the slot is enough to continue, even if the replication connection was lost meanwhile.
        channel.shared.set_backfilled();
        self.start_replication(slot.consistent_point)?;
        let timing = self.timing();
        self.control.close();
        StreamReader::new(self.replication.into_parts(), channel, timing, limit)?.run()
    }
}

/// The command that starts a pgoutput stream from a slot.
pub(crate) fn start_command(server: &Server, slot: &str, publication: &str, start: Lsn) -> Vec<u8> {
    let command = format!(
        "START_REPLICATION SLOT {} LOGICAL {start} (proto_version '1', publication_names {}, binary 'true', messages 'true')",
        quote_identifier(slot),
        option_literal(&quote_identifier(publication)),
    );
    // A name that the database can't encode is not the name of a publication.
    server.text_encoding().encode(&command).map_or_else(|| command.as_bytes().to_vec(), Cow::into_owned)
}

/// A string in a replication command, whose grammar has no backslash escapes: quotes are doubled, and nothing else.
fn option_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
