//! `walpost run`: the relay, its HTTP server and its signals.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, process_environment};
use crate::exit::{self, CommandError, Context};
use crate::fault::Fault;
use crate::signals::Interrupts;
use crate::telemetry::{Identity, Telemetry};
use crate::{driver, http};

/// File descriptors to raise the soft limit to, as far as the hard limit allows: each broker, lookup and HTTP client takes
/// one, and the usual soft limit of 1,024 exists for programs that call select(2).
const DESCRIPTORS: u64 = 65_536;

/// Runs the relay until SIGTERM or SIGINT, or until it fails.
///
/// # Errors
/// A [`Fault`].
pub(super) async fn run(path: Option<&Path>) -> Result<(), CommandError> {
    let config = Config::load(path, process_environment())?;
    raise_descriptor_limit();
    let interrupts = Interrupts::listen().context("listen for signals")?;
    tokio::spawn(end_at_once(interrupts.abort));
    let telemetry = Arc::new(Telemetry::new(Identity::of(&config), Instant::now()));
    // Metrics and health are also served while the relay drains.
    let drained = CancellationToken::new();
    if let Some(address) = config.http.listen {
        let listener = TcpListener::bind(address).await.map_err(|source| Fault::Listen { address, source })?;
        tracing::info!(address = %listener.local_addr().unwrap_or(address), "serving metrics and health checks over http");
        tokio::spawn(http::serve(listener, Arc::clone(&telemetry), drained.clone().cancelled_owned()));
    }
    tracing::info!(
        relay = config.relay.name,
        slot = config.postgres.slot.as_str(),
        publication = config.postgres.publication,
        postgres = config.postgres.connect.endpoint(),
        kafka = config.kafka.bootstrap_servers,
        delivery = config.kafka.delivery.as_str(),
        "walpost {}",
        env!("CARGO_PKG_VERSION"),
    );
    let outcome = driver::run(&config, telemetry, interrupts.stop).await;
    drained.cancel();
    Ok(outcome?)
}

fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(DESCRIPTORS, |maximum| maximum.min(DESCRIPTORS));
    if limit.current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit })
    {
        tracing::warn!(error = %error, wanted, "cannot raise the open file limit");
    }
}

/// On the second signal, exits without waiting.
async fn end_at_once(abort: CancellationToken) {
    abort.cancelled().await;
    tracing::warn!("stopped by a second signal; records in flight are published again at the next start");
    std::process::exit(exit::FAILED.into());
}
