//! The stream of a replay: from a temporary copy of a slot that still holds the position, or from the tables. Nothing
//! here touches a relay's slot or state.

use super::handle::Stream;
use super::open::{Source, check_tables, start_command};
use super::reader::{StreamReader, Timing};
use crate::postgres::{Connection, Interrupt};
use crate::relay::boundary::Lsn;
use crate::relay::confirm::Resume;
use crate::source::boundary::gap_report::Unpublished;
use crate::source::detached::detached;
use crate::source::error::SourceError;
use crate::source::opening::SourceOptions;
use crate::source::origin::Origin;
use crate::source::server::identity::Server;
use crate::source::slot::inspect::CreatedSlot;
use crate::source::slot::slot_copy::copy_holder;
use crate::source::snapshot::backfill::{self, BackfillRows};
use crate::source::state::secrets;

/// The end of the synthetic transaction that contains all rows of the tables: before everything in the WAL.
pub(crate) const TABLES_END: Lsn = Lsn(1);

/// What a replay reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feed {
    /// The WAL, from this position on.
    Wal(Lsn),
    /// The outbox tables.
    Tables,
}

/// Connects, copies a slot that holds the position of the feed, or of `resume` if that is later, and streams from the
/// copy, which ends with the stream. Or reads the tables, as one transaction at position 0/0.
///
/// # Errors
/// [`SourceError`], as [`crate::source::connect`]; [`SourceError::NotHeld`].
pub(crate) async fn connect_replay(
    options: &SourceOptions,
    feed: Feed,
    resume: Option<Resume>,
    last: Option<&Origin>,
) -> Result<Source, SourceError> {
    let (options, last) = (options.clone(), last.cloned());
    detached(move |_| open(options, feed, resume, last.as_ref())).await
}

fn open(
    options: SourceOptions,
    feed: Feed,
    resume: Option<Resume>,
    last: Option<&Origin>,
) -> Result<Source, SourceError> {
    let (mut control, server) = Server::open(&options.connect)?;
    let (replication, system) = server.open_replication(&options.connect, &mut control)?;
    crate::relay::resume::same_server(&system.facts(), last.map(Origin::streamed).as_ref(), None)
        .map_err(|gap| SourceError::of(gap, &options.slot, Unpublished::default))?;
    let wal_end = system.wal_end;
    let origin = Origin::of(&system, &replication);
    let secrets = secrets::read(&mut control, &server, &options.slot)?;
    let mut tables = Vec::new();
    let (start, stream) = match feed {
        Feed::Wal(from) => {
            tables = check_tables(&mut control, &options)?;
            let start = resume.map_or(from, |resume| resume.lsn().max(from));
            (start, stream_wal(&options, &server, control, replication, start)?)
        }
        Feed::Tables => {
            replication.close();
            (Lsn(0), stream_tables(options, server.clone(), control)?)
        }
    };
    Ok(Source {
        stream,
        server,
        origin,
        start,
        wal_end,
        noted: None,
        backfill_end: None,
        recovery: None,
        secrets,
        tables,
    })
}

fn stream_wal(
    options: &SourceOptions,
    server: &Server,
    mut control: Connection,
    mut replication: Connection,
    start: Lsn,
) -> Result<Stream, SourceError> {
    // The copy belongs to this session; no other live session has its process id.
    let name = format!("walpost_replay_{}", replication.process_id());
    let held = copy_holder(&mut control, Some(&mut replication), start, &name)?;
    tracing::info!(slot = %held.slot, from = %held.from, lsn = %start, "streaming from a copy of the slot");
    replication.start_copy_both(&start_command(server, &name, &options.publication, start))?;
    control.close();
    let timeout = std::time::Duration::from_millis(server.wal_sender_timeout_millis.into());
    let timing = Timing::new(options.status_interval, timeout);
    let (parts, limit) = (replication.into_parts(), options.row_limit(server));
    Stream::spawn(start, Interrupt::default(), move |channel| StreamReader::new(parts, channel, timing, limit)?.run())
}

fn stream_tables(options: SourceOptions, server: Server, mut control: Connection) -> Result<Stream, SourceError> {
    let interrupt = Interrupt::default();
    Stream::spawn(Lsn(0), interrupt.clone(), move |channel| {
        let made_up = CreatedSlot { consistent_point: TABLES_END, snapshot: None };
        let SourceOptions { publication, tables, .. } = &options;
        let limit = options.row_limit(&server);
        let rows = BackfillRows { slot: &made_up, publication, tables, limit, recovery: None };
        let rows = backfill::run(&mut control, &server, &rows, channel, &interrupt)?;
        tracing::info!(rows, "outbox tables read");
        control.close();
        Ok(())
    })
}
