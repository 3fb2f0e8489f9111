//! Progress of a replay, on stderr if it is a terminal.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use tokio::task::JoinHandle;

use super::ReplayPlan;
use crate::relay::boundary::Lsn;
use crate::source::Feed;
use crate::telemetry::Telemetry;
use crate::terminal::{counted, grouped, style};

/// Refresh interval of the line.
const TICK: Duration = Duration::from_millis(200);

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplayProgress {
    /// On an updating line of stderr.
    Shown,
    /// Nowhere.
    Silent,
}

/// Progress of one replay.
pub(super) struct Following {
    bar: ProgressBar,
    task: Option<JoinHandle<()>>,
}

impl ReplayProgress {
    /// Progress that is shown if stderr is a terminal.
    #[must_use]
    pub(crate) fn stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::Shown } else { Self::Silent }
    }

    pub(super) fn follow(self, plan: &ReplayPlan, telemetry: Arc<Telemetry>) -> Following {
        if self == Self::Silent {
            return Following { bar: ProgressBar::hidden(), task: None };
        }
        let (bar, from) = match plan.job.feed {
            Feed::Wal(from) => (ProgressBar::new(plan.end.0.saturating_sub(from.0).max(1)), Some(from)),
            Feed::Tables => (ProgressBar::new_spinner(), None),
        };
        let template = match from {
            Some(_) => "  {bar:30.cyan/dim} {percent}% of the WAL, {msg}, {eta} left",
            None => "  {spinner} {msg}",
        };
        bar.set_style(style(template).progress_chars("━━─"));
        let task = tokio::spawn(show(bar.clone(), from, telemetry));
        Following { bar, task: Some(task) }
    }
}

impl Following {
    pub(super) fn end(self) {
        if let Some(task) = self.task {
            task.abort();
        }
        self.bar.finish_and_clear();
    }
}

async fn show(bar: ProgressBar, from: Option<Lsn>, telemetry: Arc<Telemetry>) {
    let started = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let status = telemetry.status(Instant::now());
        let (events, millis) = (status.events, started.elapsed().as_millis().max(1));
        let rate = u64::try_from(u128::from(events) * 1_000 / millis).unwrap_or(u64::MAX);
        bar.set_message(format!("{}, {}/s", counted(events, "event"), grouped(rate)));
        match (from, status.received_lsn.parse::<Lsn>()) {
            (Some(from), Ok(received)) => bar.set_position(received.0.saturating_sub(from.0)),
            _ => bar.tick(),
        }
    }
}
