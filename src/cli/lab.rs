//! The commands of the feature `lab`: a demo and benchmarks, on servers that they start or are given.

use std::io::stdout;
use std::path::Path;

use clap::Subcommand;

use super::{bench, demo};
use crate::exit::CommandError;

/// The subcommands of the feature `lab`.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Run the whole path from transaction to consumer on this machine, and check every event.
    Demo(demo::DemoArgs),
    /// Measure CPU cost, throughput and latency.
    Bench(Box<bench::BenchArgs>),
    /// Run a relay that publishes nothing, for the benchmark.
    #[command(hide = true)]
    BenchNull(bench::NullArgs),
    /// Run a plain Kafka producer, for the benchmark.
    #[command(hide = true)]
    BenchProducer(bench::NullArgs),
}

impl LabCommand {
    /// What is logged unless the user has a filter.
    pub(super) const fn log_filter(&self) -> Option<&'static str> {
        match self {
            Self::Demo(_) => Some(demo::LOG_FILTER),
            Self::Bench(_) => Some(bench::LOG_FILTER),
            Self::BenchNull(_) | Self::BenchProducer(_) => None,
        }
    }

    /// Runs the command; `path` is that of the configuration file.
    ///
    /// # Errors
    /// As of the command, or its report could not be written.
    pub(super) async fn run(&self, path: Option<&Path>) -> Result<(), CommandError> {
        match self {
            Self::Demo(arguments) => demo::run(arguments, &mut stdout()).await,
            Self::Bench(arguments) => bench::run(arguments, &mut stdout()).await,
            Self::BenchNull(arguments) => bench::null(arguments, path, &mut stdout()).await,
            Self::BenchProducer(arguments) => bench::producer(arguments, path, &mut stdout()).await,
        }
    }
}
