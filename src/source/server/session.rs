//! Sessions with a server: one for SQL, and one for replication beside it. What the server is comes with each.

use super::identity::{Server, System, identify_system};
use super::refusal::explain_refusal;
use crate::postgres::{ConnectOptions, Connection};
use crate::source::error::SourceError;

impl Server {
    /// Connects for SQL, to a server that the relay can use.
    ///
    /// # Errors
    /// Those of the connection, and of [`Server::check`].
    pub fn open(options: &ConnectOptions) -> Result<(Connection, Self), SourceError> {
        let (control, server) = Self::open_any(options)?;
        server.check()?;
        Ok((control, server))
    }

    /// Connects for SQL, whatever the server is.
    ///
    /// # Errors
    /// Those of the connection.
    pub(crate) fn open_any(options: &ConnectOptions) -> Result<(Connection, Self), SourceError> {
        let mut control = Connection::open(options)?;
        let server = Self::read(&mut control)?;
        Ok((control, server))
    }

    /// Connects for replication, with text encoded as a stream's. Needs the REPLICATION attribute.
    ///
    /// # Errors
    /// Those of the connection; [`SourceError::NoReplicationRole`], [`SourceError::SendersUsedUp`].
    pub(crate) fn open_replication(
        &self,
        options: &ConnectOptions,
        control: &mut Connection,
    ) -> Result<(Connection, System), SourceError> {
        self.identified(Connection::open_stream(options, self.client_encoding()), control)
    }

    /// Which cluster and timeline it is on, by a replication connection of its own.
    ///
    /// # Errors
    /// As [`Server::open_replication`].
    pub(crate) fn identify(&self, options: &ConnectOptions, control: &mut Connection) -> Result<System, SourceError> {
        let (replication, system) = self.identified(Connection::open_replication(options), control)?;
        replication.close();
        Ok(system)
    }

    fn identified(
        &self,
        opened: Result<Connection, crate::postgres::Error>,
        control: &mut Connection,
    ) -> Result<(Connection, System), SourceError> {
        let mut replication = opened.map_err(|error| explain_refusal(error, control, self))?;
        let system = identify_system(&mut replication)?;
        Ok((replication, system))
    }
}
