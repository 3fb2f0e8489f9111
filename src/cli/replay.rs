//! `walpost replay`: publishes events again from a position, a bookmark, a time or the tables, beside the running relay.

use std::io::Write;
use std::path::Path;

use clap::{ArgGroup, Args};
use tokio_util::sync::CancellationToken;

use super::write;
use crate::config::{Config, process_environment};
use crate::exit::{self, CommandError, Context, EndsCommand};
use crate::fault::{Fault, chain};
use crate::ops::replay::{self, ReplayOrigin, ReplayProgress, ReplayReport, ReplayRequest};
use crate::relay::boundary::{Lsn, Position};
use crate::signals::Interrupts;
use crate::terminal::counted;

/// Default log filter. Dead letters and outages are logged.
pub(super) const LOG_FILTER: &str = "warn";

/// Publish events again from a position, a bookmark, a time or the tables; the relay keeps running.
#[derive(Args, Clone, Debug, Default)]
#[command(group(ArgGroup::new("origin").required(true).multiple(true).args(["from_lsn", "bookmark", "since", "from_table"])))]
pub struct ReplayArgs {
    /// Start at this position: the LSN of a commit record, or a record's outbox-position.
    #[arg(long, value_name = "LSN", value_parser = position, conflicts_with_all = ["bookmark", "from_table"])]
    pub from_lsn: Option<Position>,

    /// Start at this bookmark.
    #[arg(long, value_name = "NAME", conflicts_with = "from_table")]
    pub bookmark: Option<String>,

    /// Only events committed at this time or later: 2026-11-21T10:00:00Z, or an age such as 15m, 2h or 7d. If no other start is
    /// given, the position is looked up by time, which needs `rewind` under `[relay]`.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,

    /// Read the outbox tables instead of the WAL. Rows have no commit time, so created_at is used; positions count up from
    /// 0/0/1; messages of emit_message are in no table.
    #[arg(long, conflicts_with = "to_lsn")]
    pub from_table: bool,

    /// Stop after the commit with this LSN [default and at most: the current end of the WAL].
    #[arg(long, value_name = "LSN")]
    pub to_lsn: Option<Lsn>,

    /// Only events committed at this time or earlier.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,

    /// Only events of this schema; repeatable.
    #[arg(long, value_name = "NAME")]
    pub schema: Vec<String>,

    /// Only events with this key; repeatable.
    #[arg(long, value_name = "KEY")]
    pub key: Vec<String>,

    /// Publish everything to this topic instead of each event's own. Dead letters still go to the dead-letter topic.
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,

    /// Publish nothing; count the events and show the first and last.
    #[arg(long)]
    pub dry_run: bool,

    /// The replay's id, header outbox-replay [default: a new one]. Give the id of an interrupted replay to resume it.
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,

    /// Print the report as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// A replay started but did not finish.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplayStopped {
    /// It was interrupted by a signal.
    #[error("interrupted at {at} after publishing {}; to resume: {command}", counted(*events, "event"))]
    Interrupted {
        /// The first position that may not have been published.
        at: String,
        /// Events that Kafka has acknowledged.
        events: u64,
        /// The command that resumes from there.
        command: String,
    },
    /// It failed.
    #[error("{}; stopped at {at} after publishing {}; to resume: {command}", told(fault), counted(*events, "event"))]
    Failed {
        /// Why.
        fault: Fault,
        /// The first position that may not have been published.
        at: String,
        /// Events that Kafka has acknowledged.
        events: u64,
        /// The command that resumes from there.
        command: String,
    },
}

impl EndsCommand for ReplayStopped {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted { .. } => exit::FAILED,
            Self::Failed { fault, .. } => fault.exit_code(),
        }
    }

    fn may_pass(&self) -> bool {
        matches!(self, Self::Failed { fault, .. } if fault.may_pass())
    }
}

fn told(fault: &Fault) -> String {
    fault.advice().map_or_else(|| chain(fault), |advice| format!("{}; {advice}", chain(fault)))
}

/// Runs the replay and reports to `out`. `path` is the configuration file given with `--config`.
///
/// # Errors
/// The configuration is refused, a [`replay::ReplayError`], or a [`ReplayStopped`].
pub(super) async fn run(
    args: &ReplayArgs,
    path: Option<&Path>,
    out: &mut (impl Write + Send),
) -> Result<(), CommandError> {
    let config = Config::load(path, process_environment())?;
    let wanted = wanted(args);
    let interrupts = Interrupts::listen().context("listen for signals")?;
    tokio::spawn(end_at_once(interrupts.abort));
    let (config_too, wanted_too) = (config.clone(), wanted.clone());
    let plan = tokio::task::spawn_blocking(move || replay::plan(&config_too, &wanted_too)).await??;
    let report = replay::run(&config, &plan, &ReplayProgress::stderr(), interrupts.stop).await?;
    let command = (!report.is_complete).then(|| go_on(args, path, &report));
    let shown = if args.json { report.json(command.as_deref()) } else { report.text() };
    write(out, &shown)?;
    let Some(command) = command else { return Ok(()) };
    let at =
        report.last_at.filter(|_| args.from_table).map_or_else(|| report.unfinished.to_string(), |at| at.to_string());
    let events = report.events;
    Err(match report.fault {
        None => ReplayStopped::Interrupted { at, events, command }.into(),
        Some(fault) => ReplayStopped::Failed { fault, at, events, command }.into(),
    })
}

