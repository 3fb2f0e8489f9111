//! Facts about the slot, and how a start would begin with it.

use std::time::{Duration, Instant};

use super::judge::SlotPace;
use crate::driver::IDLE_CONFIRMING;
use crate::postgres::Connection;
use crate::relay::boundary::{Ancestry, Lsn};
use crate::relay::confirm::StreamStart;
use crate::relay::resume::{self, Begun, NotedState, ResumePlan};
use crate::source::{SlotState, SourceError, inspect_slot};

/// Interval between looks at the slot.
const TICK: Duration = Duration::from_millis(200);

/// How a start would begin.
pub(super) fn begun(plan: ResumePlan, server: resume::Server, noted: Option<Lsn>) -> Begun {
    match plan {
        ResumePlan::At { start, .. } => Begun { server, start, noted, first: StreamStart::Continued },
        ResumePlan::BackfillAgain { start } => Begun { server, start, noted, first: StreamStart::FirstRows },
        ResumePlan::MakeAnew { .. } => Begun { server, start: Lsn(0), noted, first: StreamStart::FirstRows },
    }
}

/// The recorded server, used if there is no replication connection to identify this one; nothing more can be checked then.
pub(super) fn as_noted(noted: Option<&NotedState>) -> resume::Server {
    let system_identifier = noted.map(|noted| noted.system_identifier.clone()).unwrap_or_default();
    let timeline = noted.and_then(|noted| noted.timeline).unwrap_or_default();
    resume::Server { system_identifier, timeline, ancestry: Ancestry::default(), wal_end: Lsn::default() }
}

/// Whether an active slot advances or is at the end of the WAL.
pub(super) fn pace(
    control: &mut Connection,
    slot: &str,
    found: &SlotState,
    version: u32,
) -> Result<SlotPace, SourceError> {
    let rows = control.simple_query("select pg_current_wal_lsn()")?;
    let end: Lsn = rows.first().and_then(|row| row.text(0)?.parse().ok()).unwrap_or_default();
    let (since, first) = (Instant::now(), found.confirmed_flush);
    let mut confirmed = first;
    while found.active_pid.is_some() && confirmed < Some(end) && confirmed == first && since.elapsed() < IDLE_CONFIRMING
    {
        std::thread::sleep(TICK);
        confirmed = inspect_slot(control, version, slot)?.and_then(|slot| slot.confirmed_flush);
    }
    Ok(SlotPace { end, moves: confirmed >= Some(end) || confirmed != first })
}
