//! The commands, one file or directory each.

#[cfg(feature = "lab")]
mod environment;
#[cfg(feature = "lab")]
mod lab;
#[cfg(feature = "lab")]
mod demo;
#[cfg(feature = "lab")]
mod bench;
pub mod migrate;
mod doctor;
mod kafka_property;
mod contract;
mod run;
mod status;
mod slot;
mod bookmark;
mod replay;
mod since;
mod dead_letter;

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::{self, CommandError, Context};
use crate::telemetry::{LogFormat, fatal, init_logs};
use crate::terminal::visible_lines;

/// A transactional outbox relay for PostgreSQL and Apache Kafka.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    /// The configuration file [default: walpost.toml in the current directory, if it exists].
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The log format.
    #[arg(long, global = true, value_name = "FORMAT", env = "WALPOST_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// The log level, such as debug, or a filter such as walpost::source=debug,info [default: info].
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show or measure the relay.
    #[cfg(feature = "lab")]
    #[command(flatten)]
    Lab(lab::LabCommand),
    /// Create or update schema outbox in the database.
    Migrate(migrate::MigrateArgs),
    /// Check database, Kafka and permissions; changes nothing.
    Doctor(doctor::DoctorArgs),
    /// Plan and apply data contracts, and show what is registered.
    Contract(contract::ContractArgs),
    /// Inspect dead letters, redrive them after a fix, or discard them.
    DeadLetter(dead_letter::DeadLetterArgs),
    /// Run the relay.
    Run,
    /// Show the state of the slot and the relay.
    Status(status::StatusArgs),
    /// Recreate, adopt or advance a slot that the relay refuses to stream from.
    Slot(slot::SlotArgs),
    /// Publish events again from a position, a bookmark, a time or the tables; the relay keeps running.
    Replay(replay::ReplayArgs),
    /// Manage named positions to replay from.
    Bookmark(bookmark::BookmarkArgs),
}

impl Command {
    /// The command's default log filter; `None` for the general default.
    const fn log_filter(&self) -> Option<&'static str> {
        match self {
            #[cfg(feature = "lab")]
            Self::Lab(command) => command.log_filter(),
            Self::Contract(_) => Some(contract::LOG_FILTER),
            Self::Status(_) => Some(status::LOG_FILTER),
            Self::Replay(_) => Some(replay::LOG_FILTER),
            Self::Bookmark(_) => Some(bookmark::LOG_FILTER),
            Self::Doctor(_) => Some(doctor::LOG_FILTER),
            Self::DeadLetter(_) => Some(dead_letter::LOG_FILTER),
            Self::Migrate(_) | Self::Run | Self::Slot(_) => None,
        }
    }
}

/// What a panic is to the operator. Its message states the broken invariant, and comes before this.
const BUG: &str =
    "this is a bug; no event was confirmed that Kafka has not acknowledged. Please report the message above";

/// Runs a command and writes its error to stderr: to the log if that is JSON, so that each line on stderr is.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    let format = cli.log_format;
    if format == LogFormat::Json {
        std::panic::set_hook(Box::new(|panic| fatal(&panic.to_string(), None, None)));
    }
    let (report, code, retry) = match std::panic::catch_unwind(AssertUnwindSafe(|| execute(cli))) {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(error)) => (error.report(), error.exit_code(), error.retry()),
        Err(_) => (BUG.to_owned(), exit::BUG, None),
    };
    match format {
        LogFormat::Json => fatal(&report, Some(code), retry),
        LogFormat::Text => {
            eprintln!("walpost: {}", visible_lines(&report));
            if let Some(retry) = retry {
                eprintln!("walpost: {}", exit::retry_hint(retry));
            }
        }
    }
    ExitCode::from(code)
}

fn execute(cli: Cli) -> Result<(), CommandError> {
    let log = |name: &str| match &cli.log {
        Some(filter) if name == "WALPOST_LOG" => Some(filter.clone()),
        _ => std::env::var(name).ok().or_else(|| cli.command.log_filter().map(str::to_owned)),
    };
    init_logs(cli.log_format, log)?;
    // The sandbox's downloads and TLS to Postgres share the process-wide provider, which is set once, here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let path = cli.config.as_deref();
    let outcome = runtime.block_on(async {
        match &cli.command {
            #[cfg(feature = "lab")]
            Command::Lab(command) => command.run(path).await,
            Command::Migrate(arguments) => migrate::run(arguments, path, &mut std::io::stdout()).await,
            Command::Doctor(arguments) => doctor::run(arguments, path, &mut std::io::stdout()).await,
            Command::Contract(arguments) => contract::run(arguments, path, &mut std::io::stdout()).await,
            Command::DeadLetter(arguments) => dead_letter::run(arguments, path, &mut std::io::stdout()).await,
            Command::Run => run::run(path).await,
            Command::Status(arguments) => status::run(arguments, path, &mut std::io::stdout()).await,
            Command::Slot(arguments) => slot::run(arguments, path, &mut std::io::stdout()).await,
            Command::Replay(arguments) => replay::run(arguments, path, &mut std::io::stdout()).await,
            Command::Bookmark(arguments) => bookmark::run(arguments, path, &mut std::io::stdout()).await,
        }
    });
    // Blocking calls to an unreachable server must not delay the exit.
    runtime.shutdown_background();
    outcome
}

/// Writes a command's report.
fn write(out: &mut impl Write, text: &str) -> Result<(), CommandError> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("write the report")
}
