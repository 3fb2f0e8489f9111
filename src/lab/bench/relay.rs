//! The relay as users run it: `walpost run` in a separate process.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::Payload;
use super::arrivals::{Arrivals, Seen};
use super::backlog::{Backlog, drop_slot};
use super::child::{Child, Ended};
use super::error::BenchError;
use super::report::RunReport;
use super::stage::{RelaySettings, Stage};
use crate::config::Delivery;
use crate::http;
use crate::telemetry::RelayStatus;

/// How often to query a relay's progress.
const TICK: Duration = Duration::from_millis(100);
/// How long a relay may make no progress.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to end.
const END_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A running relay, killed when this is dropped.
pub(super) struct Relay {
    child: Child,
    address: SocketAddr,
}

/// This program with these settings only: it reads neither a file nor the environment of this process.
pub(super) fn command(settings: &RelaySettings) -> Result<Command, BenchError> {
    // The file that this process was started from may have been replaced since; on Linux this is the program itself (proc(5)).
    let itself = PathBuf::from("/proc/self/exe");
    let program = if itself.exists() { Ok(itself) } else { std::env::current_exe() };
    let find = |source| BenchError::Program { action: "find", program: "walpost".to_owned(), source };
    let mut command = Command::new(program.map_err(find)?);
    command.arg0("walpost");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WALPOST_") {
            command.env_remove(name);
        }
    }
    // Arguments are visible to everyone on this machine, the environment is not.
    command.envs(&settings.variables).args(["--config", "/dev/null", "--log", "warn"]);
    Ok(command)
}

impl Relay {
    /// Starts a relay on this slot.
    pub(super) fn start(stage: &Stage, slot: &str, payload: Payload, delivery: Delivery) -> Result<Self, BenchError> {
        let settings = stage.relay_settings(slot, payload, Some(delivery));
        let mut command = command(&settings)?;
        command.arg("run");
        let child = Child::spawn("walpost run", command, &stage.workspace)?;
        Ok(Self { child, address: settings.address })
    }

    /// When it was started.
    pub(super) fn started(&self) -> Instant {
        self.child.started
    }

    /// Waits until the relay's status matches.
    pub(super) async fn wait_for(mut self, what: &str, is: impl Fn(&RelayStatus) -> bool) -> Result<Self, BenchError> {
        let (mut since, mut before, mut last_error) = (Instant::now(), 0, None);
        loop {
            if self.child.has_ended() {
                // Its exit code and its last output have the reason.
                self.child.end(END_LIMIT).await?;
                return Err(BenchError::Stalled { what: what.to_owned(), waited: since.elapsed(), last_error });
            }
            if let Some(status) = self.status().await {
                let refused: u64 = status.dead_letters.values().sum();
                if refused > 0 {
                    let codes = status.dead_letters.into_keys().collect::<Vec<_>>().join(", ");
                    return Err(BenchError::DeadLetters { events: refused, codes });
                }
                if is(&status) {
                    return Ok(self);
                }
                if status.events != before {
                    (before, since) = (status.events, Instant::now());
                }
                last_error = status.last_error.map(|error| error.message);
            }
            if since.elapsed() > STALL_LIMIT {
                return Err(BenchError::Stalled { what: what.to_owned(), waited: STALL_LIMIT, last_error });
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Stops it gracefully and returns its resource usage.
    pub(super) async fn stop(mut self) -> Result<Ended, BenchError> {
        self.child.terminate();
        self.child.end(END_LIMIT).await
    }

    async fn status(&mut self) -> Option<RelayStatus> {
        let answer = http::get(self.address, "/status", ANSWER_LIMIT).await.ok()?;
        serde_json::from_slice(answer.body()).ok()
    }
}

/// Runs a relay on the backlog once.
pub(super) async fn run(stage: &Stage, backlog: &Backlog, delivery: Delivery) -> Result<RunReport, BenchError> {
    let slot = backlog.slot(stage).await?;
    let arrivals = Arrivals::watch(stage.servers.kafka(), &backlog.destinations).await?;
    let relay = Relay::start(stage, &slot, backlog.content.payload, delivery)?;
    let started = relay.started();
    let relay = relay.wait_for("the relay", |status| status.events >= backlog.events).await?;
    let Seen { first, first_offsets, last, offsets } = arrivals.settled().await;
    let ended = relay.stop().await?;
    drop_slot(stage, &slot).await?;
    tracing::debug!(offsets, "a backlog is in kafka");
    let later = backlog.events.saturating_sub(first_offsets);
    Ok(RunReport::new(backlog.events, later, started, first, last.unwrap_or(ended.at), &ended))
}
