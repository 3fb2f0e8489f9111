//! The log: lines for people or JSON for machines, on stderr.
//!
//! - `WALPOST_LOG`, otherwise `RUST_LOG`: a level (`info`, the default) or a tracing-subscriber filter
//!   (`walpost::source=debug,info`).
//! - `WALPOST_LOG_FORMAT` or `--log-format`: `text` (default) or `json`.
//!
//! They are not keys of the configuration file, because the log must exist before the file is read.
//!
//! An event is one line in either format, without any character that a terminal interprets as a command: names and
//! errors come from writers, servers and files.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::nearest::nearest;
use crate::terminal::{Colour, is_command, visible};

/// Variables that hold the filter; the first one that is set counts.
pub(crate) const FILTER_VARIABLES: [&str; 2] = ["WALPOST_LOG", "RUST_LOG"];

/// The default level.
const FILTER_DEFAULT: &str = "info";

/// Levels for other libraries, below these and on top of a filter's general level: their chatter drowns the relay's
/// own lines. A filter that names one of these targets still applies.
const QUIET: [&str; 5] = ["librdkafka=warn", "rdkafka=warn", "hyper=warn", "rustls=warn", "sqlx=warn"];

/// The levels, and the word for no lines.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// This program's own targets.
const TARGETS: [&str; 2] = ["walpost", "walpost_producer"];

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
pub(crate) enum LogsError {
    /// The filter is invalid.
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
    /// A word that is neither a level nor a target of this program.
    #[error("unknown level \"{word}\"; {}", meant(word))]
    Level { word: String },
    /// A log already exists.
    #[error("set up the log")]
    Init(#[from] TryInitError),
}

/// Sets up the log of this process, with the filter that `environment` returns for [`FILTER_VARIABLES`].
///
/// # Errors
///
/// The filter can't be parsed, or a log was set up before.
pub(crate) fn init_logs(format: LogFormat, environment: impl Fn(&str) -> Option<String>) -> Result<(), LogsError> {
    let given = FILTER_VARIABLES.iter().find_map(|name| environment(name).filter(|text| !text.is_empty()));
    let filter = filter(given.as_deref().unwrap_or(FILTER_DEFAULT))?;
    let is_coloured = io::stderr().is_terminal() && environment("NO_COLOR").is_none_or(|text| text.is_empty());
    let form = match format {
        LogFormat::Text if is_coloured => Form::Colours,
        LogFormat::Text => Form::Text,
        LogFormat::Json => Form::Json,
    };
    // The formatter's own colours could not be told from those in a name.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    let builder = builder.with_writer(move || Lines { out: io::stderr(), form });
    match format {
        LogFormat::Text => builder.finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).finish().try_init()?,
    }
    Ok(())
}

/// Writes an error to a log in JSON, whatever its filter and even if it could not be set up. If it ends the command, with the exit
/// code, and whether to retry where the code leaves that open.
pub(crate) fn fatal(report: &str, exit_code: Option<u8>, retry: Option<bool>) {
    let lines = || Lines { out: io::stderr(), form: Form::Json };
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false).with_writer(lines);
    tracing::subscriber::with_default(subscriber.finish(), || tracing::error!(exit_code, retry, "{report}"));
}

/// What an unknown level may have meant.
fn meant(word: &str) -> String {
    match nearest(word, LEVELS) {
        Some(level) => format!("did you mean {level}?"),
        None => format!("write one of {}, or a target with its level such as \"walpost=debug\"", LEVELS.join(", ")),
    }
}

/// The directive without a level that is no target of this program: a misspelt level, which as a target would select no line.
fn misspelt(text: &str) -> Option<&str> {
    // Fields of spans may contain commas.
    let is_plain = !text.contains('[');
    let is_known = |word: &str| {
        let target = word.split("::").next().unwrap_or(word);
        let quiet = |directive: &&str| directive.split_once('=').is_some_and(|(name, _)| name == target);
        word.parse::<LevelFilter>().is_ok() || TARGETS.contains(&target) || QUIET.iter().any(quiet)
    };
    let mut words = text.split(',').map(str::trim).filter(|word| !word.is_empty() && !word.contains('='));
    words.find(|word| is_plain && !is_known(word))
}

/// Parses a filter and puts it on top of the quiet defaults, unless it is quieter than they are.
fn filter(text: &str) -> Result<EnvFilter, LogsError> {
    let of = |whole: &str| {
        EnvFilter::builder().parse(whole).map_err(|source| LogsError::Filter { filter: text.to_owned(), source })
    };
    if let Some(word) = misspelt(text) {
        return Err(LogsError::Level { word: word.to_owned() });
    }
    // By itself first, so that the error is about the user's text.
    let filter = of(text)?;
    if filter.max_level_hint() <= Some(LevelFilter::WARN) {
        return Ok(filter);
    }
    of(&format!("{},{text}", QUIET.join(",")))
}