/// On the second signal, exits without waiting.
async fn end_at_once(abort: CancellationToken) {
    abort.cancelled().await;
    eprintln!("walpost: stopped by a second signal; records in flight may or may not be published");
    std::process::exit(exit::FAILED.into());
}

fn wanted(args: &ReplayArgs) -> ReplayRequest {
    let origin = match (args.from_lsn, &args.bookmark) {
        _ if args.from_table => ReplayOrigin::Tables,
        (Some(position), _) => ReplayOrigin::Position(position),
        (None, Some(name)) => ReplayOrigin::Bookmark(name.clone()),
        (None, None) => ReplayOrigin::Since,
    };
    ReplayRequest {
        origin,
        since: args.since.clone(),
        to: args.to_lsn,
        until: args.until.clone(),
        schemas: args.schema.clone(),
        keys: args.key.clone(),
        topic: args.topic.clone(),
        id: args.id.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
        is_dry_run: args.dry_run,
    }
}

/// Parses an LSN, which means the first event of its commit, or a full position.
fn position(text: &str) -> Result<Position, String> {
    let whole = text.parse::<Position>().or_else(|_| Ok(Position { commit: text.parse()?, ordinal: 1 }));
    whole.map_err(|error: <Lsn as std::str::FromStr>::Err| format!("{error}, and not a position such as 16/B374D848/1"))
}

/// The command that resumes a replay from where it stopped.
fn go_on(args: &ReplayArgs, path: Option<&Path>, report: &ReplayReport) -> String {
    let mut words = vec!["walpost replay".to_owned()];
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            words.extend([format!("--{name}"), quoted(&value)]);
        }
    };
    option("config", path.map(|path| path.display().to_string()));
    if !args.from_table {
        option("from-lsn", Some(report.unfinished.to_string()));
        option("to-lsn", Some(report.to.to_string()));
    }
    // Rows with the same time are published again: a table has no finer position to resume from.
    let since = report.last_at.filter(|_| args.from_table).or(report.since);
    option("since", since.map(|at| at.to_string()));
    option("until", report.until.map(|at| at.to_string()));
    for (name, values) in [("schema", &args.schema), ("key", &args.key)] {
        for value in values {
            option(name, Some(value.clone()));
        }
    }
    option("topic", args.topic.clone());
    option("id", Some(report.id.clone()));
    let flags = [("--from-table", args.from_table), ("--dry-run", args.dry_run), ("--json", args.json)];
    words.extend(flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag.to_owned()));
    words.join(" ")
}

/// Quotes a word for a POSIX shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._/:=+,@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::boundary::Timestamp;

    #[test]
    fn a_start_is_an_lsn_or_a_position() {
        let at = |commit, ordinal| Ok(Position { commit: Lsn(commit), ordinal });
        assert_eq!(position("1/FF"), at(0x1_0000_00FF, 1));
        assert_eq!(position("1/FF/3"), at(0x1_0000_00FF, 3));
        for bad in ["", "1", "1/FF/3/4", "1/FF/x", "x/1"] {
            assert!(position(bad).is_err(), "{bad}");
        }
    }

    fn report() -> ReplayReport {
        ReplayReport {
            id: "r1".to_owned(),
            is_dry_run: false,
            is_complete: false,
            from: Position { commit: Lsn(1), ordinal: 1 },
            to: Lsn(0xFF),
            since: None,
            until: Some(Timestamp(0)),
            held_by: None,
            events: 7,
            dead_letters: std::collections::BTreeMap::new(),
            left_out: 0,
            first: None,
            last: None,
            seconds: 1.0,
            unfinished: Position { commit: Lsn(0x10), ordinal: 3 },
            last_at: Some(Timestamp(1_500_000)),
            fault: None,
        }
    }

    #[test]
    fn the_resume_command_keeps_the_selection() {
        let args = ReplayArgs {
            bookmark: Some("b".to_owned()),
            until: Some("1h".to_owned()),
            schema: vec!["order.placed".to_owned()],
            key: vec!["it's".to_owned(), "x".to_owned()],
            topic: Some("again".to_owned()),
            ..ReplayArgs::default()
        };
        expect_test::expect![[r"walpost replay --config w.toml --from-lsn 0/10/3 --to-lsn 0/FF --until 1970-01-01T00:00:00.000000Z --schema order.placed --key 'it'\''s' --key x --topic again --id r1"]]
            .assert_eq(&go_on(&args, Some(Path::new("w.toml")), &report()));
        let args = ReplayArgs { from_table: true, dry_run: true, ..ReplayArgs::default() };
        expect_test::expect!["walpost replay --since 1970-01-01T00:00:01.500000Z --until 1970-01-01T00:00:00.000000Z --id r1 --from-table --dry-run"]
            .assert_eq(&go_on(&args, None, &report()));
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("16/B374D848/3"), "16/B374D848/3");
        assert_eq!(quoted("it's $5"), r"'it'\''s $5'");
        assert_eq!(quoted(""), "''");
    }
}
