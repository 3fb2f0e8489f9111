//! What is shown while the demo runs, on stderr: lines that change on a terminal, a few calm ones elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

use super::audit::Figures;
use super::report::grouped;
use crate::sandbox::{Progress, Step};

/// How often a terminal shows the figures anew.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// How many lines with the figures are written where there is no terminal, and how far apart they are at least and at most.
const LINES: u32 = 5;
const LINE_LEAST: Duration = Duration::from_secs(2);
const LINE_MOST: Duration = Duration::from_secs(60);
/// How often a spinner turns.
const SPIN: Duration = Duration::from_millis(100);
/// Parts of the bar; its width in characters.
const BAR: u64 = 40;

/// Where the demo's progress is shown.
#[derive(Debug)]
pub struct View(Kind);

#[derive(Debug)]
enum Kind {
    Terminal(Terminal),
    Lines(Lines),
    Silent,
}

/// Lines that change.
#[derive(Debug)]
struct Terminal {
    lines: MultiProgress,
    postgres: ProgressBar,
    kafka: ProgressBar,
    /// The bar and the figures below it, while there are any.
    live: Mutex<Option<(ProgressBar, ProgressBar)>>,
}

/// Lines that stay.
#[derive(Debug, Default)]
struct Lines {
    /// How long the demo had run when the figures were last written.
    last: Mutex<Duration>,
}

/// The demo at a moment.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) figures: Figures,
    /// Median latency so far, in milliseconds.
    pub(super) p50_millis: Option<u64>,
    /// Since the load began.
    pub(super) elapsed: Duration,
    /// How long the load is to last.
    pub(super) duration: Duration,
    /// What the relay waits for.
    pub(super) waits_for: Option<&'static str>,
}

/// One step on the way to the load. Dropping it removes its line.
#[derive(Debug)]
pub(super) struct Doing<'a> {
    view: &'a View,
    bar: Option<ProgressBar>,
}

impl View {
    /// Lines that change if stderr is a terminal, else a few that stay.
    #[must_use]
    pub fn stderr() -> Self {
        if !io::stderr().is_terminal() {
            return Self(Kind::Lines(Lines::default()));
        }
        let lines = MultiProgress::new();
        let [postgres, kafka] = ["PostgreSQL", "Kafka"].map(|what| spinner(&lines, what));
        Self(Kind::Terminal(Terminal { lines, postgres, kafka, live: Mutex::default() }))
    }

    /// Nothing at all.
    #[must_use]
    pub fn silent() -> Self {
        Self(Kind::Silent)
    }

    /// Shows how the sandbox comes by its Postgres.
    pub(super) fn postgres_progress(&self) -> Progress {
        self.progress(|terminal| &terminal.postgres)
    }

    /// Shows how the sandbox comes by its Kafka.
    pub(super) fn kafka_progress(&self) -> Progress {
        self.progress(|terminal| &terminal.kafka)
    }

    /// A Postgres of the user's answers.
    pub(super) fn postgres_ready(&self, name: &str) {
        self.server_ready(|terminal| &terminal.postgres, name);
    }

    /// A Kafka of the user's answers.
    pub(super) fn kafka_ready(&self, name: &str) {
        self.server_ready(|terminal| &terminal.kafka, name);
    }

