//! `walpost bench`: what an event costs, and how fast and how soon it gets to Kafka, on these servers and this machine.
//!
//! The relay is measured as its users run it: `walpost run` in a process of its own, whose CPU time and memory are its own
//! alone. Beside it, on copies of the same slot and in turn with it, the ceiling: `pg_recvlogical` to `/dev/null`, which does
//! nothing with a row, and walpost with a sink that does nothing.
//!
//! # Layout
//!
//! - `stage`, `backlog`: the database, the topics, and the events to be read
//! - `child`: a program whose time and memory are measured
//! - `recvlogical`, `null`, `relay`: the readers of a backlog; `arrivals` sees the relay's records in Kafka
//! - `emit`, `throughput`, `latency`: the parts
//! - `facts`, `report`, `table`: what was measured where, and how it is shown

mod arrivals;
mod backlog;
mod child;
mod emit;
mod error;
mod facts;
mod latency;
mod null;
mod recvlogical;
mod relay;
mod report;
mod stage;
mod table;
mod throughput;

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

pub use error::BenchError;
pub use facts::{Machine, PostgresFacts, ServersFacts};
pub use null::{NullReport, run as run_null};
pub use report::{
    BacklogReader, EmitCost, LatencyReport, Report, RunReport, SettingsReport, StartReport, Statement, ThroughputReport,
};

use stage::Stage;

use crate::config::Delivery;
use crate::lab::environment::{Named, Servers, View, Wanted};
use crate::lab::sandbox::{Durability, KafkaOptions, KafkaSource, PostgresOptions, Tuning};
use crate::signals::Interrupts;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// What outbox.emit costs beside a bare insert: time, CPU, bytes of WAL.
    Emit,
    /// How fast this PostgreSQL decodes: pg_recvlogical, and walpost without Kafka.
    Decode,
    /// How fast the relay works off a backlog into Kafka, its CPU and its memory.
    Relay,
    /// How long it takes from a commit to a consumer.
    Latency,
    /// How long it takes from the relay's start to its first record.
    Start,
}

/// The type of the payload's column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Payload {
    /// As in `outbox.event`.
    Json,
    /// In a table that is alike but for this.
    Jsonb,
    /// In a table that is alike but for this.
    Bytea,
}

/// What the benchmark is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The servers that the user named.
    pub named: Named,
    /// What is measured.
    pub parts: Vec<Part>,
    /// Events of a backlog.
    pub events: u64,
    /// How many of them are in a transaction: a backlog for each.
    pub per_transaction: Vec<u64>,
    /// Types of payload: a backlog for each.
    pub payloads: Vec<Payload>,
    /// Kinds of delivery of the relay.
    pub deliveries: Vec<Delivery>,
    /// Events a second for the latency.
    pub rates: Vec<u32>,
    /// How long each rate is held.
    pub duration: Duration,
    /// How often each reader reads a backlog.
    pub runs: u32,
    /// Whether backlogs are read with their payloads checked, too.
    pub check: bool,
}

impl Payload {
    /// The type's name, in SQL and in names.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Bytea => "bytea",
        }
    }
}

impl Options {
    fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// Whether anything goes to Kafka.
    fn needs_kafka(&self) -> bool {
        [Part::Relay, Part::Latency, Part::Start].into_iter().any(|part| self.has(part))
    }

    /// What is put up where the user names nothing. Durable as in production; no checkpoint and no vacuum falls into a run.
    fn wanted(&self) -> Wanted {
        let settings = [("max_wal_size", "16GB"), ("checkpoint_timeout", "1h"), ("autovacuum", "off")];
        let postgres = PostgresOptions {
            durability: Durability::Fsync,
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..PostgresOptions::default()
        };
        // The stand-in within a process is no Kafka that a figure could be taken of.
        let kafka = KafkaOptions { source: KafkaSource::Real, tuning: Tuning::Throughput, ..KafkaOptions::default() };
        Wanted { postgres, kafka: self.needs_kafka().then_some(kafka) }
    }
}

/// Measures everything that was asked for, and removes what it made.
///
/// # Errors
/// A server can't be had, a measured program fails, or the user interrupts: the first signal ends it.
pub async fn run(options: &Options, view: &View, interrupts: &Interrupts) -> Result<Report, BenchError> {
    let started = interrupts.stop.run_until_cancelled(Servers::start(&options.named, options.wanted(), view)).await;
    let servers = match started {
        None => Err(BenchError::Interrupted),
        Some(servers) => servers.map_err(BenchError::from),
    };
    let result = match servers {
        Err(error) => Err(error),
        Ok(servers) => {
            let stage = Arc::new(Stage::name(servers)?);
            let measured = interrupts.stop.run_until_cancelled(measure(options, &stage, view)).await;
            let left = interrupts.abort.run_until_cancelled(stage.remove()).await.unwrap_or_default();
            left.iter().for_each(|left| view.note(&format!("can't remove {left}")));
            measured.unwrap_or(Err(BenchError::Interrupted)).map(|report| report.with_left_behind(&left))
        }
    };
    view.clear();
    result
}

async fn measure(options: &Options, stage: &Stage, view: &View) -> Result<Report, BenchError> {
    let mut connection = stage.prepare(options).await?;
    stage
        .made()
        .into_iter()
        .for_each(|made| view.note(&format!("made for the benchmark and removed after it: {made}")));
    if let Some(left) = stage.leaves(options) {
        view.note(&format!("made for the benchmark and left behind: {left}"));
    }
    let mut report = Report::new(options, facts::servers(stage, &mut connection).await?);
    if report.machine.debug_build {
        view.note("this walpost was built without optimization: its figures say nothing");
    }
    if options.has(Part::Emit) {
        report.emit = emit::measure(options, stage, view).await?;
    }
    if options.has(Part::Start) {
        report.start = throughput::start(options, stage, view).await?;
    }
    if options.has(Part::Latency) {
        report.latency = latency::measure(options, stage, view).await?;
    }
    if options.has(Part::Decode) || options.has(Part::Relay) {
        report.throughput = throughput::measure(options, stage, view).await?;
    }
    Ok(report)
}
