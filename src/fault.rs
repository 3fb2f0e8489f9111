//! The one place where an error becomes an end of the relay: an exit code, and what to do.
//!
//! | what failed | what follows |
//! |---|---|
//! | a connection to Postgres, a walsender, a slot that is held | retried with back-off (the driver's link) |
//! | Kafka, a topic that went away, too few replicas | retried for ever, in order (the sink and the core's returns) |
//! | a transaction that Kafka aborts or times out | everything in it is sent again, in order (the transactional sink) |
//! | one event against its contract | a dead letter, or [`Fault::Halt`] with `on_rejected = "halt"` |
//! | everything in [`Fault`] | the relay stops, confirms what Kafka has, and exits with the code below |

use std::error::Error;
use std::process::ExitCode;

use crate::config::ConfigErrors;
use crate::demo::DemoError;
use crate::driver::PositionError;
use crate::postgres::{self, sqlstate};
use crate::relay::Halt;
use crate::relay::boundary::Lsn;
use crate::sink::{SinkError, TransactionsError};
use crate::source::SourceError;
use crate::telemetry::LogsError;

/// Why a command ends before its work is done.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The configuration has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The log can't be set up.
    #[error(transparent)]
    Logs(#[from] LogsError),
    /// Postgres can't be reached, or the slot can't be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The database can't be reached.
    #[error("can't connect to the database: {}", in_words(.0))]
    Database(sqlx::Error),
    /// The Kafka client can't work.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The slot and the position in Kafka do not belong together.
    #[error(transparent)]
    Position(#[from] PositionError),
    /// Kafka could not be reached at the start.
    #[error("Kafka at {servers} did not answer within {} s: start it, or correct bootstrap_servers and, where it asks for them, security.protocol and sasl.* in [kafka]", within.as_secs())]
    KafkaUnreachable {
        /// `bootstrap_servers`.
        servers: String,
        /// How long was waited.
        within: std::time::Duration,
    },
    /// An event, its table or the stream stops the relay.
    #[error(transparent)]
    Halt(#[from] Halt),
    /// `relay.shutdown_timeout` was too short.
    #[error(
        "stopped with {records} records that Kafka has not acknowledged; they are published again at the next start; \
         raise [relay] shutdown_timeout if that happens without an outage"
    )]
    ShutdownTimeout {
        /// How many.
        records: usize,
    },
    /// Postgres could not be told how far the relay has come.
    #[error(
        "stopped, but Postgres could not be told that everything before {lsn} is in Kafka; what came after the slot's \
         confirmed_flush_lsn is published again at the next start"
    )]
    Unconfirmed {
        /// How far.
        lsn: Lsn,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// The HTTP server can't listen.
    #[error("can't listen on {address}: free the port, or set [http] listen to another one or to \"off\"")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Exit codes, after sysexits.h where it has a word for it.
pub mod exit {
    /// It failed.
    pub const FAILED: u8 = 1;
    /// The configuration is wrong.
    pub const CONFIGURATION: u8 = 64;
    /// Data or a contract was refused (EX_DATAERR).
    pub const REFUSED: u8 = 65;
    /// Postgres or Kafka can't be reached, or the slot can't be used (EX_UNAVAILABLE).
    pub const UNAVAILABLE: u8 = 69;
    /// A bug (EX_SOFTWARE).
    pub const BUG: u8 = 70;
}

impl Fault {
    /// What to do, where the message does not say it.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Source(SourceError::Postgres(error)) => match error {
                postgres::Error::Unreachable { .. } => Some(UNREACHABLE),
                postgres::Error::Tls { .. } => Some("see sslmode, sslrootcert and the host in the database's URL"),
                other => connection_advice(other.sqlstate()),
            },
            Self::Database(sqlx::Error::Io(_)) => Some(UNREACHABLE),
            Self::Database(sqlx::Error::Database(error)) => connection_advice(error.code().as_deref()),
            _ => None,
        }
    }

    /// The code that the process ends with.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            // A Kafka client that can't be made has settings that contradict each other, or a file that is not there.
            Self::Config(_) | Self::Logs(_) | Self::Sink(SinkError::Create(_)) => exit::CONFIGURATION,
            Self::Sink(SinkError::Transactions(
                TransactionsError::Timeout { .. }
                | TransactionsError::Unsupported
                | TransactionsError::ForeignPosition { .. },
            )) => exit::CONFIGURATION,
            Self::Sink(SinkError::Transactions(_)) | Self::Position(_) => exit::UNAVAILABLE,
            Self::Sink(SinkError::Stopped) => exit::FAILED,
            Self::Source(SourceError::SlotName(_) | SourceError::ColumnMissing { .. }) => exit::CONFIGURATION,
            Self::Source(_) | Self::Database(_) | Self::KafkaUnreachable { .. } => exit::UNAVAILABLE,
            Self::Halt(Halt::Stream { .. }) => exit::UNAVAILABLE,
            Self::Halt(Halt::Layout(_) | Halt::Refused { .. }) => exit::REFUSED,
            Self::ShutdownTimeout { .. } | Self::Unconfirmed { .. } | Self::Listen { .. } => exit::FAILED,
        }
    }
}

/// The driver's error without its frame, and without the line of the server's source.
fn in_words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        other => chain(other),
    }
}

/// What mends a connection to Postgres that could not be made; `None` where the error itself says it.
fn connection_advice(sqlstate: Option<&str>) -> Option<&'static str> {
    match sqlstate? {
        sqlstate::INVALID_PASSWORD => {
            Some("correct the password in the database's URL, PGPASSWORD or the password file")
        }
        sqlstate::INVALID_AUTHORIZATION => {
            Some("see the role and sslmode in the database's URL, and pg_hba.conf on the server")
        }
        sqlstate::INVALID_CATALOG_NAME => Some("create the database, or correct the database's URL"),
        _ => None,
    }
}

const UNREACHABLE: &str = "start Postgres, or correct the database's URL";

/// The exit code of a command's outcome, said on stderr.
#[must_use]
pub fn conclude(outcome: &anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let fault = error.downcast_ref::<Fault>();
    let advice = fault.and_then(Fault::advice).map(|advice| format!("; {advice}")).unwrap_or_default();
    eprintln!("walpost: {}{advice}", chain(error.as_ref()));
    let of_demo = || error.downcast_ref::<DemoError>().map(DemoError::exit_code);
    ExitCode::from(fault.map(Fault::exit_code).or_else(of_demo).unwrap_or(exit::FAILED))
}

/// An error and what caused it, in one line. A cause that its effect repeats word for word is said once.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    #[test]
    fn a_cause_is_said_once() {
        let link = |text, source| Link { text, source };
        let cause = link("no route", None);
        let repeating = link("can't connect: no route", Some(Box::new(cause)));
        let outer = link("start", Some(Box::new(repeating)));
        assert_eq!(chain(&outer), "start: can't connect: no route");
    }
}
