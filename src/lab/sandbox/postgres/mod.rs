//! A temporary PostgreSQL cluster: created, started, stopped, killed and restarted.
//!
//! It listens on 127.0.0.1 and, if the path is short enough, on a Unix socket in its data directory. The superuser's password is
//! random, so that other users of the machine can't connect.

mod binaries;
mod cluster;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use binaries::Binaries;
pub use binaries::PostgresVersion;

use super::account::Account;
use super::error::SandboxError;
use super::progress::{Progress, Step};
use super::random;
use super::server::{Farewell, Server};
use super::workspace::Workspace;

/// The superuser's name.
const SUPERUSER: &str = "postgres";
/// Time limit until the server accepts connections, including recovery after a kill under load.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Time limit for a fast shutdown. It waits for walreceivers, which may be waiting themselves.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Attempts of a first start: another process may take the free port.
const FIRST_ATTEMPTS: u32 = 3;
/// Attempts of a restart. The processes of a killed server release its shared memory a moment later; until then a start fails.
const FURTHER_ATTEMPTS: u32 = 20;
/// The pause between attempts.
const START_PAUSE: Duration = Duration::from_millis(250);

/// What to start. The default is the installed PostgreSQL with logical replication, as durable as in production.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    pub version: PostgresVersion,
    /// Whether commits wait for the disk.
    pub durability: Durability,
    /// Further parameters of `postgresql.conf`, name and value as text; they override the sandbox's.
    pub settings: Vec<(String, String)>,
    /// Lines before the sandbox's in `pg_hba.conf`.
    pub hba: Vec<String>,
    /// Files for the data directory, name and content, readable by the server only, such as a certificate and its key.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Whether a commit survives a crash of the machine. It survives a crash of the server either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// `fsync = on`, as in production.
    #[default]
    Fsync,
    /// `fsync = off`: faster on a slow disk, and unsuitable for measurements.
    NoFsync,
}

/// How to stop the server; see "Shutting Down the Server" in PostgreSQL's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Ends the sessions and writes a checkpoint.
    Fast,
    /// Exits immediately; the next start recovers.
    Immediate,
}

/// A PostgreSQL server. Dropping it stops the server and removes its files, as does the end of this process.
#[derive(Debug)]
pub struct Postgres {
    binaries: Binaries,
    account: Option<Account>,
    data: PathBuf,
    log: PathBuf,
    socket_folder: Option<PathBuf>,
    port: u16,
    password: String,
    server: Option<Server>,
    workspace: Arc<Workspace>,
}

impl Postgres {
    /// Creates a cluster and starts it.
    ///
    /// # Errors
    /// PostgreSQL is neither installed nor can it be downloaded, or it does not start.
    pub async fn start(options: PostgresOptions, progress: &Progress) -> Result<Self, SandboxError> {
        let account = Account::for_servers();
        let binaries = Binaries::obtain(options.version, account.as_ref(), progress).await?;
        let what = binaries.describe();
        progress.tell(Step::Starting { what: &what });
        let workspace = Arc::new(Workspace::create("postgres", account.as_ref())?);
        let password = random::token(24);
        let cluster = cluster::create(&binaries, account.as_ref(), &workspace, &password, &options).await?;
        let mut postgres = Self {
            binaries,
            account,
            data: cluster.data,
            log: workspace.path().join("postgres.log"),
            socket_folder: cluster.socket_folder,
            port: 0,
            password,
            server: None,
            workspace,
        };
        postgres.start_on(random::free_port, FIRST_ATTEMPTS).await?;
        progress.tell(Step::Ready { what: &what });
        Ok(postgres)
    }

    /// Such as "PostgreSQL 15.18 (this machine's)".
    pub fn describe(&self) -> String {
        self.binaries.describe()
    }

    /// The superuser's connection URL for the database `postgres`.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The superuser's connection URL for a database whose name needs no escaping.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The TCP port on 127.0.0.1. It survives [`Self::start_again`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The directory of the Unix socket, unless its path would be too long.
    pub fn socket_folder(&self) -> Option<&Path> {
        self.socket_folder.as_deref()
    }

    /// The data directory.
    pub fn data_path(&self) -> &Path {
        &self.data
    }

    /// The server's log.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The path of a program of the same version, such as `pg_recvlogical`. A downloaded PostgreSQL has few of them.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        Some(self.binaries.program(name)).filter(|path| path.is_file())
    }

    /// The postmaster's process id; `None` while the server is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// Stops the server and waits for its exit. Does nothing if it is stopped.
    ///
    /// # Errors
    /// The server did not exit within a minute and was killed.
    pub async fn stop(&mut self, mode: StopMode) -> Result<(), SandboxError> {
        let signal = match mode {
            StopMode::Fast => Signal::INT,
            StopMode::Immediate => Signal::QUIT,
        };
        match self.server.take() {
            Some(server) => server.stop(signal, STOP_LIMIT).await,
            None => Ok(()),
        }
    }

    /// SIGKILL for the postmaster and its sessions, as in a power failure, except for unsynced writes.
    pub fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill_tree();
        }
    }

    /// Starts the stopped server on the same port and data, and waits until it accepts connections.
    ///
    /// # Errors
    /// The server does not start.
    pub async fn start_again(&mut self) -> Result<(), SandboxError> {
        if self.server.is_some() {
            return Ok(());
        }
        let port = self.port;
        self.start_on(|| port, FURTHER_ATTEMPTS).await
    }

    async fn start_on(&mut self, choose_port: impl Fn() -> u16, attempts: u32) -> Result<(), SandboxError> {
        let mut attempt = 1;
        loop {
            self.port = choose_port();
            match self.start_once().await {
                Err(SandboxError::Ended { .. }) if attempt < attempts => attempt += 1,
                outcome => return outcome,
            }
            tokio::time::sleep(START_PAUSE).await;
        }
    }

    async fn start_once(&mut self) -> Result<(), SandboxError> {
        let mut command = self.command("postgres");
        command.arg("-D").arg(&self.data).arg("-p").arg(self.port.to_string());
        let mut server = Server::spawn(&self.describe(), &mut command, &self.log, Farewell::Quit, &self.workspace)?;
        let pid = server.pid();
        server.wait_ready(START_LIMIT, async || cluster::is_ready(&self.data, pid)).await?;
        self.server = Some(server);
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        cluster::command(&self.binaries, program, self.account.as_ref(), self.workspace.path())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        match self.server.take() {
            Some(server) => drop(server),
            None => cluster::free_shared_memory(&self.data),
        }
    }
}
