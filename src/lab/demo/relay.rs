//! The relay, in this process: the same code and the same configuration as `walpost run`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::error::DemoError;
use super::report::RelayReport;
use crate::config::{AdminApi, Config};
use crate::driver;
use crate::fault::Fault;
use crate::telemetry::{Identity, Side, Telemetry};

/// The relay's published status.
#[derive(Clone, Debug)]
pub(super) struct Gauges(Arc<Telemetry>);

/// A running relay. Dropping it asks it to stop.
pub(super) struct Relay {
    task: JoinHandle<Result<(), Fault>>,
    gauges: Gauges,
    shutdown: CancellationToken,
    _guard: DropGuard,
}

impl Relay {
    /// Starts a relay with these settings only: it reads neither a file nor the environment of this process.
    pub(super) fn start(settings: BTreeMap<String, String>, admin_api: AdminApi) -> Result<Self, DemoError> {
        // Without a path it would read the file in the working directory; this one is always empty.
        let mut config = Config::load(Some(Path::new("/dev/null")), settings)?;
        config.kafka.admin_api = admin_api;
        let telemetry = Arc::new(Telemetry::new(Identity::of(&config), Instant::now()));
        let shutdown = CancellationToken::new();
        let (told, asked) = (Arc::clone(&telemetry), shutdown.clone());
        let task = tokio::spawn(async move { driver::run(&config, told, asked).await });
        Ok(Self { task, gauges: Gauges(telemetry), shutdown: shutdown.clone(), _guard: shutdown.drop_guard() })
    }

    /// A handle to its status.
    pub(super) fn gauges(&self) -> Gauges {
        self.gauges.clone()
    }

    /// Returns when the relay has stopped by itself, which happens only on a fault.
    pub(super) async fn stopped(&mut self) -> DemoError {
        let ended = (&mut self.task).await.expect("the relay does not panic");
        ended.map_or_else(DemoError::Relay, |()| DemoError::RelayEnded)
    }

    /// Stops the relay: it confirms what is in flight, within its own timeout.
    pub(super) async fn stop(self) -> Result<(), DemoError> {
        self.shutdown.cancel();
        self.task.await.expect("the relay does not panic").map_err(DemoError::Relay)
    }
}

impl Gauges {
    /// What the relay is waiting for, if anything.
    pub(super) fn waits_for(&self) -> Option<&'static str> {
        let metrics = &self.0.metrics;
        match (metrics.sides.is_connected(Side::Postgres), metrics.sides.is_connected(Side::Kafka)) {
            (true, true) => None,
            (false, _) => Some("PostgreSQL"),
            (true, false) => Some("Kafka"),
        }
    }

    /// The last error that the relay recovered from.
    pub(super) fn last_error(&self) -> Option<String> {
        self.0.status(Instant::now()).last_error.map(|error| error.message)
    }

    /// The relay's counters so far.
    pub(super) fn report(&self) -> RelayReport {
        let status = self.0.status(Instant::now());
        RelayReport {
            dead_letters: status.dead_letters.values().sum(),
            reconnects: status.postgres_reconnects + status.kafka_reconnects,
        }
    }
}
