//! The one place where an error becomes an end of the relay: an exit code, and what to do.
//!
//! | what failed | what follows |
//! |---|---|
//! | a connection to Postgres, a walsender, a slot that is held | retried with back-off (the driver's link) |
//! | Kafka, a topic that went away, too few replicas | retried for ever, in order (the sink and the core's returns) |
//! | one event against its contract | a dead letter, or [`Fault::Halt`] with `on_rejected = "halt"` |
//! | everything in [`Fault`] | the relay stops, confirms what Kafka has, and exits with the code below |

use std::error::Error;
use std::process::ExitCode;

use crate::config::ConfigErrors;
use crate::demo::DemoError;
use crate::relay::Halt;
use crate::relay::boundary::Lsn;
use crate::sink::SinkError;
use crate::source::SourceError;

/// Why a command ends before its work is done.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The configuration has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Postgres can't be reached, or the slot can't be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The database can't be reached.
    #[error("can't connect to the database")]
    Database(#[source] sqlx::Error),
    /// The Kafka client can't work.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Kafka could not be reached at the start.
    #[error("Kafka at {servers} did not answer within {} s: start it, or correct [kafka] bootstrap_servers", within.as_secs())]
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
    /// A server of the demo's or the benchmark's can't be had.
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::SandboxError),
}

/// Exit codes, as DESIGN has them; after sysexits.h where it has a word for it.
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
    /// The code that the process ends with.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => exit::CONFIGURATION,
            Self::Source(_) | Self::Database(_) | Self::Sink(_) | Self::KafkaUnreachable { .. } | Self::Sandbox(_) => {
                exit::UNAVAILABLE
            }
            Self::Halt(Halt::Stream { .. }) => exit::UNAVAILABLE,
            Self::Halt(Halt::Layout(_) | Halt::Refused { .. }) => exit::REFUSED,
            Self::ShutdownTimeout { .. } | Self::Unconfirmed { .. } | Self::Listen { .. } => exit::FAILED,
        }
    }
}

/// The exit code of a command's outcome, said on stderr.
#[must_use]
pub fn conclude(outcome: &anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    eprintln!("walpost: {}", chain(error.as_ref()));
    let of_fault = error.downcast_ref::<Fault>().map(Fault::exit_code);
    let of_demo = || error.downcast_ref::<DemoError>().map(DemoError::exit_code);
    ExitCode::from(of_fault.or_else(of_demo).unwrap_or(exit::FAILED))
}

/// An error and what caused it, in one line.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
