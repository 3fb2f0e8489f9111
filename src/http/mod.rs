//! Metrics and health over HTTP.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | the metrics, OpenMetrics text 1.0.0 |
//! | `/healthz` | 200: the process works |
//! | `/readyz` | 200 when the relay is connected on both sides and the slot moves, else 503 with the reasons |
//! | `/status` | [`RelayStatus`] in JSON |

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::telemetry::{RelayStatus, Telemetry};

/// How long open requests may take to end after the shutdown.
const GRACE: Duration = Duration::from_secs(1);

/// The media type of the metrics (OpenMetrics specification, "Overall Structure").
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until `shutdown` is ready, then lets open requests end for a second.
///
/// # Errors
///
/// The listener fails for good.
pub async fn serve(
    listener: TcpListener,
    telemetry: Arc<Telemetry>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let signal = async move {
        shutdown.await;
        // The receiver is gone only when the server has ended by itself.
        let _ = stopping.send(());
    };
    let grace_is_over = async {
        match stopped.await {
            Ok(()) => tokio::time::sleep(GRACE).await,
            Err(_) => std::future::pending().await,
        }
    };
    let server = axum::serve(listener, routes(telemetry)).with_graceful_shutdown(signal);
    // 1. The server, ended in good order. 2. A client that holds its request open must not hold up the relay's end.
    tokio::select! {
        ended = server.into_future() => ended,
        () = grace_is_over => Ok(()),
    }
}

fn routes(telemetry: Arc<Telemetry>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .fallback(|| async { (StatusCode::NOT_FOUND, "try /metrics, /healthz, /readyz or /status\n") })
        .with_state(telemetry)
}

async fn metrics(State(telemetry): State<Arc<Telemetry>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPENMETRICS)], telemetry.metrics.encode())
}

async fn readyz(State(telemetry): State<Arc<Telemetry>>) -> (StatusCode, String) {
    match telemetry.not_ready(Instant::now()) {
        reasons if reasons.is_empty() => (StatusCode::OK, "ready\n".to_owned()),
        reasons => (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
    }
}

async fn status(State(telemetry): State<Arc<Telemetry>>) -> Json<RelayStatus> {
    Json(telemetry.status(Instant::now()))
}
