//! The log: lines for people or JSON for machines, on stderr.
//!
//! - `WALPOST_LOG`, else `RUST_LOG`: a level (`info`, the default) or a filter of tracing-subscriber's
//!   (`walpost::source=debug,info`).
//! - `WALPOST_LOG_FORMAT` or `--log-format`: `text` (default) or `json`.
//!
//! They are no keys of the configuration file, because the log must be there before the file is read.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// Variables that hold the filter, the first that is set.
pub const FILTER_VARIABLES: [&str; 2] = ["WALPOST_LOG", "RUST_LOG"];

/// What is logged where nobody says otherwise.
const FILTER_DEFAULT: &str = "info";

/// Below these, and above what a filter says for everything: other libraries' chatter drowns the relay's own lines. A filter
/// that names one of these targets still has its way.
const QUIET: [&str; 5] = ["librdkafka=warn", "rdkafka=warn", "hyper=warn", "rustls=warn", "sqlx=warn"];

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line for people, in colour on a terminal unless `NO_COLOR` is set.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter is none.
    #[error(
        "\"{filter}\" is not a log filter; write a level such as \"debug\", or targets such as \"walpost=debug,info\""
    )]
    Filter {
        /// The text of the filter.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// There is a log already.
    #[error("set up the log")]
    Init(#[from] TryInitError),
}

/// Sets up the log of this process, with the filter that `environment` looks up under [`FILTER_VARIABLES`].
///
/// # Errors
///
/// The filter can't be parsed, or a log was set up before.
pub fn init_logs(format: LogFormat, environment: impl Fn(&str) -> Option<String>) -> Result<(), LogsError> {
    let given = FILTER_VARIABLES.iter().find_map(|name| environment(name).filter(|text| !text.is_empty()));
    let filter = filter(given.as_deref().unwrap_or(FILTER_DEFAULT))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => {
            let is_coloured = io::stderr().is_terminal() && environment("NO_COLOR").is_none_or(|text| text.is_empty());
            builder.with_ansi(is_coloured).finish().try_init()?;
        }
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).finish().try_init()?,
    }
    Ok(())
}

/// Parses a filter and puts it over the quiet defaults, unless it is quieter than they are.
fn filter(text: &str) -> Result<EnvFilter, LogsError> {
    let of = |whole: &str| {
        EnvFilter::builder().parse(whole).map_err(|source| LogsError::Filter { filter: text.to_owned(), source })
    };
    // By itself first, so that the error is about the user's text.
    let filter = of(text)?;
    if filter.max_level_hint() <= Some(LevelFilter::WARN) {
        return Ok(filter);
    }
    of(&format!("{},{text}", QUIET.join(",")))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic holds it").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(text: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter(text).expect("a filter"))
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!(target: "walpost", "own debug");
            tracing::info!(target: "walpost", "own info");
            tracing::debug!(target: "librdkafka", "broker debug");
            tracing::info!(target: "librdkafka", "broker info");
            tracing::error!(target: "librdkafka", "broker error");
        });
        let bytes = lines.0.lock().expect("no panic holds it").clone();
        let text = String::from_utf8(bytes).expect("lines are UTF-8");
        let ends = text.lines().map(|line| line.rsplit(": ").next().unwrap_or_default());
        ends.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn libraries_are_quiet_unless_they_are_named() {
        assert_eq!(logged("info"), "own info, broker error");
        assert_eq!(logged("debug"), "own debug, own info, broker error");
        assert_eq!(logged("warn,librdkafka=debug"), "broker debug, broker info, broker error");
        assert_eq!(logged("error"), "broker error");
        assert_eq!(logged("off"), "");
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let error = init_logs(LogFormat::Text, |_| Some("walpost=lots".to_owned())).expect_err("no filter");
        assert!(error.to_string().contains("walpost=lots"), "{error}");
    }
}
