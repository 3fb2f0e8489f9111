//! What can go wrong while a server is put up on this machine, and what the person in front of it can do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a sandboxed server could not be had. Every message ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A file or folder of the sandbox could not be handled.
    #[error("can't {action} {}", path.display())]
    File {
        /// The verb, as in "create".
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A program that the sandbox runs could not be run at all.
    #[error("can't run {program}")]
    Run {
        /// The program, with its path.
        program: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A program that was to finish its work ended with an error.
    #[error("{program} failed ({status}): {output}")]
    Failed {
        /// The program's name.
        program: &'static str,
        /// How it ended.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// A file could not be fetched from the Maven repository, after the retries.
    #[error("can't fetch {file}: {reason}; check the network, or name a mirror of Maven Central in WALPOST_MAVEN_URL")]
    Fetch {
        /// The file's path in the repository.
        file: String,
        /// What the last attempt met.
        reason: String,
    },
    /// A fetched file is not the one that was pinned.
    #[error(
        "{file} has the SHA-256 {found} instead of {expected}; it was thrown away: the mirror or the path to it is broken"
    )]
    Checksum {
        /// The file's path in the repository.
        file: String,
        /// The pinned digest, in hexadecimal.
        expected: String,
        /// The digest of what came.
        found: String,
    },
    /// No folder can hold what is fetched.
    #[error("no folder for the cache that {reader} can read (tried {tried}); name one in WALPOST_CACHE_DIR")]
    NoCache {
        /// Who must be able to read it.
        reader: String,
        /// The folders that were tried.
        tried: String,
    },
    /// The folder in `WALPOST_POSTGRES_BIN` is of no use.
    #[error("{} (from WALPOST_POSTGRES_BIN) holds no PostgreSQL that this user can run", path.display())]
    NotPostgres {
        /// The folder.
        path: PathBuf,
    },
    /// This machine has no PostgreSQL and none could be fetched.
    #[error(
        "no PostgreSQL {wanted} on this machine, and none could be fetched: {reason}; check the network, install one, or name a server with --postgres"
    )]
    NoPostgres {
        /// The version that was looked for.
        wanted: String,
        /// Why fetching failed.
        reason: String,
    },
    /// Nothing on this machine can run a real Kafka.
    #[error("no real Kafka can run here ({reason}); install Java 17 or Docker, or name a broker with --kafka")]
    NoKafka {
        /// What was looked for and not found.
        reason: String,
    },
    /// A Kafka client for the sandbox's own use could not be made.
    #[error("can't make a Kafka client: {reason}")]
    Client {
        /// librdkafka's reason.
        reason: String,
    },
    /// The kind of Kafka that was started can't do what was asked.
    #[error("{kind} can't {action}; install Java 17 for a Kafka that can")]
    Unsupported {
        /// The kind of Kafka, as [`super::Kafka::describe`] says it.
        kind: String,
        /// What was asked.
        action: &'static str,
    },
    /// The server ended before it was ready.
    #[error("{server} ended while starting ({status}); the end of {}:\n{tail}", log.display())]
    Ended {
        /// Which server.
        server: String,
        /// Its exit status.
        status: String,
        /// Where its log is.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The server runs but did not become ready.
    #[error("{server} was not ready after {} s; the end of {}:\n{tail}", waited.as_secs(), log.display())]
    NotReady {
        /// Which server.
        server: String,
        /// How long it was waited for.
        waited: Duration,
        /// Where its log is.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The server did not end when asked to; it was killed.
    #[error("{server} did not stop within {} s and was killed", waited.as_secs())]
    NotStopped {
        /// Which server.
        server: String,
        /// How long it was waited for.
        waited: Duration,
    },
}

impl SandboxError {
    /// For `map_err`: what was tried on which path.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { action, path: path.to_path_buf(), source }
    }

    /// For `map_err`: the program that could not be run.
    pub(super) fn run(program: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Run { program: program.display().to_string(), source }
    }
}
