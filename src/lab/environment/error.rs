//! Why the place could not be had or used.

use rdkafka::error::KafkaError;

use crate::contracts::registered::RegistryError;
use crate::fault::exit;
use crate::lab::sandbox::SandboxError;
use crate::migrations::MigrateError;
use crate::postgres::{self, OptionsError};

/// A server can't be had, or does not do what is needed of it.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The text given as the database's address is none. It may hold a password, so it is not shown.
    #[error("--postgres is not the URL of a database; write postgres://user:password@host:5432/database")]
    PostgresUrl,
    /// An option in the URL is wrong.
    #[error("--postgres can't be used")]
    PostgresOptions(#[from] OptionsError),
    /// The URL or the environment demands what only the relay's own client does.
    #[error("the demo and the benchmark can't honour {0}; leave it out for them, or take a server on this machine")]
    Unhonoured(&'static str),
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
        source: postgres::Error,
    },
    /// The role may not create the database that all is done in.
    #[error(
        "role {role} may not create a database, and those that exist are left alone; \
         let it (alter role \"{role}\" createdb), or leave --postgres out"
    )]
    MayNotCreateDatabase {
        /// The role.
        role: String,
    },
    /// PostgreSQL did not do what was needed.
    #[error("can't {action} in PostgreSQL")]
    Postgres {
        /// The verb and its object, as in "create the database".
        action: &'static str,
        /// PostgreSQL's or the client's reason.
        #[source]
        source: sqlx::Error,
    },
    /// No session for a step of the preparation.
    #[error("can't open a session in PostgreSQL")]
    Session(#[from] postgres::Error),
    /// The migrations could not be applied.
    #[error("can't apply the migrations")]
    Migrate(#[from] MigrateError),
    /// The schema versions could not be registered.
    #[error("can't register the schema versions")]
    Registry(#[from] RegistryError),
    /// Kafka did not do what was needed.
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
}

impl EnvironmentError {
    /// The exit code of the process: 64 for what was given on the command line, 69 for servers.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::PostgresUrl | Self::PostgresOptions(_) | Self::Unhonoured(_) => exit::CONFIGURATION,
            _ => exit::UNAVAILABLE,
        }
    }

    /// For `map_err`: what was tried in Postgres.
    pub(crate) fn postgres(action: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Postgres { action, source }
    }
}
