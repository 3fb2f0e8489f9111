//! `walpost replay`: publishes events again without disturbing the running relay.
//!
//! ```text
//!   plan: start and end ----> driver with its own core ----> the ordinary sink ----> Kafka
//!   (position, bookmark, time)   ^ stream of a temporary copy of a slot that holds the position, or the tables
//! ```
//!
//! Records have the same order, headers, positions and timestamps as the first time, plus the header `outbox-replay`. The core selects
//! events after decoding ([`crate::relay::replay`]). The temporary slot is dropped with its connection. However a replay ends, it does not
//! touch the relay's slot, rows or transactional id.
//!
//! A replay ends at the latest where the WAL ended when it started. A logical message that no relay takes for an event is written
//! after that end, so that the walsender has something to send past it even on an idle server.

mod plan;
mod rehearsal;
mod progress;
mod report;
mod error;

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

pub(crate) use error::ReplayError;
pub(crate) use plan::{ReplayPlan, plan};
pub(crate) use progress::ReplayProgress;
pub(crate) use report::{ReplayReport, SeenEvent};

use crate::config::Config;
use crate::driver;
use crate::relay::boundary::{Lsn, Position, RefusalCode};
use crate::telemetry::{Identity, Telemetry};

/// What to replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReplayRequest {
    /// Where to start.
    pub origin: ReplayOrigin,
    /// The earliest commit time, unparsed.
    pub since: Option<String>,
    /// The LSN of the last commit record to read.
    pub to: Option<Lsn>,
    /// The latest commit time, unparsed.
    pub until: Option<String>,
    /// Schema names; empty: all.
    pub schemas: Vec<String>,
    /// Keys; empty: all.
    pub keys: Vec<String>,
    /// The topic for all events, instead of each event's own.
    pub topic: Option<String>,
    /// The replay's id, header `outbox-replay`.
    pub id: String,
    /// Count only; publish nothing.
    pub is_dry_run: bool,
}

/// Where a replay starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReplayOrigin {
    Position(Position),
    Bookmark(String),
    /// At the position of [`ReplayRequest::since`].
    #[default]
    Since,
    /// At the oldest row of the outbox tables.
    Tables,
}

/// Runs a planned replay to its end or until `shutdown`; then it waits for records in flight.
///
/// # Errors
/// [`ReplayError::Fault`] if it did not start. The report says how a started replay ended.
pub(crate) async fn run(
    config: &Config,
    plan: &ReplayPlan,
    progress: &ReplayProgress,
    shutdown: CancellationToken,
) -> Result<ReplayReport, ReplayError> {
    let telemetry = Arc::new(Telemetry::new(Identity::of(config), Instant::now()));
    let started = Instant::now();
    let shown = progress.follow(plan, Arc::clone(&telemetry));
    let job = plan.job.clone();
    let ended = if plan.is_dry_run {
        Ok(driver::rehearse(rehearsal::Rehearsal::default(), config, job, &telemetry, shutdown).await)
    } else {
        driver::replay(config, job, &telemetry, shutdown).await
    };
    shown.end();
    let end = ended?;
    let dead_letters = RefusalCode::ALL.iter().zip(end.counters.dead_letters).filter(|(_, count)| *count > 0);
    Ok(ReplayReport {
        id: plan.job.replay.id.clone(),
        is_dry_run: plan.is_dry_run,
        is_complete: end.replayed.is_complete && end.outcome.is_ok(),
        from: plan.job.replay.selection.from,
        to: plan.end,
        since: plan.job.replay.selection.since,
        until: plan.job.replay.selection.until,
        held_by: plan.held_by.clone(),
        events: end.counters.acknowledged,
        dead_letters: dead_letters.map(|(code, count)| (code.to_string(), count)).collect(),
        left_out: end.replayed.left_out,
        first: end.replayed.first.map(SeenEvent::from),
        last: end.replayed.last.clone().map(SeenEvent::from),
        seconds: started.elapsed().as_secs_f64(),
        unfinished: end.unfinished.max(plan.job.replay.selection.from),
        last_at: end.replayed.last.map(|last| last.at),
        fault: end.outcome.err(),
    })
}
