//! Positions that an operator can go back to: bookmarks, the rewind window, and which moment a position was.
//!
//! A position is held by a logical slot that nobody streams from; [`crate::source::held`] says which slots hold which. Such a slot keeps
//! the server's log from its `restart_lsn` on, and holds no event back from anyone: a replay streams from a copy.
//!
//! - [`bookmark`]: slots with a name that an operator gives, at a position that stays
//! - [`window`]: one slot that trails behind the relay's, moved on by the relay
//! - [`moment`]: from a time to a position

pub mod bookmark;
mod error;
pub mod moment;
pub mod window;

pub use error::BookmarkError;

use crate::postgres::{Connection, Error, sqlstate};
use crate::source::{Server, SourceError, System, explain_refusal, identify_system};

/// Connects for SQL, and asks what server it is.
///
/// # Errors
/// [`SourceError`]: it can't be reached, or can't decode.
pub fn open(options: &crate::postgres::ConnectOptions) -> Result<(Connection, Server), SourceError> {
    let mut control = Connection::open(options)?;
    let server = Server::read(&mut control)?;
    server.check()?;
    Ok((control, server))
}

/// Asks the server whose log it has. That takes a replication connection, and so the right to replicate, which all of this does.
///
/// # Errors
/// [`SourceError`], as of a relay that connects.
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

/// What a refused statement on the tables of positions means.
fn explain(error: Error, server: &Server, doing: &'static str) -> SourceError {
    match error.sqlstate() {
        Some(sqlstate::UNDEFINED_TABLE | sqlstate::INVALID_SCHEMA_NAME) => {
            SourceError::MigrationsMissing { database: server.database.clone() }
        }
        Some(sqlstate::INSUFFICIENT_PRIVILEGE) => SourceError::NoPrivilege { role: server.role.clone(), doing },
        _ => error.into(),
    }
}
