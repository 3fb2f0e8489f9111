//! The server on a real socket.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::telemetry::{Identity, Side};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    address: SocketAddr,
    telemetry: Arc<Telemetry>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        Self::within(Limits::of_process()).await
    }

    async fn within(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let identity = Identity { slot: "walpost".to_owned(), ..Identity::default() };
        let telemetry = Arc::new(Telemetry::new(identity, Instant::now()));
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let task = tokio::spawn(connections::serve(listener, routes(Arc::clone(&telemetry)), limits, shutdown));
        Self { address, telemetry, stop, task }
    }

    async fn get(&self, path: &str) -> (StatusCode, String, String) {
        let answer = super::get(self.address, path, PATIENCE).await.expect("an answer");
        let kind = answer.headers()["content-type"].to_str().expect("a media type").to_owned();
        (answer.status(), kind, String::from_utf8(answer.into_body().into()).expect("text"))
    }
}

#[tokio::test]
async fn metrics_come_as_text_unless_openmetrics_is_asked_for() {
    let server = Server::start().await;
    server.telemetry.metrics.sides.count_reconnect(Side::Kafka);
    let (status, kind, body) = server.get("/metrics").await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, PROMETHEUS));
    assert!(body.contains("# TYPE walpost_reconnects_total counter\n"), "{body}");
    assert!(body.contains("\nwalpost_reconnects_total{side=\"kafka\"} 1\n"), "{body}");

    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().expect("a header's value"))]);
    let response = metrics(State(Arc::clone(&server.telemetry)), headers).await.into_response();
    assert_eq!(response.headers()["content-type"], OPENMETRICS);
    assert!(server.telemetry.metrics.encode().ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_process_is_healthy_before_it_is_ready() {
    let server = Server::start().await;
    assert_eq!(server.get("/healthz").await.0, StatusCode::OK);
    let (status, _, body) = server.get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, "not connected to Postgres\nnot connected to Kafka\n");
    server.telemetry.metrics.sides.set_connected(Side::Postgres, true);
    server.telemetry.metrics.sides.set_connected(Side::Kafka, true);
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
    let mut client = TcpStream::connect(server.address).await.expect("it listens");
    client.write_all(b"POST /status HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n").await.expect("a request");
    let answer = read_to_end(&mut client).await;
    assert!(answer.starts_with(b"HTTP/1.1 405 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn the_shutdown_does_not_wait_for_a_slow_client() {
    let server = Server::start().await;
    let mut dawdler = TcpStream::connect(server.address).await.expect("it listens");
    dawdler.write_all(b"GET /metrics HTTP/1.1\r\n").await.expect("half a request");
    // The server accepts in order, so an answer to another client shows that it accepted the slow client's connection
    // too.
    assert_eq!(server.get("/healthz").await.0, StatusCode::OK);
    server.stop.send(()).expect("the server runs");
    server.task.await.expect("no panic");
    assert!(TcpStream::connect(server.address).await.is_err(), "it still listens");
}

/// Waits until the server closes the connection; returns what it sent before.
async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    bytes
}

#[tokio::test]
async fn case_41_a_connection_ends_whatever_its_client_sends_or_leaves_unread() {
    let server = Server::within(Limits { connections: 64, lifetime: Duration::from_millis(300) }).await;
    let chunked = "GET /metrics HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\n";
    for sent in ["", "GET /metr", "GET /metrics HTTP/1.1\r\nhost: h\r\n", chunked] {
        let mut client = TcpStream::connect(server.address).await.expect("it listens");
        client.write_all(sent.as_bytes()).await.expect("half a request");
        read_to_end(&mut client).await;
    }
    // A body without an end.
    let mut client = TcpStream::connect(server.address).await.expect("it listens");
    client.write_all(b"POST /status HTTP/1.1\r\nhost: h\r\ncontent-length: 9999999999\r\n\r\n").await.expect("a head");
    while client.write_all(&[b'x'; 65_536]).await.is_ok() {}
    // A head without an end.
    let mut client = TcpStream::connect(server.address).await.expect("it listens");
    let mut head = b"GET / HTTP/1.1\r\n".to_vec();
    head.extend(b"x: y\r\n".repeat(10_000));
    let _ = client.write_all(&head).await;
    let answer = read_to_end(&mut client).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(server.get("/healthz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn case_41_the_newest_connection_is_served_and_the_oldest_closed() {
    let server = Server::within(Limits { connections: 3, lifetime: Duration::from_secs(3_600) }).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut client = TcpStream::connect(server.address).await.expect("it listens");
        client.write_all(b"GET /metrics HTTP/1.1\r\n").await.expect("half a request");
        held.push(client);
    }
    assert_eq!(server.get("/healthz").await.0, StatusCode::OK);
    assert_eq!(read_to_end(&mut held[0]).await, b"");
    held[1].write_all(b"host: h\r\n\r\n").await.expect("it is open");
    let answer = String::from_utf8(read_to_end(&mut held[1]).await).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("connection: close\r\n"), "{answer}");
}
