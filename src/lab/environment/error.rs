//! Why the environment could not be set up or used.

use rdkafka::error::KafkaError;

use crate::contracts::registered::RegistryError;
use crate::exit::{self, EndsCommand};
use crate::lab::sandbox::SandboxError;
use crate::migrations::MigrateError;
use crate::postgres::{self, OptionsError};

/// A server is unavailable, or does not work as required.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvironmentError {
    /// The argument is not a database URL. It may contain a password, so it is not shown.
    #[error("--postgres is not the URL of a database; write postgres://user:password@host:5432/database")]
    PostgresUrl,
    /// An option in the URL is wrong.
    #[error("--postgres can't be used")]
    PostgresOptions(#[from] OptionsError),
    /// The URL or the environment requires an option that only the relay's client supports.
    #[error("the demo and the benchmark don't support {0}; remove it for them, or use a server on this machine")]
    UnsupportedOption(&'static str),
    /// A server could not be started on this machine.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The database can't be reached.
    #[error("can't connect to PostgreSQL at {address}")]
    NoPostgres {
        /// Host and port.
        address: String,
        /// The reason, from PostgreSQL or the client.
        #[source]
        source: postgres::Error,
    },
    /// The role may not create the database that the demo or the benchmark works in.
    #[error(
        "role {role} may not create a database, and existing ones are not touched; \
         let it (alter role \"{role}\" createdb), or leave --postgres out"
    )]
    MayNotCreateDatabase { role: String },
    /// A request to PostgreSQL failed.
    #[error("can't {action} in PostgreSQL")]
    Postgres {
        /// The verb and its object, as in "create the database".
        action: &'static str,
        /// The reason, from PostgreSQL or the client.
        #[source]
        source: sqlx::Error,
    },
    /// No session for a preparation step.
    #[error("can't open a session in PostgreSQL")]
    Session(#[from] postgres::Error),
    /// The migrations could not be applied.
    #[error("can't apply the migrations")]
    Migrate(#[from] MigrateError),
    /// The schema versions could not be registered.
    #[error("can't register the schema versions")]
    Registry(#[from] RegistryError),
    /// A request to Kafka failed.
    #[error("can't {action} in Kafka at {servers}")]
    Kafka {
        /// The verb and its object, as in "read the topics".
        action: &'static str,
        /// The brokers.
        servers: String,
        /// The client's reason.
        #[source]
        source: KafkaError,
    },
    /// No broker answers.
    #[error("can't reach Kafka at {servers}; check the address, or leave --kafka out for a Kafka on this machine")]
    NoBroker {
        /// The brokers.
        servers: String,
        /// The client's reason.
        #[source]
        source: KafkaError,
    },
}

impl EndsCommand for EnvironmentError {
    /// The exit code of the process: 64 for wrong arguments, 69 for servers.
    fn exit_code(&self) -> u8 {
        match self {
            Self::PostgresUrl | Self::PostgresOptions(_) | Self::UnsupportedOption(_) => exit::CONFIGURATION,
            _ => exit::UNAVAILABLE,
        }
    }
}

impl EnvironmentError {
    /// For `map_err`: the action that failed in Postgres.
    pub(crate) fn postgres(action: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Postgres { action, source }
    }
}
