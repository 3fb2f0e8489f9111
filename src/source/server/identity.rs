//! Which server this is, and whether the relay can use it.

use super::answer::{first, lsn, number, text};
use super::timeline::ancestry;
use crate::postgres::Connection;
use crate::relay::boundary::{Ancestry, Lsn};
use crate::relay::resume;
use crate::source::boundary::service::ManagedService;
use crate::source::error::SourceError;

/// The oldest supported version of Postgres, as `server_version_num`.
const OLDEST_VERSION: u32 = 140_000;

/// What the relay needs to know of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `server_version_num`, such as 150018.
    pub version: u32,
    /// The database connected to.
    pub database: String,
    /// The role of the session.
    pub role: String,
    /// `wal_sender_timeout` in milliseconds, 0 for none.
    pub wal_sender_timeout_millis: u32,
    /// `server_encoding`.
    pub encoding: String,
    /// Who operates it.
    pub service: ManagedService,
    wal_level: String,
    standby: bool,
}

impl Server {
    /// Reads it on a control connection.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn read(control: &mut Connection) -> Result<Self, SourceError> {
        let question = "the server";
        let rows = control.simple_query(&format!(
            "select current_setting('server_version_num'), current_database(), current_user, \
             (select setting from pg_settings where name = 'wal_sender_timeout'), \
             current_setting('wal_level'), pg_is_in_recovery(), current_setting('server_encoding'), {}",
            ManagedService::QUERY
        ))?;
        let row = first(&rows, question)?;
        Ok(Self {
            version: number(row, 0, question)?,
            database: text(row, 1, question)?,
            role: text(row, 2, question)?,
            wal_sender_timeout_millis: number(row, 3, question)?,
            wal_level: text(row, 4, question)?,
            standby: row.is_true(5),
            encoding: text(row, 6, question)?,
            service: ManagedService::read(row, 7),
        })
    }

    #[must_use]
    pub const fn is_standby(&self) -> bool {
        self.standby
    }

    /// The setting `wal_level`.
    #[must_use]
    pub fn wal_level(&self) -> &str {
        &self.wal_level
    }

    /// Whether the server can decode for the relay.
    ///
    /// # Errors
    /// [`SourceError::ServerTooOld`], [`SourceError::Standby`], [`SourceError::WalLevel`].
    pub fn check(&self) -> Result<(), SourceError> {
        if self.version < OLDEST_VERSION {
            return Err(SourceError::ServerTooOld(format!("{}.{}", self.version / 10_000, self.version % 10_000)));
        }
        if self.standby {
            return Err(SourceError::Standby);
        }
        self.check_wal_level()
    }

    /// # Errors
    /// [`SourceError::WalLevel`].
    pub(crate) fn check_wal_level(&self) -> Result<(), SourceError> {
        match self.wal_level == "logical" {
            true => Ok(()),
            false => Err(SourceError::WalLevel { found: self.wal_level.clone(), service: self.service }),
        }
    }
}

/// The system that a replication connection is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct System {
    /// The cluster's system identifier.
    pub identifier: String,
    pub timeline: u32,
    /// The timelines that its own descends from.
    pub ancestry: Ancestry,
    /// The end of the flushed WAL.
    pub wal_end: Lsn,
}

impl System {
    /// The server, as input for planning a start.
    pub(crate) fn facts(&self) -> resume::Server {
        let Self { identifier, timeline, ancestry, wal_end } = self.clone();
        resume::Server { system_identifier: identifier, timeline, ancestry, wal_end }
    }
}

/// Asks a replication connection which server it is on.
///
/// # Errors
/// Those of the connection.
pub(crate) fn identify_system(replication: &mut Connection) -> Result<System, SourceError> {
    let question = "IDENTIFY_SYSTEM";
    let rows = replication.simple_query("IDENTIFY_SYSTEM")?;
    let row = first(&rows, question)?;
    let timeline = number(row, 1, question)?;
    Ok(System {
        identifier: text(row, 0, question)?,
        timeline,
        ancestry: ancestry(replication, timeline)?,
        wal_end: lsn(row, 2).ok_or(SourceError::Answer { question })?,
    })
}
