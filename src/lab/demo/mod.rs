//! `walpost demo`: the whole path on one machine, checked event by event.
//!
//! An order service writes orders and their events in one transaction, the relay runs in this process like `walpost run`, and a
//! consumer reads the topics back. Every event carries its ordinal among the committed events of its topic and key, so that reads
//! can be compared with commits.
//!
//! # Layout
//!
//! - `stage`: what is created on the [servers](crate::lab::environment) under unique names, and removed again
//! - `scenario`: the sequence of steps
//! - `service`, `workload`: the order service and its transactions
//! - `relay`: the relay in this process
//! - `consumer`: reads the topics
//! - `audit`, `latency`: the check, without I/O
//! - `view`, `report`: progress, and the result

mod stage;
mod scenario;
mod workload;
mod service;
mod relay;
mod clock;
mod consumer;
mod latency;
mod audit;
mod report;
mod view;
mod error;

use std::time::Duration;

pub(crate) use error::DemoError;
pub(crate) use report::Report;
pub(crate) use view::View;

use scenario::Scenario;
use stage::Stage;

use crate::lab::environment::{LeftBehind, Named, Servers, Wanted};
use crate::lab::sandbox::{KafkaOptions, KafkaSource, PostgresOptions};
use crate::signals::Interrupts;

/// The demo's settings.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The servers that the user named.
    pub named: Named,
    /// Transactions per second.
    pub rate: u32,
    /// How long the order service writes.
    pub duration: Duration,
}

/// Runs the demo from start to report, and removes what it created.
///
/// # Errors
/// A server is unavailable, the relay stops, or the user interrupts before there is a result. A check with findings is not an error:
/// see [`Report::ok`].
pub(crate) async fn run(options: &Options, view: &View, interrupts: &Interrupts) -> Result<Report, DemoError> {
    // Nothing has been written yet, so there is nothing to finish: the first signal ends it.
    let kafka = KafkaOptions { source: KafkaSource::RealOrInProcess, ..KafkaOptions::default() };
    let wanted = Wanted { postgres: PostgresOptions::default(), kafka: Some(kafka) };
    let started = interrupts.stop.run_until_cancelled(Servers::start(&options.named, wanted, view.steps())).await;
    let result = match started {
        None => Err(DemoError::Interrupted),
        Some(Err(error)) => Err(error.into()),
        Some(Ok(servers)) => {
            let stage = Stage::name(&servers);
            let scenario = Scenario { options, view, interrupts, servers: &servers, stage: &stage };
            let played = interrupts.abort.run_until_cancelled(scenario.run()).await;
            view.clear();
            // Also after an error or an interrupt. The demo's temporary servers are removed as a whole when they are dropped.
            let left = stage.remove(&servers).await;
            left.iter().for_each(|LeftBehind { what, why }| view.note(&format!("can't remove {what}: {why}")));
            played.unwrap_or(Err(DemoError::Interrupted)).map(|report| report.with_left_behind(&left))
        }
    };
    view.clear();
    result
}
