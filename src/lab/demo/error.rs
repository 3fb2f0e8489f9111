//! Why the demo ended without a result.

use std::time::Duration;

use walpost_producer::sqlx::EmitError;

use crate::config::ConfigErrors;
use crate::fault::{Fault, exit};
use crate::lab::environment::EnvironmentError;

/// Something is in the demo's way. A check that found something wrong is no error but a [`Report`](super::Report).
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A server can't be had, or does not do what is needed.
    #[error(transparent)]
    Venue(#[from] EnvironmentError),
    /// The brokers or the properties are nothing that a configuration takes.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The order service could not go on.
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
        /// The last thing that went wrong in the relay.
        last_error: Option<String>,
    },
    /// The relay can't go on.
    #[error("the relay stopped")]
    Relay(#[source] Fault),
    /// The relay ended without being asked to, which is a bug.
    #[error("the relay ended without being asked to: this is a bug")]
    RelayEnded,
    /// The check found something, or something could not be removed: the [`Report`](super::Report) says what.
    #[error("not every event arrived as it should, or something stays behind: see the report")]
    Failed,
    /// The user wanted no more.
    #[error("interrupted before the check was done")]
    Interrupted,
}

impl DemoError {
    /// The exit code of the process: 64 for what was given on the command line, 69 for servers, 1 for a check that failed and
    /// an end by the user, and the relay's own for what stopped it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Venue(error) => error.exit_code(),
            Self::Config(_) => exit::CONFIGURATION,
            Self::Service(_) | Self::NotOpened { .. } => exit::UNAVAILABLE,
            Self::Relay(fault) => fault.exit_code(),
            Self::RelayEnded => exit::BUG,
            Self::Failed | Self::Interrupted => exit::FAILED,
        }
    }

    /// For `map_err`: what was tried in Postgres.
    pub(super) fn postgres(action: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| EnvironmentError::postgres(action)(source).into()
    }
}

/// The service can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The very first transaction failed.
    #[error("the order service's first transaction failed")]
    First(#[source] WorkloadError),
    /// They have failed for too long; this is why the last one did.
    #[error("no transaction of the order service succeeded for {} s", limit.as_secs())]
    Outage {
        /// How long that is.
        limit: Duration,
        /// Why.
        source: WorkloadError,
    },
}

/// A transaction failed.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// An event was refused.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// Something else was.
    #[error("a statement of the order service failed")]
    Statement(#[from] sqlx::Error),
}
