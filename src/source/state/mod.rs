//! The relay's own row in `outbox.relay`, and what may be missing from Kafka according to it.

pub(super) mod secrets;
pub(super) mod relay_state;
pub(super) mod note;
pub(super) mod gap;
pub(super) mod gap_count;

use crate::postgres::Connection;
use crate::source::error::SourceError;
use crate::source::server::identity::Server;

/// Reads what a start reads here, and changes nothing: what it refuses, a start would refuse.
///
/// # Errors
/// As those of a start.
pub(crate) fn read_start(control: &mut Connection, server: &Server, slot: &str) -> Result<(), SourceError> {
    relay_state::read(control, server, slot)?;
    secrets::check(control, server)
}