    /// Begins a step.
    pub(super) fn doing(&self, what: &str) -> Doing<'_> {
        let bar = match &self.0 {
            Kind::Terminal(terminal) => Some(spinner(&terminal.lines, what)),
            Kind::Lines(_) | Kind::Silent => None,
        };
        Doing { view: self, bar }
    }

    /// Something that the user should know.
    pub(super) fn note(&self, text: &str) {
        match &self.0 {
            Kind::Terminal(terminal) => {
                let line = terminal.lines.add(ProgressBar::new_spinner());
                line.set_style(style("  {prefix:.yellow} {msg}"));
                line.set_prefix("·");
                line.finish_with_message(text.to_owned());
            }
            Kind::Lines(_) => line(text),
            Kind::Silent => {}
        }
    }

    /// The load begins.
    pub(super) fn load(&self, rate: u32, duration: Duration) {
        let text = format!(
            "an order service writes {} transactions a second for {} s",
            grouped(u64::from(rate)),
            duration.as_secs_f64()
        );
        match &self.0 {
            Kind::Terminal(terminal) => {
                let bar = terminal.lines.add(ProgressBar::new(BAR));
                bar.set_style(style("\n  {bar:40.cyan/dim} {msg}").progress_chars("━━─"));
                let figures = terminal.lines.add(ProgressBar::new_spinner());
                figures.set_style(style("  {msg}"));
                *terminal.live.lock().unwrap_or_else(PoisonError::into_inner) = Some((bar, figures));
            }
            Kind::Lines(_) => line(&format!("{text}; the first Ctrl-C ends it early")),
            Kind::Silent => {}
        }
    }

    /// Shows the demo at a moment; called every [`TICK`].
    pub(super) fn show(&self, live: &Live) {
        match &self.0 {
            Kind::Terminal(terminal) => {
                let bars = terminal.live.lock().unwrap_or_else(PoisonError::into_inner);
                let Some((bar, figures)) = bars.as_ref() else { return };
                let share = live.elapsed.as_secs_f64() / live.duration.as_secs_f64();
                bar.set_position(whole(share.min(1.0) * BAR as f64));
                bar.set_message(live.clock());
                figures.set_message(live.to_string());
            }
            Kind::Lines(lines) => {
                let mut last = lines.last.lock().unwrap_or_else(PoisonError::into_inner);
                let every = (live.duration / LINES).clamp(LINE_LEAST, LINE_MOST);
                if live.elapsed.saturating_sub(*last) >= every {
                    *last = live.elapsed;
                    line(&format!("{}: {live}", live.clock()));
                }
            }
            Kind::Silent => {}
        }
    }

    /// The figures have been shown for the last time.
    pub(super) fn clear(&self) {
        if let Kind::Terminal(terminal) = &self.0 {
            let bars = terminal.live.lock().unwrap_or_else(PoisonError::into_inner).take();
            for bar in bars.into_iter().flat_map(|(bar, figures)| [bar, figures]) {
                bar.finish_and_clear();
            }
            for server in [&terminal.postgres, &terminal.kafka] {
                // One that is not ready when all is over never will be.
                if !server.is_finished() {
                    server.finish_and_clear();
                }
            }
        }
    }

    fn server_ready(&self, bar: impl Fn(&Terminal) -> &ProgressBar, name: &str) {
        match &self.0 {
            Kind::Terminal(terminal) => tick_off(bar(terminal), name),
            Kind::Lines(_) => line(&format!("{name} answers")),
            Kind::Silent => {}
        }
    }

    fn progress(&self, bar: impl Fn(&Terminal) -> &ProgressBar) -> Progress {
        match &self.0 {
            Kind::Terminal(terminal) => {
                let bar = bar(terminal).clone();
                Progress::new(move |step| show_step(&bar, step))
            }
            Kind::Lines(_) => {
                let fetching = Arc::new(Mutex::new(String::new()));
                Progress::new(move |step| write_step(&fetching, step))
            }
            Kind::Silent => Progress::silent(),
        }
    }
}

impl Doing<'_> {
    /// The step is done; this is what came of it.
    pub(super) fn done(mut self, what: &str) {
        match (self.bar.take(), &self.view.0) {
            (Some(bar), _) => tick_off(&bar, what),
            (None, Kind::Lines(_)) => line(what),
            (None, Kind::Terminal(_) | Kind::Silent) => {}
        }
    }
}

impl Drop for Doing<'_> {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Live {
    fn clock(&self) -> String {
        if self.elapsed < self.duration {
            format!("{:.1} of {} s", self.elapsed.as_secs_f64(), self.duration.as_secs_f64())
        } else {
            "reading the last ones".to_owned()
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
            write!(formatter, "   the relay waits for {server}")?;
        }
        Ok(())
    }
}

/// One step of the sandbox, on its line of the terminal.
fn show_step(bar: &ProgressBar, step: Step<'_>) {
    match step {
        Step::Fetching { what, done_bytes, total_bytes } => {
            let of = total_bytes.map(|total| format!(" of {}", HumanBytes(total))).unwrap_or_default();
            bar.set_message(format!("fetching {what}, once: {}{of}", HumanBytes(done_bytes)));
        }
        Step::Starting { what } => bar.set_message(format!("starting {what}")),
        Step::Ready { what } => tick_off(bar, what),
    }
}

/// One step of the sandbox, as a line of its own if it is new.
fn write_step(fetching: &Mutex<String>, step: Step<'_>) {
    match step {
        Step::Fetching { what, .. } => {
            let mut fetching = fetching.lock().unwrap_or_else(PoisonError::into_inner);
            if *fetching != what {
                what.clone_into(&mut fetching);
                line(&format!("fetching {what}, once"));
            }
        }
        Step::Starting { .. } => {}
        Step::Ready { what } => line(&format!("{what} is ready")),
    }
}

fn spinner(lines: &MultiProgress, message: &str) -> ProgressBar {
    // Added before it is drawn: a bar that is by itself draws a line that nobody removes.
    let bar = lines.add(ProgressBar::new_spinner());
    bar.set_style(style("  {spinner:.cyan} {msg}").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
    bar.set_message(message.to_owned());
    bar.enable_steady_tick(SPIN);
    bar
}

fn tick_off(bar: &ProgressBar, message: &str) {
    bar.set_style(style("  {prefix:.green} {msg}"));
    bar.set_prefix("✓");
    bar.finish_with_message(message.to_owned());
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates here are well formed")
}

fn line(text: &str) {
    // A reader who has gone away misses nothing that matters.
    let _ = writeln!(io::stderr(), "{text}");
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a bar's few parts")]
fn whole(parts: f64) -> u64 {
    parts.round() as u64
}
