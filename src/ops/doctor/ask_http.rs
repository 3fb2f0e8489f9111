//! Checks that the relay can listen for HTTP requests on this machine, as it does at its start.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use super::report::{Finding, failure, ok};
use crate::config::Config;
use crate::exit::CommandError;
use crate::fault::Fault;
use crate::http;
use crate::telemetry::RelayStatus;

/// How long to wait for whatever listens there.
const ANSWER: Duration = Duration::from_secs(2);

/// Runs the check; `None` if the relay shall not listen.
pub(crate) async fn ask(config: &Config) -> Option<Finding> {
    let address = config.http.listen?;
    Some(match TcpListener::bind(address).await {
        Ok(_) => ok("http", format!("{address} can be listened on")),
        Err(source) if source.kind() == io::ErrorKind::AddrInUse && is_own_relay(address, config).await => {
            ok("http", format!("{address}: the relay of slot {} listens there", config.postgres.slot.as_str()))
        }
        Err(source) => failure("http", CommandError::from(Fault::Listen { address, source }).report()),
    })
}

/// Whether a relay with this slot and database answers: the next start takes its place.
async fn is_own_relay(address: SocketAddr, config: &Config) -> bool {
    let Ok(answer) = http::get(http::reachable(address), "/status", ANSWER).await else { return false };
    let status: Result<RelayStatus, _> = serde_json::from_slice(answer.body());
    status.is_ok_and(|status| {
        (status.slot.as_str(), status.database.as_str())
            == (config.postgres.slot.as_str(), config.postgres.connect.database())
    })
}
