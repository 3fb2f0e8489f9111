//! The one place where an error ends the relay: its exit code, and what to do.
//!
//! | failure | consequence |
//! |---|---|
//! | a Postgres connection, a walsender, a slot that is held | retried with back-off (the driver's link) |
//! | Kafka, a vanished topic, too few replicas | retried for ever, in order (the sink and the core's retry queue) |
//! | a transaction that Kafka aborts or times out | all of it is sent again, in order (the transactional sink) |
//! | one event that violates its contract | a dead letter; or [`Fault::Halt`] with `on_rejected = "halt"`, or if the contract demands it for a payload |
//! | everything in [`Fault`] | the relay stops, confirms what Kafka has, and exits with the code below |

use std::time::Duration;

use crate::config::ConfigErrors;
use crate::exit::{self, EndsCommand};
use crate::postgres::{self, sqlstate};
use crate::relay::Halt;
use crate::relay::boundary::{Lsn, RefusalCode};
use crate::sink::{ConnectFailure, PositionError, SinkError, TransactionsError};
use crate::source::SourceError;
use crate::telemetry::LogsError;
use crate::terminal::counted;

pub(crate) use crate::exit::chain;

/// Why a command ends before its work is done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The log can't be set up.
    #[error(transparent)]
    Logs(#[from] LogsError),
    /// Postgres can't be reached, or the slot can't be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The Kafka client can't work.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The slot and the position in Kafka do not match.
    #[error(transparent)]
    Position(#[from] PositionError),
    /// Kafka could not be reached at the start.
    #[error("Kafka at {servers} {}", ConnectFailure::describe(*within, reason.as_ref()))]
    KafkaUnreachable {
        /// `bootstrap_servers`.
        servers: String,
        /// How long was waited.
        within: Duration,
        /// The last error of the client.
        reason: Option<ConnectFailure>,
    },
    /// An event, its table or the stream stops the relay.
    #[error(transparent)]
    Halt(#[from] Halt),
    /// `relay.shutdown_timeout` was too short.
    #[error(
        "stopped with work unfinished: {}; events not confirmed to the slot are published again at the next start; \
         raise [relay] shutdown_timeout if that happens without an outage",
        left_undone(*records, waits_for.as_deref())
    )]
    ShutdownTimeout {
        /// How many records Kafka has not acknowledged.
        records: usize,
        /// What else the relay was waiting for.
        waits_for: Option<String>,
    },
    /// The relay's progress could not be confirmed to Postgres.
    #[error(
        "stopped, but could not confirm {lsn} to Postgres; events after the slot's \
         confirmed_flush_lsn are published again at the next start"
    )]
    Unconfirmed {
        /// The LSN to confirm.
        lsn: Lsn,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// Dead letters could not be written.
    #[error(
        "the transaction was not skipped, because its dead letters can't be written to topic {topic}: {reason}; fix that and run the command again"
    )]
    SkipNotWritten {
        /// The dead-letter topic.
        topic: String,
        /// Why.
        reason: String,
    },
    /// The HTTP server can't listen.
    #[error("can't listen on {address}: {source}")]
    Listen {
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

impl EndsCommand for Fault {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(error) => error.exit_code(),
            Self::Logs(error) => error.exit_code(),
            Self::Source(error) => error.exit_code(),
            Self::Sink(error) => error.exit_code(),
            Self::Position(_) | Self::KafkaUnreachable { .. } | Self::SkipNotWritten { .. } => exit::UNAVAILABLE,
            Self::Halt(Halt::Stream { .. } | Halt::Displaced { .. }) => exit::UNAVAILABLE,
            Self::Halt(Halt::Layout(_) | Halt::Refused { .. }) => exit::REFUSED,
            Self::ShutdownTimeout { .. } | Self::Unconfirmed { .. } | Self::Listen { .. } => exit::FAILED,
        }
    }

    fn may_pass(&self) -> bool {
        match self {
            Self::Source(error) => error.may_pass(),
            Self::Sink(error) => error.may_pass(),
            Self::KafkaUnreachable { reason, .. } => reason.as_ref().is_none_or(|reason| reason.may_pass),
            _ => false,
        }
    }

    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Source(error) => error.advice(),
            Self::Listen { .. } => Some("free the port, or set [http] listen to another address or to \"off\""),
            // Rows already written never change, so there must be a way past them.
            Self::Halt(Halt::Layout(_)) => Some(
                "or, if the table has been restored, start the relay with [relay] on_rejected = \"dead-letter-always\" to send the rows written in between to the dead-letter topic",
            ),
            Self::Halt(Halt::Refused { refusal, .. }) if refusal.code == RefusalCode::ContractViolation => Some(
                "start the relay with [relay] on_rejected = \"dead-letter-always\" to send such events to the dead-letter topic",
            ),
            Self::Halt(Halt::Refused { .. }) => Some(
                "start the relay with [relay] on_rejected = \"dead-letter\" to send such events to the dead-letter topic",
            ),
            _ => None,
        }
    }
}

impl EndsCommand for ConfigErrors {
    fn exit_code(&self) -> u8 {
        exit::CONFIGURATION
    }
}

