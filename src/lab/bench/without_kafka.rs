//! A relay of the benchmark that publishes nothing. What its sink accepts is confirmed to the slot, so on any slot but the
//! benchmark's it would lose events.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::error::BenchError;
use super::stage::SLOT_PREFIX;
use crate::config::{Config, process_environment};
use crate::driver;
use crate::exit::CommandError;
use crate::sink::Sink;
use crate::telemetry::{Identity, Telemetry};

/// The configuration of such a relay, as `walpost run` reads it.
///
/// # Errors
/// The slot does not belong to the benchmark ([`BenchError::ForeignSlot`]), or as `walpost run`.
pub(super) fn config(path: Option<&Path>) -> Result<Config, CommandError> {
    let config = Config::load(path, process_environment())?;
    let slot = config.postgres.slot.as_str();
    if !slot.starts_with(SLOT_PREFIX) {
        return Err(BenchError::ForeignSlot { slot: slot.to_owned() }.into());
    }
    Ok(config)
}

/// Runs it until `done`.
///
/// # Errors
/// As `walpost run`.
pub(super) async fn run(sink: impl Sink + Send, config: &Config, done: CancellationToken) -> Result<(), CommandError> {
    let telemetry = Arc::new(Telemetry::new(Identity::of(config), Instant::now()));
    driver::run_into(sink, config, telemetry, done).await?;
    Ok(())
}
