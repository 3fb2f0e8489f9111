//! `walpost bench`: measures CPU cost, throughput and latency; and the hidden command that it runs in child processes.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::environment::{ServerArgs, duration, write};
use crate::config::Delivery;
use crate::exit::{CommandError, Context};
use crate::lab::bench::{self, BenchError, Options, Part, Payload, Report, Shape, Shapes};
use crate::lab::environment::View;
use crate::signals::Interrupts;

/// Default log filter. Failures are reported when the command ends.
pub(super) const LOG_FILTER: &str = "error";

/// Measure CPU cost, throughput and latency, on this machine or against your servers.
///
/// Needs no setup: starts a temporary PostgreSQL and Kafka, and removes them afterwards. The relay runs in a process of its
/// own. If pg_recvlogical is installed, it reads the same backlogs for comparison: the upper bound of this PostgreSQL.
/// Ctrl-C stops at once and cleans up.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// What to measure [default: everything].
    #[arg(value_name = "PART")]
    pub parts: Vec<Part>,

    /// Existing servers to use.
    #[command(flatten)]
    pub servers: ServerArgs,

    /// Events per backlog.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000_000))]
    pub events: u64,

    /// Events per transaction; one backlog is written for each number.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 10, 100], value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub per_transaction: Vec<u64>,

    /// Payload types; each gets its own backlog and load.
    #[arg(long, value_name = "TYPE,...", value_delimiter = ',', default_value = "json")]
    pub payload: Vec<Payload>,

    /// Topics, keys and payloads of the events.
    #[command(flatten)]
    pub shape: ShapeArgs,

    /// Delivery guarantees to measure.
    #[arg(long, value_name = "HOW,...", value_delimiter = ',', default_value = "at-least-once,exactly-once")]
    pub delivery: Vec<Delivery>,

    /// Events per second for the latency measurement.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [300, 1_000], value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub rate: Vec<u32>,

    /// How long to hold each rate: seconds, or a duration such as 90s or 5m; at most an hour.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    pub duration: Duration,

    /// How many times each reader reads a backlog; medians are reported.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,

    /// Also measure with payloads checked against a contract's schema, with Kafka and without.
    #[arg(long)]
    pub check: bool,

    /// Print the ratios to pg_recvlogical and to the plain producer before the rates.
    #[arg(long)]
    pub compare: bool,

    /// Print the report as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// The shapes of backlogs and loads: the n-th values of these lists form the n-th shape, and a shorter list repeats its
/// last value.
#[derive(Args, Clone, Debug)]
pub struct ShapeArgs {
    /// Topics, each with its own schema version. The n-th values of --topics, --partitions, --keys, --payload-bytes and
    /// --row-headers form the n-th shape; a shorter list repeats its last value.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [Shape::DEFAULT.topics], value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub topics: Vec<u32>,

    /// Partitions per topic.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [Shape::DEFAULT.partitions], value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub partitions: Vec<u32>,

    /// Distinct message keys.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [Shape::DEFAULT.keys], value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub keys: Vec<u64>,

    /// Payload size in bytes, for backlogs.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [Shape::DEFAULT.payload_bytes], value_parser = clap::value_parser!(u32).range(200..=900_000))]
    pub payload_bytes: Vec<u32>,

    /// Headers in each row, in addition to those that the relay adds, for backlogs.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [Shape::DEFAULT.row_headers], value_parser = clap::value_parser!(u32).range(0..=100))]
    pub row_headers: Vec<u32>,
}

impl ShapeArgs {
    fn shapes(&self) -> Vec<Shape> {
        let Self { topics, partitions, keys, payload_bytes, row_headers } = self.clone();
        Shapes { topics, partitions, keys, payload_bytes, row_headers }.all()
    }
}

/// Arguments of [`null`] and [`producer`].
#[derive(Args, Clone, Debug)]
pub struct NullArgs {
    /// Stop after this many events.
    #[arg(long)]
    pub events: u64,
}

/// Runs the benchmark, shows its progress on stderr and reports to `out`.
///
/// # Errors
/// A [`BenchError`], which has its exit code; or writing the report failed.
pub(super) async fn run(args: &BenchArgs, out: &mut (impl Write + IsTerminal + Send)) -> Result<(), CommandError> {
    let interrupts = Interrupts::listen().context("listen for signals")?;
    let parts = if args.parts.is_empty() { Part::value_variants().to_vec() } else { args.parts.clone() };
    let options = Options {
        named: args.servers.named(),
        parts,
        events: args.events,
        per_transaction: args.per_transaction.clone(),
        payloads: args.payload.clone(),
        shapes: args.shape.shapes(),
        deliveries: args.delivery.clone(),
        rates: args.rate.clone(),
        duration: args.duration,
        runs: args.runs,
        check: args.check,
    };
    let report = bench::run(&options, &View::stderr(), &interrupts).await?;
    let table = if args.compare { Report::comparison } else { Report::table };
    write(&report, args.json, table, out).context("write the report")?;
    if report.left_behind.is_empty() { Ok(()) } else { Err(BenchError::LeftBehind.into()) }
}

/// Runs the relay without Kafka, as the benchmark's child process. It discards events, so it refuses any database but the benchmark's.
///
/// # Errors
/// As [`bench::run_null`].
pub(super) async fn null(
    args: &NullArgs,
    path: Option<&Path>,
    out: &mut (impl Write + Send),
) -> Result<(), CommandError> {
    let interrupts = Interrupts::listen().context("listen for signals")?;
    let report = bench::run_null(path, args.events, interrupts.stop).await?;
    serde_json::to_writer(&mut *out, &report)?;
    Ok(out.flush()?)
}

/// Runs a plain producer, as the benchmark's child process. It consumes the slot, so it refuses any but the benchmark's.
///
/// # Errors
/// As [`bench::run_producer`].
pub(super) async fn producer(
    args: &NullArgs,
    path: Option<&Path>,
    out: &mut (impl Write + Send),
) -> Result<(), CommandError> {
    let interrupts = Interrupts::listen().context("listen for signals")?;
    let report = bench::run_producer(path, args.events, interrupts.stop).await?;
    serde_json::to_writer(&mut *out, &report)?;
    Ok(out.flush()?)
}
