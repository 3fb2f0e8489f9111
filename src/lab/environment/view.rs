//! Progress on stderr: lines that are updated in place on a terminal, otherwise a few lines.

use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, MultiProgress, ProgressBar};

use crate::lab::sandbox::{Progress, Step};
use crate::terminal::{line, style};

/// How often a spinner turns.
const SPIN: Duration = Duration::from_millis(100);

/// Where progress is shown.
#[derive(Debug)]
pub(crate) struct View(Kind);

#[derive(Debug)]
enum Kind {
    Terminal(Terminal),
    Lines,
    Silent,
}

/// Lines that are updated in place.
#[derive(Debug)]
struct Terminal {
    lines: MultiProgress,
    postgres: ProgressBar,
    kafka: ProgressBar,
}

/// One step of the work. Dropping it removes its line.
#[derive(Debug)]
pub(crate) struct Doing<'a> {
    view: &'a View,
    bar: Option<ProgressBar>,
}

impl View {
    /// Lines that are updated in place if stderr is a terminal, otherwise a few lines.
    #[must_use]
    pub(crate) fn stderr() -> Self {
        if !io::stderr().is_terminal() {
            return Self(Kind::Lines);
        }
        let lines = MultiProgress::new();
        let [postgres, kafka] = ["PostgreSQL", "Kafka"].map(|what| spinner(&lines, what));
        Self(Kind::Terminal(Terminal { lines, postgres, kafka }))
    }

    /// No output.
    #[must_use]
    pub(crate) fn silent() -> Self {
        Self(Kind::Silent)
    }

    /// The terminal's lines, if there is a terminal.
    pub(crate) fn bars(&self) -> Option<&MultiProgress> {
        match &self.0 {
            Kind::Terminal(terminal) => Some(&terminal.lines),
            Kind::Lines | Kind::Silent => None,
        }
    }

    /// Whether the output is a sequence of lines.
    pub(crate) fn writes_lines(&self) -> bool {
        matches!(self.0, Kind::Lines)
    }

    /// Shows how the sandbox sets up its Postgres.
    pub(crate) fn postgres_progress(&self) -> Progress {
        self.progress(|terminal| &terminal.postgres)
    }

    /// Shows how the sandbox sets up its Kafka.
    pub(crate) fn kafka_progress(&self) -> Progress {
        self.progress(|terminal| &terminal.kafka)
    }

    /// A user's Postgres answers.
    pub(crate) fn postgres_ready(&self, name: &str) {
        self.server_ready(|terminal| &terminal.postgres, name);
    }

    /// A user's Kafka answers.
    pub(crate) fn kafka_ready(&self, name: &str) {
        self.server_ready(|terminal| &terminal.kafka, name);
    }

    /// Begins a step.
    pub(crate) fn doing(&self, what: &str) -> Doing<'_> {
        Doing { view: self, bar: self.bars().map(|lines| spinner(lines, what)) }
    }

    /// Begins a step of known size, whose progress [`Doing::reached`] shows.
    pub(crate) fn counting(&self, what: &str, total: u64) -> Doing<'_> {
        let bar = self.bars().map(|lines| {
            let bar = lines.add(ProgressBar::new(total));
            bar.set_style(style("  {bar:30.cyan/dim} {human_pos}/{human_len}  {msg}").progress_chars("━━─"));
            bar.set_message(what.to_owned());
            bar
        });
        Doing { view: self, bar }
    }

    /// Shows a notice to the user.
    pub(crate) fn note(&self, text: &str) {
        match &self.0 {
            Kind::Terminal(terminal) => {
                let line = terminal.lines.add(ProgressBar::new_spinner());
                line.set_style(style("  {prefix:.yellow} {msg}"));
                line.set_prefix("·");
                line.finish_with_message(text.to_owned());
            }
            Kind::Lines => line(text),
            Kind::Silent => {}
        }
    }

    /// Everything is finished.
    pub(crate) fn clear(&self) {
        if let Kind::Terminal(terminal) = &self.0 {
            for server in [&terminal.postgres, &terminal.kafka] {
                // A server that is not ready by now never will be.
                if !server.is_finished() {
                    server.finish_and_clear();
                }
            }
        }
    }

    fn server_ready(&self, bar: impl Fn(&Terminal) -> &ProgressBar, name: &str) {
        match &self.0 {
            Kind::Terminal(terminal) => tick_off(bar(terminal), name),
            Kind::Lines => line(&format!("{name} answers")),
            Kind::Silent => {}
        }
    }

    fn progress(&self, bar: impl Fn(&Terminal) -> &ProgressBar) -> Progress {
        match &self.0 {
            Kind::Terminal(terminal) => {
                let bar = bar(terminal).clone();
                Progress::new(move |step| show_step(&bar, step))
            }
            Kind::Lines => {
                let fetching = Arc::new(Mutex::new(String::new()));
                Progress::new(move |step| write_step(&fetching, step))
            }
            Kind::Silent => Progress::silent(),
        }
    }
}

impl Doing<'_> {
    /// How much of it is done.
    pub(crate) fn reached(&self, count: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(count);
        }
    }

    /// Ends the step with its result.
    pub(crate) fn done(mut self, what: &str) {
        match self.bar.take() {
            Some(bar) => tick_off(&bar, what),
            None if self.view.writes_lines() => line(what),
            None => {}
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

/// A step of the sandbox, on its line of the terminal.
fn show_step(bar: &ProgressBar, step: Step<'_>) {
    match step {
        Step::Fetching { what, done_bytes, total_bytes } => {
            let of = total_bytes.map(|total| format!(" of {}", HumanBytes(total))).unwrap_or_default();
            bar.set_message(format!("downloading {what} (first use): {}{of}", HumanBytes(done_bytes)));
        }
        Step::Starting { what } => bar.set_message(format!("starting {what}")),
        Step::Ready { what } => tick_off(bar, what),
    }
}

/// A step of the sandbox, as a new line unless it was written before.
fn write_step(fetching: &Mutex<String>, step: Step<'_>) {
    match step {
        Step::Fetching { what, .. } => {
            let mut fetching = fetching.lock().unwrap_or_else(PoisonError::into_inner);
            if *fetching != what {
                what.clone_into(&mut fetching);
                line(&format!("downloading {what} (first use)"));
            }
        }
        Step::Starting { .. } => {}
        Step::Ready { what } => line(&format!("{what} is ready")),
    }
}

fn spinner(lines: &MultiProgress, message: &str) -> ProgressBar {
    // Added before it is drawn: a separate bar would draw a line that nobody removes.
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
