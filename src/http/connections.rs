//! Connections of HTTP clients: few, short-lived, and never in the relay's way.
//!
//! Clients need no credentials, so they must not be able to use up what the relay needs: descriptors, memory, time.
//! Each connection carries one request and ends after [`Limits::lifetime`], whatever the client sends or leaves
//! unread. If there are too many, the oldest is closed and the new one served: a probe is answered in milliseconds,
//! so it succeeds even while somebody opens connections and holds them.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Most simultaneous connections, and the share of the process's descriptors that they may take.
const CONNECTIONS_MAX: usize = 64;
const DESCRIPTORS_SHARE: u64 = 8;
/// Fewest simultaneous connections, however few descriptors there are.
const CONNECTIONS_MIN: usize = 4;
/// How long a connection may take from its first byte to its last. Prometheus gives up after 10 s, the kubelet after
/// 1 s.
const LIFETIME: Duration = Duration::from_secs(10);
/// How much of a request is buffered; a longer head is answered with 431.
const BUFFER_BYTES: usize = 16 * 1024;
/// Pause after a failed accept: mostly no descriptor is free, and the next attempt would fail too.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How long open requests may take to finish after the shutdown.
const GRACE: Duration = Duration::from_secs(1);

/// Limits for clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Simultaneous connections.
    pub(super) connections: usize,
    /// Lifetime of each connection.
    pub(super) lifetime: Duration,
}

impl Limits {
    pub(super) fn of_process() -> Self {
        let share = getrlimit(Resource::Nofile).current.map(|limit| limit / DESCRIPTORS_SHARE);
        let share = share.and_then(|share| usize::try_from(share).ok()).unwrap_or(CONNECTIONS_MAX);
        Self { connections: share.clamp(CONNECTIONS_MIN, CONNECTIONS_MAX), lifetime: LIFETIME }
    }
}

/// Serves until `shutdown` is ready, then lets open requests finish for up to a second.
pub(super) async fn serve(
    listener: TcpListener,
    routes: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut open = Open { tasks: JoinSet::new(), by_age: VecDeque::new(), limits };
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            // 1. The end. 2. A connection, which is accepted or stays in the backlog.
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => open.admit(stream, routes.clone()),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(error = %error, "cannot accept an http connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    open.end().await;
}

struct Open {
    tasks: JoinSet<()>,
    /// Their handles, oldest first.
    by_age: VecDeque<AbortHandle>,
    limits: Limits,
}

impl Open {
    fn admit(&mut self, stream: TcpStream, routes: Router) {
        while self.tasks.try_join_next().is_some() {}
        self.by_age.retain(|connection| !connection.is_finished());
        while self.by_age.len() >= self.limits.connections {
            let Some(oldest) = self.by_age.pop_front() else { break };
            oldest.abort();
        }
        self.by_age.push_back(self.tasks.spawn(converse(stream, routes, self.limits.lifetime)));
    }

    async fn end(mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // A client that holds its request open must not delay the relay's end.
        let _ = tokio::time::timeout(GRACE, all).await;
    }
}

/// One request and its response.
async fn converse(stream: TcpStream, routes: Router, lifetime: Duration) {
    let mut protocol = http1::Builder::new();
    protocol.keep_alive(false).max_buf_size(BUFFER_BYTES);
    let connection = protocol.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    match tokio::time::timeout(lifetime, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(error = %error, "http connection closed early"),
        Err(_) => tracing::debug!("http connection timed out"),
    }
}

/// Errors of a connection that its client has already closed (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
