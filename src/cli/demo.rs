//! `walpost demo`: the whole path on one machine, checked event by event.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;

use super::environment::{ServerArgs, duration, write};
use crate::exit::{CommandError, Context};
use crate::lab::demo::{self, DemoError, Options, Report, View};
use crate::signals::Interrupts;

/// Default log filter. The demo itself shows what the relay is waiting for.
pub(super) const LOG_FILTER: &str = "error";

/// Run the whole path from transaction to consumer on this machine, and check every event.
///
/// Needs no setup: starts a temporary PostgreSQL and Kafka, and removes them afterwards. An order service writes orders and
/// events in the same transactions, some of which roll back; the relay publishes the events, and a consumer reads them.
/// Exits with 0 only if no event was lost or out of order. Ctrl-C stops the service early; a second Ctrl-C skips the check.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Existing servers to use.
    #[command(flatten)]
    pub servers: ServerArgs,

    /// Transactions per second.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub rate: u32,

    /// How long the order service writes: seconds, or a duration such as 90s or 5m; at most an hour.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub duration: Duration,

    /// Print the report as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs the demo, shows its progress on stderr and reports to `out`.
///
/// # Errors
/// A [`DemoError`], which has its exit code: the demo failed, or events were lost or out of order. Or writing the report failed.
pub(super) async fn run(args: &DemoArgs, out: &mut (impl Write + IsTerminal + Send)) -> Result<(), CommandError> {
    let interrupts = Interrupts::listen().context("listen for signals")?;
    let options = Options { named: args.servers.named(), rate: args.rate, duration: args.duration };
    let report = demo::run(&options, &View::stderr(), &interrupts).await?;
    write(&report, args.json, Report::table, out).context("write the report")?;
    if report.is_success() { Ok(()) } else { Err(DemoError::Failed.into()) }
}
