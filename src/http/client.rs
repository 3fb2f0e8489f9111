//! One request to the HTTP server of a relay: for `walpost status`, the benchmark and the tests.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, Response, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Longest body of an answer.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// Nothing listens, or nothing can be reached.
    #[error("can't connect")]
    Connect(#[source] io::Error),
    /// What listens does not speak HTTP, or hung up.
    #[error("invalid HTTP response")]
    Http(#[from] hyper::Error),
    /// The answer's body ended early, or is longer than any of the relay's.
    #[error("can't read the response")]
    Body(#[source] axum::Error),
    /// The answer did not arrive in time.
    #[error("no answer within {} s", within.as_secs())]
    Timeout {
        /// How long was waited.
        within: Duration,
    },
}

/// Where a server that listens on an address is reached: on all addresses, at the loopback address.
#[must_use]
pub fn reachable(listens: SocketAddr) -> SocketAddr {
    let ip = match listens.ip() {
        ip if ip.is_unspecified() && ip.is_ipv4() => Ipv4Addr::LOCALHOST.into(),
        ip if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listens.port())
}

/// GETs `path`, on a connection of its own. The answer may have any status code.
///
/// # Errors
/// There was no complete answer within that time.
///
/// # Panics
/// If `path` is not one that a URI can have.
pub async fn get(address: SocketAddr, path: &str, within: Duration) -> Result<Response<Bytes>, GetError> {
    tokio::time::timeout(within, exchange(address, path)).await.unwrap_or(Err(GetError::Timeout { within }))
}

async fn exchange(address: SocketAddr, path: &str) -> Result<Response<Bytes>, GetError> {
    let stream = TcpStream::connect(address).await.map_err(GetError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender. What goes wrong with it, the request says.
    tokio::spawn(connection);
    let request = Request::get(path).header(header::HOST, address.to_string()).body(Body::empty());
    let request = request.expect("the callers' paths are constants");
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = to_bytes(Body::new(body), BODY_BYTES_MAX).await.map_err(GetError::Body)?;
    Ok(Response::from_parts(head, body))
}
