//! A connection that can go silent without either end noticing.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards TCP connections. When frozen, all current connections remain silent, with both ends open; later connections
/// pass.
pub(crate) struct Proxy {
    address: SocketAddr,
    /// How often it was frozen; a connection passes while the number is the same as at its start.
    frozen: watch::Sender<u64>,
}

impl Proxy {
    /// A proxy in front of this local port.
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (frozen, watched) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(forward(near_read, far_write, watched.clone()));
                tokio::spawn(forward(far_read, near_write, watched.clone()));
            }
        });
        Self { address, frozen }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Silences the current connections.
    pub(crate) fn freeze(&self) {
        self.frozen.send_modify(|times| *times += 1);
    }
}

async fn forward(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut frozen: watch::Receiver<u64>,
) {
    frozen.mark_unchanged();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            // The proxy's own end closes its connections.
            changed = frozen.changed() => match changed {
                Ok(()) => std::future::pending().await,
                Err(_) => return,
            },
            read = from.read(&mut buffer) => match read {
                Ok(length) if length > 0 && to.write_all(&buffer[..length]).await.is_ok() => {}
                _ => return,
            },
        }
    }
}