/// The output format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    /// Text with time and level in colour.
    Colours,
    /// A JSON object.
    Json,
}

/// Writes each event as one line.
struct Lines<W> {
    out: W,
    form: Form,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The formatter passes on one event at a time, with its line feed.
        let event = String::from_utf8_lossy(bytes);
        let line = event.strip_suffix('\n').unwrap_or(&event);
        let line = match self.form {
            Form::Text => visible(line),
            Form::Colours => painted(&visible(line)).into(),
            Form::Json => visible_json(line),
        };
        self.out.write_all(format!("{line}\n").as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A line, which starts with time and level, with both in colour.
fn painted(line: &str) -> String {
    const LEVELS: [(&str, u8); 5] = [
        ("ERROR ", Colour::RED),
        (" WARN ", Colour::YELLOW),
        (" INFO ", Colour::GREEN),
        ("DEBUG ", Colour::BLUE),
        ("TRACE ", Colour::DIM),
    ];
    let Some((time, rest)) = line.split_once(' ') else { return line.to_owned() };
    let level = LEVELS.iter().find(|(level, _)| rest.starts_with(level));
    let Some((level, code)) = level else { return line.to_owned() };
    let (time, coloured) = (Colour::On.paint(Colour::DIM, time), Colour::On.paint(*code, level));
    format!("{time} {coloured}{}", &rest[level.len()..])
}

/// The same JSON: a control character can only be in a string, where it has an escape.
fn visible_json(line: &str) -> Cow<'_, str> {
    if !line.contains(is_command) {
        return Cow::Borrowed(line);
    }
    let mut json = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        match is_command(c) {
            // Each is in the basic multilingual plane. Writing to a string does not fail.
            true => drop(write!(json, "\\u{:04x}", u32::from(c))),
            false => json.push(c),
        }
    }
    Cow::Owned(json)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic holds it").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(text: &str) -> String {
        let lines = Written::default();
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
    fn an_invalid_filter_is_refused() {
        let error = init_logs(LogFormat::Text, |_| Some("walpost=lots".to_owned())).expect_err("no filter");
        assert!(error.to_string().contains("walpost=lots"), "{error}");
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        let refused = |text: &str| filter(text).err().map(|error| error.to_string());
        let debug = "unknown level \"debugg\"; did you mean debug?";
        for text in ["debugg", "info,debugg", "debugg,walpost=trace", " debugg "] {
            assert_eq!(refused(text).as_deref(), Some(debug), "{text}");
        }
        assert_eq!(refused("inof").as_deref(), Some("unknown level \"inof\"; did you mean info?"));
        let stranger = refused("everything").expect("no level");
        assert!(stranger.contains("off, error, warn, info, debug, trace"), "{stranger}");
        for text in
            ["debug", "WARN", "3", "off", "walpost", "walpost::source", "librdkafka", "mine=debug,info", "info,"]
        {
            assert_eq!(refused(text), None, "{text}");
        }
    }

    /// What is written for an event with this name in its message and fields.
    fn logged_name(form: Form, name: &str) -> String {
        let lines = Written::default();
        let out = lines.clone();
        let builder = tracing_subscriber::fmt().with_ansi(false).with_writer(move || Lines { out: out.clone(), form });
        let event = || {
            tracing::error!(topic = name, table = %name, error = ?name, "cannot write to {name}");
        };
        match form {
            Form::Json => tracing::subscriber::with_default(builder.json().finish(), event),
            Form::Text | Form::Colours => tracing::subscriber::with_default(builder.finish(), event),
        }
        let bytes = lines.0.lock().expect("no panic holds it").clone();
        String::from_utf8(bytes).expect("lines are UTF-8")
    }

    #[test]
    fn a_log_event_is_one_line_without_control_characters() {
        let name = "a\x1b[31mb\n2026-11-29T00:00:00Z  INFO forged\r\u{9b}2J\u{202e}c\u{2028}\x07d";
        for form in [Form::Text, Form::Colours, Form::Json] {
            let text = logged_name(form, name);
            let line = text.strip_suffix('\n').expect("a line ends");
            let own = line.strip_prefix("\x1b[2m").and_then(|line| line.split_once("\x1b[0m \x1b[31mERROR \x1b[0m"));
            let foreign = match form {
                Form::Colours => own.expect("time and level are in colour").1,
                Form::Text | Form::Json => line,
            };
            assert!(!foreign.contains(is_command), "{form:?}: {foreign:?}");
            if form == Form::Json {
                let json: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
                assert_eq!(json["fields"]["topic"], name);
            }
        }
    }
}
