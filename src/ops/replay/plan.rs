//! Plans a replay: where it starts and ends, and which slot holds that range.

use super::{ReplayError, ReplayOrigin, ReplayRequest};
use crate::config::Config;
use crate::driver::Job;
use crate::positions::moment;
use crate::positions::{BookmarkError, bookmark};
use crate::postgres::Connection;
use crate::relay::boundary::{Lsn, Position, Timestamp};
use crate::relay::replay::{Clock, Replay, ReplaySelection};
use crate::source::{Feed, Held, OutboxTable, Server, SourceError, held, holder, order_without_time};

/// A replay that can start.
#[derive(Clone, Debug)]
pub(crate) struct ReplayPlan {
    pub(crate) job: Job,
    /// The LSN of the last commit record to read.
    pub end: Lsn,
    /// The slot to copy.
    pub held_by: Option<Held>,
    pub(super) is_dry_run: bool,
}

/// Resolves start and end with the database. Blocking.
///
/// # Errors
/// [`ReplayError`]; [`SourceError::NotHeld`] if no slot holds the position.
pub(crate) fn plan(config: &Config, wanted: &ReplayRequest) -> Result<ReplayPlan, ReplayError> {
    // Every event would become a dead letter.
    if let Some(topic) = &wanted.topic
        && let Err(forbidden) = config.relay.destinations().check(topic)
    {
        return Err(ReplayError::Topic { reason: forbidden.reason(topic) });
    }
    let (mut control, server) = Server::open(&config.postgres.connect)?;
    let end = mark_end(&mut control)?;
    let mut time = |text: &Option<String>| text.as_deref().map(|text| moment::parse(&mut control, text)).transpose();
    let (since, until) = (time(&wanted.since)?, time(&wanted.until)?);
    let selection = ReplaySelection {
        since,
        until,
        schemas: wanted.schemas.clone(),
        keys: wanted.keys.clone(),
        ..ReplaySelection::default()
    };
    let plan = if wanted.origin == ReplayOrigin::Tables {
        of_tables(&mut control, config, wanted, selection)
    } else {
        let from = begin(&mut control, &server, config, wanted, since)?;
        of_wal(&mut control, wanted, ReplaySelection { from, ..selection }, end)
    };
    control.close();
    plan
}

fn of_tables(
    control: &mut Connection,
    config: &Config,
    wanted: &ReplayRequest,
    selection: ReplaySelection,
) -> Result<ReplayPlan, ReplayError> {
    if selection.since.or(selection.until).is_some() {
        for outbox in &config.outboxes {
            let table = OutboxTable::of(outbox);
            if order_without_time(control, &config.postgres.publication, &table)?.is_some() {
                return Err(ReplayError::Timeless { table: format!("{}.{}", outbox.namespace, outbox.table) });
            }
        }
    }
    let replay = replay(wanted, selection, Clock::Created);
    let job = Job { replay, feed: Feed::Tables };
    Ok(ReplayPlan { job, end: Lsn(0), held_by: None, is_dry_run: wanted.is_dry_run })
}

fn of_wal(
    control: &mut Connection,
    wanted: &ReplayRequest,
    selection: ReplaySelection,
    log_end: Lsn,
) -> Result<ReplayPlan, ReplayError> {
    let from = selection.from;
    if from.commit > log_end {
        return Err(BookmarkError::Ahead { wanted: from.commit, end: log_end }.into());
    }
    // Commits whose record is before the end of the WAL.
    let last = Lsn(log_end.0.saturating_sub(1));
    let to = wanted.to.map_or(last, |to| to.min(last));
    if to < from.commit && wanted.to.is_some() {
        return Err(ReplayError::Backwards { from, to });
    }
    let held_by = holder(&held(control)?, from.commit)?.clone();
    let replay = replay(wanted, ReplaySelection { to, ..selection }, Clock::Committed);
    let job = Job { replay, feed: Feed::Wal(from.commit) };
    Ok(ReplayPlan { job, end: to, held_by: Some(held_by), is_dry_run: wanted.is_dry_run })
}

fn replay(wanted: &ReplayRequest, selection: ReplaySelection, clock: Clock) -> Replay {
    Replay { id: wanted.id.clone(), topic: wanted.topic.clone(), selection, clock }
}

/// The end of the WAL; also writes a message after it that a walsender has to send.
fn mark_end(control: &mut Connection) -> Result<Lsn, SourceError> {
    let rows = control.simple_query("select pg_current_wal_flush_lsn()")?;
    let end = rows.first().and_then(|row| row.text(0)).and_then(|lsn| lsn.parse().ok());
    // The flush LSN may be inside a record, which the walsender does not send.
    control.configure("set synchronous_commit = 'local'")?;
    control.simple_query("select pg_logical_emit_message(true, 'walpost', 'the end of a replay')")?;
    end.ok_or(SourceError::Answer { question: "where its log ends" })
}

/// The first position.
fn begin(
    control: &mut Connection,
    server: &Server,
    config: &Config,
    wanted: &ReplayRequest,
    since: Option<Timestamp>,
) -> Result<Position, ReplayError> {
    let first_of = |commit| Position { commit, ordinal: 1 };
    match (&wanted.origin, since) {
        (ReplayOrigin::Position(position), _) => Ok(*position),
        (ReplayOrigin::Bookmark(name), _) => {
            let slot = config.postgres.slot.as_str();
            let found = bookmark::find(control, server, slot, name)?;
            let bookmark::Bookmark { slot, wal_status, .. } = found;
            found.position.map(first_of).ok_or_else(|| ReplayError::Lost { name: name.clone(), slot, wal_status })
        }
        (ReplayOrigin::Since, Some(since)) => {
            let system = server.identify(&config.postgres.connect, control)?;
            let moment = moment::at_or_before(control, server, &system.identifier, since)?;
            let Some(moment) = moment else {
                let oldest = moment::from(control, server, &system.identifier, Lsn(0))?.map(|moment| moment.at);
                return Err(BookmarkError::TimeUnknown { wanted: since, oldest }.into());
            };
            Ok(first_of(moment.lsn))
        }
        (ReplayOrigin::Since | ReplayOrigin::Tables, _) => Ok(Position::default()),
    }
}
