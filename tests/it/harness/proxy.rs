//! A TCP proxy that injects network faults.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A fault of the connections that exist at its beginning; later ones pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NetworkFault {
    /// They stay open and silent, without either end noticing.
    Silence,
    /// What the server answers does not arrive.
    SilentAnswers,
    /// What the client sends does not arrive.
    SilentRequests,
    /// They are closed.
    Cut,
    /// They are closed once the server has sent this many more bytes: most likely within a message.
    CutWithin(u32),
    /// They are closed, and new ones as soon as they are accepted, until [`Proxy::heal`].
    Refuse,
    /// Every piece arrives late, until [`Proxy::heal`].
    Delay(Duration),
}

/// What connections are told.
#[derive(Debug, Clone, Copy)]
struct Order {
    /// How many faults there have been: a connection is affected by those after its start.
    number: u64,
    fault: Option<NetworkFault>,
}

/// Forwards TCP connections.
pub(crate) struct Proxy {
    address: SocketAddr,
    target: watch::Sender<u16>,
    order: watch::Sender<Order>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Answer,
}

impl Proxy {
    /// A proxy in front of this local port.
    pub(crate) async fn before(port: u16) -> Self {
        let proxy = Self::without_target().await;
        proxy.forward_to(port);
        proxy
    }

    /// A proxy that closes every connection until it has a target.
    pub(crate) async fn without_target() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (target, port) = watch::channel(0);
        let (order, orders) = watch::channel(Order { number: 0, fault: None });
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if orders.borrow().fault == Some(NetworkFault::Refuse) {
                    continue;
                }
                let port = *port.borrow();
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(forward(near_read, far_write, orders.clone(), Direction::Request));
                tokio::spawn(forward(far_read, near_write, orders.clone(), Direction::Answer));
            }
        });
        Self { address, target, order }
    }

    /// Forwards later connections to this local port.
    pub(crate) fn forward_to(&self, port: u16) {
        self.target.send_replace(port);
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Silences the current connections.
    pub(crate) fn freeze(&self) {
        self.inject(NetworkFault::Silence);
    }

    /// Begins a fault.
    pub(crate) fn inject(&self, fault: NetworkFault) {
        self.order.send_modify(|order| *order = Order { number: order.number + 1, fault: Some(fault) });
    }

    /// Ends a fault that lasts. What is silent stays silent.
    pub(crate) fn heal(&self) {
        self.order.send_modify(|order| order.fault = None);
    }
}

async fn forward(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut orders: watch::Receiver<Order>,
    direction: Direction,
) {
    let start = orders.borrow_and_update().number;
    let mut buffer = vec![0; 64 * 1024];
    let mut rest = usize::MAX;
    loop {
        let order = *orders.borrow();
        let fault = order.fault.filter(|fault| order.number > start || matches!(fault, NetworkFault::Delay(_)));
        match (fault, direction) {
            (Some(NetworkFault::Cut | NetworkFault::Refuse), _) => return,
            (Some(NetworkFault::Silence), _)
            | (Some(NetworkFault::SilentAnswers), Direction::Answer)
            | (Some(NetworkFault::SilentRequests), Direction::Request) => return silent(from, to, orders).await,
            (Some(NetworkFault::CutWithin(bytes)), Direction::Answer) => rest = rest.min(bytes as usize),
            _ => {}
        }
        tokio::select! {
            // The proxy's own end closes its connections.
            changed = orders.changed() => if changed.is_err() { return },
            read = from.read(&mut buffer) => {
                let length = read.unwrap_or_default().min(rest);
                if let Some(NetworkFault::Delay(time)) = fault {
                    tokio::time::sleep(time).await;
                }
                if length == 0 || to.write_all(&buffer[..length]).await.is_err() || length == rest {
                    return;
                }
                rest -= if rest == usize::MAX { 0 } else { length };
            }
        }
    }
}

/// Keeps both ends open until the proxy's end.
async fn silent<R, W>(from: R, to: W, mut orders: watch::Receiver<Order>) {
    while orders.changed().await.is_ok() {}
    drop((from, to));
}
