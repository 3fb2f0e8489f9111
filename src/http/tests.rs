//! The server on a real socket.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::telemetry::{Identity, Side};

struct Server {
    address: SocketAddr,
    telemetry: Arc<Telemetry>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    async fn start() -> Self {
        // The client asks for a provider also where it speaks without TLS; a second test finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let identity = Identity { slot: "walpost".to_owned(), ..Identity::default() };
        let telemetry = Arc::new(Telemetry::new(identity, Instant::now()));
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let task = tokio::spawn(serve(listener, Arc::clone(&telemetry), shutdown));
        Self { address, telemetry, stop, task }
    }

    async fn get(&self, path: &str) -> (StatusCode, String, String) {
        let response = reqwest::get(format!("http://{}{path}", self.address)).await.expect("an answer");
        let status = response.status();
        let kind = response.headers()["content-type"].to_str().expect("a media type").to_owned();
        (status, kind, response.text().await.expect("a body"))
    }
}

#[tokio::test]
async fn metrics_come_as_openmetrics() {
    let server = Server::start().await;
    server.telemetry.metrics.count_reconnect(Side::Kafka);
    let (status, kind, body) = server.get("/metrics").await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, OPENMETRICS));
    assert!(body.contains("\nwalpost_reconnects_total{side=\"kafka\"} 1\n"), "{body}");
    assert!(body.ends_with("# EOF\n"), "{body}");
}

#[tokio::test]
async fn the_process_is_healthy_before_it_is_ready() {
    let server = Server::start().await;
    assert_eq!(server.get("/healthz").await.0, StatusCode::OK);
    let (status, _, body) = server.get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, "not connected to Postgres\nnot connected to Kafka\n");
    server.telemetry.metrics.set_connected(Side::Postgres, true);
    server.telemetry.metrics.set_connected(Side::Kafka, true);
    let (status, _, body) = server.get("/readyz").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "ready\n"));
}

#[tokio::test]
async fn the_status_is_json() {
    let server = Server::start().await;
    server.telemetry.note_error("connection lost");
    let (status, kind, body) = server.get("/status").await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"));
    let read: RelayStatus = serde_json::from_str(&body).expect("a status");
    assert_eq!(read.slot, "walpost");
    assert!(!read.ready);
    assert_eq!(read.last_error.expect("it was noted").message, "connection lost");
}

#[tokio::test]
async fn other_paths_are_not_found_and_other_methods_not_allowed() {
    let server = Server::start().await;
    let (status, _, body) = server.get("/").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("/metrics"), "{body}");
    let posted = reqwest::Client::new().post(format!("http://{}/status", server.address)).send().await;
    assert_eq!(posted.expect("an answer").status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn the_shutdown_does_not_wait_for_a_client_that_dawdles() {
    let server = Server::start().await;
    let mut dawdler = TcpStream::connect(server.address).await.expect("it listens");
    dawdler.write_all(b"GET /metrics HTTP/1.1\r\n").await.expect("half a request");
    // An answer to somebody else shows that the server has taken the dawdler's connection too: it takes them in order.
    assert_eq!(server.get("/healthz").await.0, StatusCode::OK);
    server.stop.send(()).expect("the server runs");
    server.task.await.expect("no panic").expect("it ended in good order");
    assert!(TcpStream::connect(server.address).await.is_err(), "it still listens");
}
