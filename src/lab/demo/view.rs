//! Progress on stderr: figures that are updated in place on a terminal, otherwise a few lines.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;

use super::audit::Figures;
use crate::lab::environment::{self, Doing};
use crate::terminal::{grouped, line, style};

/// How often a terminal refreshes the figures.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// Without a terminal: how many lines with figures to write, and their minimum and maximum interval.
const LINES: u32 = 5;
const LINE_LEAST: Duration = Duration::from_secs(2);
const LINE_MOST: Duration = Duration::from_secs(60);
/// Parts of the bar; its width in characters.
const BAR: u64 = 40;

/// Where the demo shows its progress.
#[derive(Debug)]
pub(crate) struct View {
    /// The steps before the load.
    steps: environment::View,
    /// The bar and the figures below it, on a terminal, while the load runs.
    live: Mutex<Option<(ProgressBar, ProgressBar)>>,
    /// How long the demo had run when the figures were last written.
    last: Mutex<Duration>,
}

/// A snapshot of the demo.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) figures: Figures,
    /// Median latency so far, in milliseconds.
    pub(super) p50_millis: Option<u64>,
    /// Since the load began.
    pub(super) elapsed: Duration,
    /// How long the load is to last.
    pub(super) duration: Duration,
    /// What the relay is waiting for.
    pub(super) waits_for: Option<&'static str>,
}

impl View {
    /// Lines that are updated in place if stderr is a terminal, otherwise a few lines.
    #[must_use]
    pub(crate) fn stderr() -> Self {
        Self::on(environment::View::stderr())
    }

    fn on(steps: environment::View) -> Self {
        Self { steps, live: Mutex::default(), last: Mutex::default() }
    }

    pub(super) const fn steps(&self) -> &environment::View {
        &self.steps
    }

    /// Begins a step.
    pub(super) fn doing(&self, what: &str) -> Doing<'_> {
        self.steps.doing(what)
    }

    /// Shows a notice to the user.
    pub(super) fn note(&self, text: &str) {
        self.steps.note(text);
    }

    /// The load begins.
    pub(super) fn load(&self, rate: u32, duration: Duration) {
        if let Some(lines) = self.steps.bars() {
            let bar = lines.add(ProgressBar::new(BAR));
            bar.set_style(style("\n  {bar:40.cyan/dim} {msg}").progress_chars("━━─"));
            let figures = lines.add(ProgressBar::new_spinner());
            figures.set_style(style("  {msg}"));
            *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Some((bar, figures));
        }
        if self.steps.writes_lines() {
            let (rate, seconds) = (grouped(u64::from(rate)), duration.as_secs_f64());
            line(&format!(
                "an order service writes {rate} transactions per second for {seconds} s; Ctrl-C ends it early"
            ));
        }
    }

    /// Shows a snapshot of the demo; called every [`TICK`].
    pub(super) fn show(&self, live: &Live) {
        if let Some((bar, figures)) = self.live.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            let share = live.elapsed.as_secs_f64() / live.duration.as_secs_f64();
            bar.set_position(whole(share.min(1.0) * BAR as f64));
            bar.set_message(live.clock());
            figures.set_message(live.to_string());
        }
        if self.steps.writes_lines() {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let every = (live.duration / LINES).clamp(LINE_LEAST, LINE_MOST);
            if live.elapsed.saturating_sub(*last) >= every {
                *last = live.elapsed;
                line(&format!("{}: {live}", live.clock()));
            }
        }
    }

    /// The figures are final.
    pub(super) fn clear(&self) {
        let bars = self.live.lock().unwrap_or_else(PoisonError::into_inner).take();
        for bar in bars.into_iter().flat_map(|(bar, figures)| [bar, figures]) {
            bar.finish_and_clear();
        }
        self.steps.clear();
    }
}

impl Live {
    fn clock(&self) -> String {
        if self.elapsed < self.duration {
            format!("{:.1} of {} s", self.elapsed.as_secs_f64(), self.duration.as_secs_f64())
        } else {
            "reading the remaining records".to_owned()
        }
    }
}

impl std::fmt::Display for Live {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Figures { committed, read, missing, .. } = self.figures;
        let [committed, read, behind] = [committed, read, missing].map(grouped);
        write!(formatter, "committed {committed}   read {read}   behind {behind}")?;
        if let Some(millis) = self.p50_millis {
            write!(formatter, "   p50 {millis} ms")?;
        }
        if let Some(server) = self.waits_for {
            write!(formatter, "   the relay is waiting for {server}")?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a bar's few parts")]
fn whole(parts: f64) -> u64 {
    parts.round() as u64
}
