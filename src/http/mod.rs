//! Metrics and health over HTTP.
//!
//! | path | response |
//! |---|---|
//! | `/metrics` | the metrics, in the Prometheus text format 0.0.4, or OpenMetrics 1.0.0 if `Accept` names it |
//! | `/healthz` | 200: the process is running |
//! | `/readyz` | 200 if the relay is connected on both sides and the slot moves, otherwise 503 with the reasons |
//! | `/status` | `RelayStatus` as JSON |

mod connections;
mod client;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json};
use axum::routing;
use tokio::net::TcpListener;

use crate::telemetry::{RelayStatus, Telemetry};
use crate::terminal::visible;
use connections::Limits;

pub use client::{GetError, get, reachable};

/// The media type of the OpenMetrics specification, "Overall Structure".
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The media type of the Prometheus text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves until `shutdown` is ready, then lets open requests finish for up to a second.
pub async fn serve(listener: TcpListener, telemetry: Arc<Telemetry>, shutdown: impl Future<Output = ()> + Send) {
    connections::serve(listener, routes(telemetry), Limits::of_process(), shutdown).await;
}

fn routes(telemetry: Arc<Telemetry>) -> Router {
    Router::new()
        .route("/metrics", routing::get(metrics))
        .route("/healthz", routing::get(|| async { "ok\n" }))
        .route("/readyz", routing::get(readyz))
        .route("/status", routing::get(status))
        .fallback(|| async { (StatusCode::NOT_FOUND, "try /metrics, /healthz, /readyz or /status\n") })
        .with_state(telemetry)
}

async fn metrics(State(telemetry): State<Arc<Telemetry>>, headers: HeaderMap) -> impl IntoResponse {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let metrics = telemetry.metrics_at(Instant::now());
    let (kind, text) = match accepted.into_iter().any(|value| value.contains("application/openmetrics-text")) {
        true => (OPENMETRICS, metrics.encode()),
        false => (PROMETHEUS, metrics.encode_text()),
    };
    ([(header::CONTENT_TYPE, kind)], text)
}

async fn readyz(State(telemetry): State<Arc<Telemetry>>) -> (StatusCode, String) {
    match telemetry.not_ready(Instant::now()) {
        reasons if reasons.is_empty() => (StatusCode::OK, "ready\n".to_owned()),
        reasons => {
            let lines = reasons.iter().map(|reason| visible(reason).into_owned() + "\n");
            (StatusCode::SERVICE_UNAVAILABLE, lines.collect())
        }
    }
}

async fn status(State(telemetry): State<Arc<Telemetry>>) -> Json<RelayStatus> {
    Json(telemetry.status(Instant::now()))
}
