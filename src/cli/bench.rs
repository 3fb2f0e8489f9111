//! `walpost bench`: what an event costs, how fast it gets to Kafka, and how soon. And the hidden command that it measures itself with.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::demo::{duration, property};
use crate::bench::{self, BenchError, Options, Part, Payload, Report};
use crate::config::Delivery;
use crate::signals::Interrupts;
use crate::venue::{Colour, Named, View};

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

    /// Use this PostgreSQL (wal_level = logical): the benchmark creates a database of its own there and drops it at its end.
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,

    /// Use this Kafka: the benchmark creates topics of its own there and deletes them at its end.
    #[arg(long, value_name = "SERVERS")]
    pub kafka: Option<String>,

    /// A property of librdkafka that it takes to reach that Kafka, such as security.protocol=SSL; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = property, requires = "kafka")]
    pub kafka_property: Vec<(String, String)>,

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
    #[arg(long, value_name = "HOW,...", value_delimiter = ',', default_value = "at-least-once")]
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
    let named = Named {
        postgres: args.postgres.clone(),
        kafka: args.kafka.clone(),
        kafka_properties: BTreeMap::from_iter(args.kafka_property.iter().cloned()),
    };
    let parts = if args.parts.is_empty() { Part::value_variants().to_vec() } else { args.parts.clone() };
    let options = Options {
        named,
        parts,
        events: args.events,
        per_transaction: args.per_transaction.clone(),
        payloads: args.payload.clone(),
        deliveries: args.delivery.clone(),
        rates: args.rate.clone(),
        duration: args.duration,
        runs: args.runs,
    };
    let report = bench::run(&options, &View::stderr(), &interrupts).await?;
    write(&report, args.json, out).context("write the report")?;
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

fn write(report: &Report, json: bool, out: &mut (impl Write + IsTerminal)) -> std::io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, report)?;
        writeln!(out)?;
    } else {
        let colour = Colour::of(out);
        write!(out, "\n{}", report.table(colour))?;
    }
    out.flush()
}
