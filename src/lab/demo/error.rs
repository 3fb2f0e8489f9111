//! Why the demo ended without a result.

use std::time::Duration;

use walpost_producer::sqlx::EmitError;

use crate::config::ConfigErrors;
use crate::exit::{self, EndsCommand};
use crate::fault::Fault;
use crate::lab::environment::EnvironmentError;

/// Why the demo failed. A check with findings is not an error but a [`Report`](super::Report).
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// A server is unavailable, or does not work as required.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The brokers or the properties are not a valid configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The order service could not continue.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The first events did not arrive.
    #[error(
        "the first events did not arrive within {} s{}",
        waited.as_secs(),
        last_error.as_ref().map(|error| format!("; the relay's last error: {error}")).unwrap_or_default()
    )]
    NotOpened {
        /// How long they were waited for.
        waited: Duration,
        /// The relay's last error.
        last_error: Option<String>,
    },
    /// The relay can't continue.
    #[error("the relay stopped")]
    Relay(#[source] Fault),
    /// The relay exited without being asked to, which is a bug.
    #[error("the relay exited without being asked to: this is a bug")]
    RelayEnded,
    /// The check has findings, or something could not be removed: the [`Report`](super::Report) lists them.
    #[error("the check failed, or not everything could be removed: see the report")]
    Failed,
    /// The user interrupted the demo.
    #[error("interrupted before the check finished")]
    Interrupted,
}

impl EndsCommand for DemoError {
    /// The exit code of the process: 64 for wrong arguments, 69 for servers, 1 for a failed check and an interrupt, and the relay's for
    /// an error that stopped it.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Environment(error) => error.exit_code(),
            Self::Config(_) => exit::CONFIGURATION,
            Self::Service(_) | Self::NotOpened { .. } => exit::UNAVAILABLE,
            Self::Relay(fault) => fault.exit_code(),
            Self::RelayEnded => exit::BUG,
            Self::Failed | Self::Interrupted => exit::FAILED,
        }
    }
}

impl DemoError {
    /// For `map_err`: the action that failed in Postgres.
    pub(super) fn postgres(action: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| EnvironmentError::postgres(action)(source).into()
    }
}

/// Why the order service can't continue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    /// The very first transaction failed.
    #[error("the order service's first transaction failed")]
    First(#[source] WorkloadError),
    /// All transactions have failed for too long.
    #[error("no transaction of the order service succeeded for {} s", limit.as_secs())]
    Outage {
        /// For how long.
        limit: Duration,
        /// Why the last one failed.
        source: WorkloadError,
    },
}

/// A transaction failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkloadError {
    /// An event was rejected.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// Another statement failed.
    #[error("a statement of the order service failed")]
    Statement(#[from] sqlx::Error),
}
