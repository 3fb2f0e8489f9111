//! Why the benchmark ended without a result.

use std::time::Duration;

use crate::config::ConfigErrors;
use crate::fault::exit;
use crate::lab::environment::EnvironmentError;
use crate::lab::sandbox::SandboxError;

/// Something is in the benchmark's way.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A server can't be had, or does not do what is needed.
    #[error(transparent)]
    Venue(#[from] EnvironmentError),
    /// The relay's settings are nothing that a configuration takes.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A program to be measured could not be run.
    #[error("can't {action} {program}")]
    Program {
        /// The verb, as in "start".
        action: &'static str,
        /// Which program.
        program: String,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A measured program failed.
    #[error("{program} failed ({status}): {tail}")]
    Failed {
        /// Which program.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it said.
        tail: String,
    },
    /// Nothing moves any more.
    #[error(
        "{what} made no progress for {} s{}",
        waited.as_secs(),
        last_error.as_ref().map(|error| format!("; the relay's last error: {error}")).unwrap_or_default()
    )]
    Stalled {
        /// Who.
        what: String,
        /// How long it was waited for.
        waited: Duration,
        /// The last thing that went wrong in the relay.
        last_error: Option<String>,
    },
    /// Events went to the dead-letter topic: what was measured is not what was asked for.
    #[error("the relay refused {events} events ({codes})")]
    DeadLetters {
        /// How many.
        events: u64,
        /// Their codes.
        codes: String,
    },
    /// The relay without Kafka was pointed at a slot that is not the benchmark's.
    #[error("slot {slot} is none of the benchmark's; a relay that publishes nothing would lose its events")]
    ForeignSlot {
        /// The slot.
        slot: String,
    },
    /// What was made could not be removed: the [`Report`](super::Report) says what.
    #[error("something stays behind: see the report")]
    LeftBehind,
    /// The user wanted no more.
    #[error("interrupted before all was measured")]
    Interrupted,
}

impl From<SandboxError> for BenchError {
    fn from(error: SandboxError) -> Self {
        Self::Venue(error.into())
    }
}

impl BenchError {
    /// The exit code of the process: that of what was measured, where that has one of walpost's own.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Venue(error) => error.exit_code(),
            Self::Config(_) | Self::ForeignSlot { .. } => exit::CONFIGURATION,
            Self::Stalled { .. } => exit::UNAVAILABLE,
            Self::DeadLetters { .. } => exit::REFUSED,
            Self::Failed { status, .. } => {
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                code.filter(|code| *code >= exit::CONFIGURATION && *code < exit::BUG).unwrap_or(exit::FAILED)
            }
            Self::Program { .. } | Self::LeftBehind | Self::Interrupted => exit::FAILED,
        }
    }
}