impl EndsCommand for LogsError {
    fn exit_code(&self) -> u8 {
        exit::CONFIGURATION
    }
}

impl EndsCommand for SourceError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::SlotName(_) => exit::CONFIGURATION,
            Self::Layout(_) | Self::NotSkipped(_) => exit::REFUSED,
            _ => exit::UNAVAILABLE,
        }
    }

    fn may_pass(&self) -> bool {
        // A new process continues on the new timeline.
        self.is_transient() || matches!(self, Self::TimelineChanged { .. })
    }

    fn advice(&self) -> Option<&'static str> {
        if let Self::Postgres(error) = self { error.advice() } else { None }
    }
}

impl EndsCommand for postgres::Error {
    fn exit_code(&self) -> u8 {
        exit::UNAVAILABLE
    }

    fn may_pass(&self) -> bool {
        self.is_transient()
    }

    /// How to fix a connection that could not be made; `None` if the error itself says it.
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { .. } | Self::ConnectTimeout { .. } => {
                Some("start Postgres, or correct the database URL")
            }
            Self::Tls { .. } => Some("check sslmode, sslrootcert and the host in the database URL"),
            other => match other.sqlstate()? {
                sqlstate::INVALID_PASSWORD => {
                    Some("correct the password in the database URL, PGPASSWORD or the password file")
                }
                sqlstate::INVALID_AUTHORIZATION => {
                    Some("check the role and sslmode in the database URL, and pg_hba.conf on the server")
                }
                sqlstate::INVALID_CATALOG_NAME => Some("create the database, or correct the database URL"),
                _ => None,
            },
        }
    }
}

impl EndsCommand for SinkError {
    fn exit_code(&self) -> u8 {
        match self {
            // Its settings contradict each other, or a file is missing.
            Self::Create(_) => exit::CONFIGURATION,
            Self::Transactions(
                TransactionsError::Timeout { .. }
                | TransactionsError::Unsupported
                | TransactionsError::ForeignPosition { .. },
            ) => exit::CONFIGURATION,
            Self::Transactions(_) => exit::UNAVAILABLE,
            Self::Stopped | Self::Thread(_) => exit::FAILED,
        }
    }

    fn may_pass(&self) -> bool {
        let passing = |error: &TransactionsError| {
            matches!(error, TransactionsError::NotForgotten { .. } | TransactionsError::NotStored { .. })
        };
        matches!(self, Self::Transactions(error) if passing(error))
    }
}

fn left_undone(records: usize, waits_for: Option<&str>) -> String {
    let records = (records > 0 || waits_for.is_none())
        .then(|| format!("Kafka has not acknowledged {}", counted(records as u64, "record")));
    let waits_for = waits_for.map(|what| format!("the relay was waiting for {what}"));
    records.into_iter().chain(waits_for).collect::<Vec<_>>().join(", and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_48_what_may_pass_by_itself_is_told_from_what_needs_a_decision() {
        let retry = |fault: Fault| exit::CommandError::from(fault).retry();
        let source = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let unreachable = || postgres::Error::Unreachable { host: "db:5432".to_owned(), source: source() };
        let server = |code: &str| {
            postgres::Error::Server(Box::new(postgres::ServerError { code: code.to_owned(), ..Default::default() }))
        };
        assert_eq!(retry(SourceError::Postgres(unreachable()).into()), Some(true));
        assert_eq!(retry(SourceError::Postgres(server(sqlstate::CANNOT_CONNECT_NOW)).into()), Some(true));
        assert_eq!(retry(SourceError::Postgres(server(sqlstate::INVALID_PASSWORD)).into()), Some(false));
        assert_eq!(retry(SourceError::TimelineChanged { before: 1, now: 2 }.into()), Some(true));
        let unpublished = Box::default();
        assert_eq!(retry(SourceError::SlotMissing { slot: "s".to_owned(), unpublished }.into()), Some(false));
        let kafka = |may_pass| {
            let reason = Some(ConnectFailure { cause: "a:1: no".to_owned(), may_pass, is_login: false });
            let within = Duration::from_secs(10);
            Fault::KafkaUnreachable { servers: "a:1".to_owned(), within, reason }
        };
        assert_eq!((retry(kafka(true)), retry(kafka(false))), (Some(true), Some(false)));
        let other = Fault::ShutdownTimeout { records: 1, waits_for: None };
        assert_eq!(retry(other), None, "the exit code says it");
    }

    #[test]
    fn a_shutdown_timeout_reports_what_it_waited_for() {
        let text = |records, waits_for: Option<&str>| {
            let text = Fault::ShutdownTimeout { records, waits_for: waits_for.map(str::to_owned) }.to_string();
            text.split(';').next().map(str::to_owned)
        };
        assert_eq!(
            text(3, None).as_deref(),
            Some("stopped with work unfinished: Kafka has not acknowledged 3 records")
        );
        assert_eq!(text(0, Some("x")).as_deref(), Some("stopped with work unfinished: the relay was waiting for x"));
        assert_eq!(
            text(3, Some("x")).as_deref(),
            Some("stopped with work unfinished: Kafka has not acknowledged 3 records, and the relay was waiting for x")
        );
    }
}
