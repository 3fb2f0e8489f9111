//! `walpost demo`: everything on one machine, checked event by event.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::environment::{ServerArgs, duration, write};
use crate::lab::demo::{self, DemoError, Options, Report, View};
use crate::signals::Interrupts;

/// The log's filter unless the user has one: the demo shows itself what the relay waits for.
pub const LOG_FILTER: &str = "error";

/// Show the whole way from a transaction to a consumer on this machine, and check every event.
///
/// Needs nothing set up: a PostgreSQL and a Kafka are started for it and removed after it. An order service writes orders and
/// events in the same transactions, some of which roll back; the relay publishes the events, and a consumer reads them.
/// Exits with 0 only if no event was lost or out of order. Ctrl-C ends the writing early; a second one ends the check too.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Servers of the user's.
    #[command(flatten)]
    pub servers: ServerArgs,

    /// Transactions a second.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub rate: u32,

    /// How long the order service writes: seconds, or such as 90s, 5m; an hour at most.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub duration: Duration,

    /// Report in one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs the demo, shows its progress on stderr and reports to `out`.
///
/// # Errors
/// A [`DemoError`], which knows its exit code: the demo had no result, or not the one that it should have. Or the report could not
/// be written.
pub async fn run(args: &DemoArgs, out: &mut (impl Write + IsTerminal + Send)) -> anyhow::Result<()> {
    let interrupts = Interrupts::listen().context("listen for signals")?;
    let options = Options { named: args.servers.named(), rate: args.rate, duration: args.duration };
    let report = demo::run(&options, &View::stderr(), &interrupts).await?;
    write(&report, args.json, Report::table, out).context("write the report")?;
    if report.is_success() { Ok(()) } else { Err(DemoError::Failed.into()) }
}
