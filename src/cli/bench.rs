//! `walpost bench`: what an event costs, how fast it gets to Kafka, and how soon. And the hidden command that it measures itself with.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::environment::{ServerArgs, duration, write};
use crate::config::Delivery;
use crate::lab::bench::{self, BenchError, Options, Part, Payload, Report};
use crate::lab::environment::View;
use crate::signals::Interrupts;

/// The log's filter unless the user has one: what fails is told at the end.
pub const LOG_FILTER: &str = "error";

/// Measure what an event costs, how fast the relay is and how soon a record arrives, on this machine or on your servers.
///
/// Needs nothing set up: a PostgreSQL and a Kafka are started for it and removed after it. The relay is measured in a process of its
/// own; pg_recvlogical, where it is installed, reads the same backlog in turn with it and shows what this PostgreSQL can do at
/// most. Ctrl-C ends it at once and removes what was made.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// What to measure; everything if nothing is named.
    #[arg(value_name = "PART")]
    pub parts: Vec<Part>,

    /// Servers of the user's.
    #[command(flatten)]
    pub servers: ServerArgs,

    /// Events in a backlog.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000_000))]
    pub events: u64,

    /// Events in a transaction of a backlog; a backlog for each number.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 10, 100], value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub per_transaction: Vec<u64>,

    /// The payload's type; a backlog and a load for each.
    #[arg(long, value_name = "TYPE,...", value_delimiter = ',', default_value = "json")]
    pub payload: Vec<Payload>,

    /// How the relay delivers.
    #[arg(long, value_name = "HOW,...", value_delimiter = ',', default_value = "at-least-once,exactly-once")]
    pub delivery: Vec<Delivery>,

    /// Events a second for the latency.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [300, 1_000], value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub rate: Vec<u32>,

    /// How long each rate is held: seconds, or such as 90s, 5m; an hour at most.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    pub duration: Duration,

    /// How often each reader reads a backlog; the medians are reported.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,

    /// Let the relay, and walpost without Kafka, read each backlog once more with its payloads checked against a contract's schema.
    #[arg(long)]
    pub check: bool,

    /// Report in one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// What [`null`] takes.
#[derive(Args, Clone, Debug)]
pub struct NullArgs {
    /// How many events to wait for.
    #[arg(long)]
    pub events: u64,
}

/// Runs the benchmark, shows its progress on stderr and reports to `out`.
///
/// # Errors
/// A [`BenchError`], which knows its exit code. Or the report could not be written.
pub async fn run(args: &BenchArgs, out: &mut (impl Write + IsTerminal + Send)) -> anyhow::Result<()> {
    let interrupts = Interrupts::listen().context("listen for signals")?;
    let parts = if args.parts.is_empty() { Part::value_variants().to_vec() } else { args.parts.clone() };
    let options = Options {
        named: args.servers.named(),
        parts,
        events: args.events,
        per_transaction: args.per_transaction.clone(),
        payloads: args.payload.clone(),
        deliveries: args.delivery.clone(),
        rates: args.rate.clone(),
        duration: args.duration,
        runs: args.runs,
        check: args.check,
    };
    let report = bench::run(&options, &View::stderr(), &interrupts).await?;
    write(&report, args.json, Report::table, out).context("write the report")?;
    if report.left_behind.is_empty() { Ok(()) } else { Err(BenchError::LeftBehind.into()) }
}

/// The relay without Kafka that the benchmark starts: a process that publishes nothing, and only where nothing is lost by it.
///
/// # Errors
/// As [`bench::run_null`].
pub async fn null(args: &NullArgs, path: Option<&Path>, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    let interrupts = Interrupts::listen().context("listen for signals")?;
    let report = bench::run_null(path, args.events, interrupts.stop).await?;
    serde_json::to_writer(&mut *out, &report)?;
    Ok(out.flush()?)
}
