//! Positions to replay from: bookmarks, the rewind window, and the index from times to positions.
//!
//! A position is held by an inactive logical slot; [`crate::source::held`] finds the slots that hold one. Such a slot retains WAL from
//! its `restart_lsn` on and delays nobody: a replay streams from a copy.
//!
//! - [`bookmark`]: slots that an operator names, at a fixed position
//! - [`window`]: one slot that trails the relay's, advanced by the relay
//! - [`moment`]: finds the position of a time

pub mod bookmark;
mod error;
pub mod moment;
pub mod window;

pub use error::BookmarkError;

use crate::postgres::{Connection, Error, sqlstate};
use crate::source::{Server, SourceError, System, explain_refusal, identify_system};

/// Opens a SQL connection and reads the server's properties.
///
/// # Errors
/// [`SourceError`]: the server can't be reached or has no logical decoding.
pub fn open(options: &crate::postgres::ConnectOptions) -> Result<(Connection, Server), SourceError> {
    let mut control = Connection::open(options)?;
    let server = Server::read(&mut control)?;
    server.check()?;
    Ok((control, server))
}

/// Identifies the server's system and timeline. Needs a replication connection, and so the REPLICATION attribute.
///
/// # Errors
/// [`SourceError`], as for a relay that connects.
pub fn identify(
    options: &crate::postgres::ConnectOptions,
    control: &mut Connection,
    server: &Server,
) -> Result<System, SourceError> {
    let replication = Connection::open_replication(options);
    let mut replication = replication.map_err(|error| explain_refusal(error, control, &server.role))?;
    let system = identify_system(&mut replication)?;
    replication.close();
    Ok(system)
}

/// Explains an error of a statement on the tables of positions.
fn explain(error: Error, server: &Server, doing: &'static str) -> SourceError {
    match error.sqlstate() {
        Some(sqlstate::UNDEFINED_TABLE | sqlstate::INVALID_SCHEMA_NAME) => {
            SourceError::MigrationsMissing { database: server.database.clone() }
        }
        Some(sqlstate::INSUFFICIENT_PRIVILEGE) => SourceError::NoPrivilege { role: server.role.clone(), doing },
        _ => error.into(),
    }
}
