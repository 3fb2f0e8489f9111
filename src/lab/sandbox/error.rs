//! Errors of starting a server on this machine, with their fixes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a sandbox server could not be started. Every message ends with a fix.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// An operation on a file or directory of the sandbox failed.
    #[error("can't {action} {}", path.display())]
    File {
        /// The verb, as in "create".
        action: &'static str,
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("can't run {program}")]
    Run {
        /// The program, with its path.
        program: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A program exited with an error.
    #[error("{program} failed ({status}): {output}")]
    Failed {
        /// The program's name.
        program: &'static str,
        /// Its exit status.
        status: String,
        /// The end of its output.
        output: String,
    },
    /// A file could not be downloaded from the Maven repository, after retries.
    #[error("can't fetch {file}: {reason}; check the network, or name a mirror of Maven Central in WALPOST_MAVEN_URL")]
    Fetch {
        /// The file's path in the repository.
        file: String,
        /// The error of the last attempt.
        reason: String,
    },
    /// A downloaded file does not match its pinned digest.
    #[error("{file} has the SHA-256 {found} instead of {expected} and was discarded; check the mirror and the network")]
    Checksum {
        /// The file's path in the repository.
        file: String,
        /// The pinned digest, in hexadecimal.
        expected: String,
        /// The digest of the downloaded file.
        found: String,
    },
    /// No directory is usable for the cache.
    #[error("no cache directory that {reader} can read (tried {tried}); set one with WALPOST_CACHE_DIR")]
    NoCache {
        /// Who must be able to read it.
        reader: String,
        /// The directories that were tried.
        tried: String,
    },
    /// The directory in `WALPOST_POSTGRES_BIN` is unusable.
    #[error("{} (from WALPOST_POSTGRES_BIN) contains no PostgreSQL that this user can run", path.display())]
    NotPostgres {
        /// The directory.
        path: PathBuf,
    },
    /// This machine has no PostgreSQL and none could be downloaded.
    #[error(
        "no PostgreSQL {wanted} on this machine, and none could be downloaded: {reason}; check the network, install one, or name a server with --postgres"
    )]
    NoPostgres {
        /// The requested version.
        wanted: String,
        /// Why the download failed.
        reason: String,
    },
    /// Nothing on this machine can run a real Kafka.
    #[error("no real Kafka can run here ({reason}); install Java 17 or Docker, or name a broker with --kafka")]
    NoKafka {
        /// What is missing.
        reason: String,
    },
    /// A Kafka client could not be created.
    #[error("can't create a Kafka client: {reason}")]
    Client {
        /// librdkafka's reason.
        reason: String,
    },
    /// This kind of Kafka does not support the operation.
    #[error("{kind} can't {action}; install Java 17 for a Kafka that can")]
    Unsupported {
        /// The kind of Kafka, as in [`super::Kafka::describe`].
        kind: String,
        /// The operation.
        action: &'static str,
    },
    /// The server exited before it was ready.
    #[error("{server} exited while starting ({status}); the end of {}:\n{tail}", log.display())]
    Ended {
        server: String,
        /// Its exit status.
        status: String,
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The server did not become ready in time.
    #[error("{server} was not ready after {} s; the end of {}:\n{tail}", waited.as_secs(), log.display())]
    NotReady {
        server: String,
        /// How long it was waited for.
        waited: Duration,
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The server did not stop in time and was killed.
    #[error("{server} did not stop within {} s and was killed", waited.as_secs())]
    NotStopped {
        server: String,
        /// How long it was waited for.
        waited: Duration,
    },
}

impl SandboxError {
    /// For `map_err`: the action that failed, and its path.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { action, path: path.to_path_buf(), source }
    }

    /// For `map_err`: the program that could not be started.
    pub(super) fn run(program: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Run { program: program.display().to_string(), source }
    }
}
