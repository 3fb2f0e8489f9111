//! `[http]`: the address for metrics and health checks.

use std::net::SocketAddr;

use super::error::Complaint;
use super::reader::Section;
use super::tree::{TreeValue, shown};

/// Default of `http.listen`.
const LISTEN_DEFAULT: &str = "127.0.0.1:9646";

/// `[http]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// `http.listen`, `WALPOST_HTTP__LISTEN`: the address and port for `/metrics`, `/healthz`, `/readyz` and `/status`, or "off"
    /// (`None`). Default `127.0.0.1:9646`.
    pub listen: Option<SocketAddr>,
}

impl HttpConfig {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let listen = section.or("listen", LISTEN_DEFAULT.parse().ok(), listen);
        section.finish();
        Self { listen }
    }
}

fn listen(value: &TreeValue) -> Result<Option<SocketAddr>, Complaint> {
    let text = value.as_text()?;
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let fix = "write an IP address and a port, such as \"127.0.0.1:9646\" or \"[::]:9646\", or \"off\"";
        Complaint::new(format!("{} is not an address and port", shown(text)), fix)
    })
}
