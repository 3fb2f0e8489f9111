//! Why the demo ended without a result.

use std::time::Duration;

use rdkafka::error::KafkaError;
use sqlx::migrate::MigrateError;

use super::service::ServiceError;
use crate::config::ConfigErrors;
use crate::fault::{Fault, exit};
use crate::sandbox::SandboxError;

/// Something is in the demo's way. A check that found something wrong is no error but a [`Report`](super::Report).
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The text given as the database's address is none. It may hold a password, so it is not shown.
    #[error("--postgres is not the URL of a database; write postgres://user:password@host:5432/database")]
    PostgresUrl,
    /// The brokers or the properties are nothing that a configuration takes.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A server could not be put up on this machine.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The database can't be reached.
    #[error("can't connect to PostgreSQL at {address}")]
    NoPostgres {
        /// Host and port.
        address: String,
        /// PostgreSQL's or the client's reason.
        #[source]
        source: sqlx::Error,
    },
    /// The role may not create the demo's database.
    #[error(
        "role {role} may not create a database, and the demo leaves those that exist alone; \
         let it (alter role \"{role}\" createdb), or leave --postgres out"
    )]
    MayNotCreateDatabase {
        /// The role.
        role: String,
    },
    /// PostgreSQL did not do what the demo needs.
    #[error("can't {action} in PostgreSQL")]
    Postgres {
        /// The verb and its object, as in "create the demo's database".
        action: &'static str,
        /// PostgreSQL's or the client's reason.
        #[source]
        source: sqlx::Error,
    },
    /// The migrations could not be applied.
    #[error("can't apply the migrations")]
    Migrate(#[from] MigrateError),
    /// Kafka did not do what the demo needs.
    #[error("can't {action} in Kafka at {servers}")]
    Kafka {
        /// The verb and its object, as in "read the topics".
        action: &'static str,
        /// The brokers that were asked.
        servers: String,
        /// The client's reason.
        #[source]
        source: KafkaError,
    },
    /// No broker answers.
    #[error("no Kafka answers at {servers}; check the address, or leave --kafka out for a Kafka on this machine")]
    NoBroker {
        /// The brokers that were asked.
        servers: String,
        /// The client's reason.
        #[source]
        source: KafkaError,
    },
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
            Self::PostgresUrl | Self::Config(_) => exit::CONFIGURATION,
            Self::Sandbox(_)
            | Self::NoPostgres { .. }
            | Self::MayNotCreateDatabase { .. }
            | Self::Postgres { .. }
            | Self::Migrate(_)
            | Self::Kafka { .. }
            | Self::NoBroker { .. }
            | Self::Service(_)
            | Self::NotOpened { .. } => exit::UNAVAILABLE,
            Self::Relay(fault) => fault.exit_code(),
            Self::RelayEnded => exit::BUG,
            Self::Failed | Self::Interrupted => exit::FAILED,
        }
    }

    /// For `map_err`: what was tried in Postgres.
    pub(super) fn postgres(action: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Postgres { action, source }
    }
}
