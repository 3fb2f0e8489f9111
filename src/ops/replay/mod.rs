//! `walpost replay`: publishing again, beside the running relay and without disturbing it.
//!
//! ```text
//!   plan: where from, where to ----> driver: a core of its own ----> the ordinary sink ----> Kafka
//!   (a position, a bookmark, a time)    ^ stream of a temporary copy of whichever slot holds the position, or the tables
//! ```
//!
//! The records are those of the first time, in their order and with their headers, positions and timestamps, and one header more,
//! `outbox-replay`. What is left out is left out behind the decoder, by the core ([`crate::relay::replay`]). The copy ends with its
//! connection; no slot, no row and no transactional id of a relay is touched, whatever becomes of the replay.
//!
//! It ends by itself: where the log ended when it began, at the latest. A transaction of one logical message, which no relay takes for
//! an event, is written behind that end, so that the walsender has something to send past it, also from a server that is idle else.

mod error;
mod plan;
mod progress;
mod rehearsal;
mod report;

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

pub use error::ReplayError;
pub use plan::{Plan, plan};
pub use progress::Progress;
pub use report::{Report, Seen};

use crate::config::Config;
use crate::driver;
use crate::relay::boundary::{Lsn, Position, RefusalCode};
use crate::telemetry::{Identity, Telemetry};

/// What is published again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Where it begins.
    pub origin: Origin,
    /// The earliest time, as it was written.
    pub since: Option<String>,
    /// The last commit, by the LSN of its record.
    pub to: Option<Lsn>,
    /// The latest time, as it was written.
    pub until: Option<String>,
    /// Names of schemas; none: all.
    pub schemas: Vec<String>,
    /// Keys; none: all.
    pub keys: Vec<String>,
    /// The topic for everything, in place of each event's own.
    pub topic: Option<String>,
    /// The id, header `outbox-replay`.
    pub id: String,
    /// Nothing goes to Kafka.
    pub is_dry_run: bool,
}

/// Where a replay begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// At a position.
    Position(Position),
    /// At a bookmark.
    Bookmark(String),
    /// At the position of [`Wanted::since`].
    #[default]
    Since,
    /// With the tables.
    Tables,
}

/// Publishes again what was planned, until it is done or `shutdown`, in which case what is in flight is waited for.
///
/// # Errors
/// [`ReplayError::Fault`]: it did not begin. How it ended, once it had begun, is in the report.
pub async fn run(
    config: &Config,
    plan: &Plan,
    progress: &Progress,
    shutdown: CancellationToken,
) -> Result<Report, ReplayError> {
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
    let letters = RefusalCode::ALL.iter().zip(end.counters.dead_letters).filter(|(_, count)| *count > 0);
    Ok(Report {
        id: plan.job.replay.id.clone(),
        is_dry_run: plan.is_dry_run,
        is_complete: end.replayed.is_complete && end.outcome.is_ok(),
        from: plan.job.replay.selection.from,
        to: plan.end,
        since: plan.job.replay.selection.since,
        until: plan.job.replay.selection.until,
        held_by: plan.held_by.clone(),
        events: end.counters.acknowledged,
        dead_letters: letters.map(|(code, count)| (code.to_string(), count)).collect(),
        left_out: end.replayed.left_out,
        first: end.replayed.first.map(Seen::from),
        last: end.replayed.last.clone().map(Seen::from),
        seconds: started.elapsed().as_secs_f64(),
        unfinished: end.unfinished.max(plan.job.replay.selection.from),
        last_at: end.replayed.last.map(|last| last.at),
        fault: end.outcome.err(),
    })
}
