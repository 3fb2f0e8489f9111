//! Why the benchmark ended without a result.

use std::time::Duration;

use crate::config::ConfigErrors;
use crate::exit::{self, EndsCommand};
use crate::lab::environment::EnvironmentError;
use crate::lab::sandbox::SandboxError;

/// Why the benchmark failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// A server is unavailable, or does not work as required.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The relay's settings are not a valid configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A program to measure could not be run.
    #[error("can't {action} {program}")]
    Program {
        /// The verb, such as "start".
        action: &'static str,
        /// The program.
        program: String,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A measured program failed.
    #[error("{program} failed ({status}): {tail}")]
    Failed {
        /// The program.
        program: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The end of its output.
        tail: String,
    },
    /// No progress.
    #[error(
        "{what} made no progress for {} s{}",
        waited.as_secs(),
        last_error.as_ref().map(|error| format!("; the relay's last error: {error}")).unwrap_or_default()
    )]
    Stalled {
        /// What made no progress.
        what: String,
        /// How long it was waited for.
        waited: Duration,
        /// The relay's last error.
        last_error: Option<String>,
    },
    /// Events went to the dead-letter topic, so the measurement is invalid.
    #[error("the relay refused {events} events ({codes})")]
    DeadLetters {
        /// How many.
        events: u64,
        /// Their codes.
        codes: String,
    },
    /// The plain producer's client failed.
    #[error("can't {action} the plain producer")]
    Produce {
        /// The verb, such as "create".
        action: &'static str,
        /// The client's reason.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// Kafka did not accept all records of the plain producer, so the measurement is invalid.
    #[error("Kafka did not accept {records} records of the plain producer")]
    Undelivered {
        /// How many.
        records: u64,
    },
    /// The relay without Kafka was started on a slot that does not belong to the benchmark.
    #[error("slot {slot} does not belong to the benchmark; a relay without Kafka would lose its events")]
    ForeignSlot {
        /// The slot.
        slot: String,
    },
    /// Something that was created could not be removed: the [`Report`](super::Report) lists it.
    #[error("not everything could be removed: see the report")]
    LeftBehind,
    /// The user interrupted the benchmark.
    #[error("interrupted before everything was measured")]
    Interrupted,
}

impl From<SandboxError> for BenchError {
    fn from(error: SandboxError) -> Self {
        Self::Environment(error.into())
    }
}

impl EndsCommand for BenchError {
    /// The exit code of the process: that of the measured program, if it is one of walpost's.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Environment(error) => error.exit_code(),
            Self::Config(_) | Self::ForeignSlot { .. } => exit::CONFIGURATION,
            Self::Stalled { .. } | Self::Produce { .. } | Self::Undelivered { .. } => exit::UNAVAILABLE,
            Self::DeadLetters { .. } => exit::REFUSED,
            Self::Failed { status, .. } => {
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                code.filter(|code| *code >= exit::CONFIGURATION && *code < exit::BUG).unwrap_or(exit::FAILED)
            }
            Self::Program { .. } | Self::LeftBehind | Self::Interrupted => exit::FAILED,
        }
    }
}
