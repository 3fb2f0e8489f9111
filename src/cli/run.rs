//! `walpost run`: the relay, its HTTP server, and the signals that end it.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, process_environment};
use crate::fault::Fault;
use crate::telemetry::{Identity, Telemetry};
use crate::{driver, http};

/// Runs the relay until SIGTERM or SIGINT, or until it can't go on.
///
/// # Errors
/// A [`Fault`].
pub async fn run(path: Option<&Path>) -> anyhow::Result<()> {
    let config = Config::load(path, process_environment()).map_err(Fault::from)?;
    let shutdown = CancellationToken::new();
    stop_on_signal(shutdown.clone())?;
    let telemetry = Arc::new(Telemetry::new(identity(&config), Instant::now()));
    if let Some(address) = config.http.listen {
        let listener = TcpListener::bind(address).await.map_err(|source| Fault::Listen { address, source })?;
        tracing::info!(address = %listener.local_addr().unwrap_or(address), "serving metrics and health over http");
        let stopped = shutdown.clone().cancelled_owned();
        tokio::spawn(http::serve(listener, Arc::clone(&telemetry), stopped));
    }
    tracing::info!(
        relay = config.relay.name,
        slot = config.postgres.slot.as_str(),
        publication = config.postgres.publication,
        postgres = config.postgres.connect.endpoint(),
        kafka = config.kafka.bootstrap_servers,
        "walpost {}",
        env!("CARGO_PKG_VERSION"),
    );
    driver::run(&config, telemetry, shutdown).await?;
    Ok(())
}

fn identity(config: &Config) -> Identity {
    Identity {
        relay: config.relay.name.clone(),
        slot: config.postgres.slot.as_str().to_owned(),
        publication: config.postgres.publication.clone(),
        database: config.postgres.connect.database().to_owned(),
    }
}

/// The first signal stops the relay in order, the second at once.
fn stop_on_signal(shutdown: CancellationToken) -> anyhow::Result<()> {
    let terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    for mut stream in [terminate, interrupt] {
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            stream.recv().await;
            shutdown.cancel();
            stream.recv().await;
            tracing::warn!("stopped at the second signal; what is in flight is published again at the next start");
            std::process::exit(1);
        });
    }
    Ok(())
}
