//! A PostgreSQL cluster of our own: made, started, stopped, killed and started again.
//!
//! It listens on 127.0.0.1 and, where the path is short enough for one, on a Unix socket in its data folder. The
//! superuser's password is random, so that the machine's other users can't get in.

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
/// How long the server may take to accept connections; recovery after a kill under load is in it.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a fast shutdown may take. It waits for the receivers of replication, which may be waiting themselves.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How often a first start is tried: the port that was free may be taken.
const FIRST_ATTEMPTS: u32 = 3;
/// How often a further start is tried. The processes of a server that was killed let go of its memory a moment later, and until then the
/// next one refuses to start.
const FURTHER_ATTEMPTS: u32 = 20;
/// The pause between attempts.
const START_PAUSE: Duration = Duration::from_millis(250);

/// What to start. The default is the machine's own PostgreSQL, with logical replication on and durable as in production.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Which version.
    pub version: PostgresVersion,
    /// Whether commits wait for the disk.
    pub durability: Durability,
    /// Further parameters of `postgresql.conf`, name and value as text; they win over the sandbox's own.
    pub settings: Vec<(String, String)>,
    /// Lines that stand before the sandbox's own in `pg_hba.conf`.
    pub hba: Vec<String>,
    /// Files for the data folder, name and content, readable by the server only: a certificate and its key.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Whether a commit survives a crash of the machine. A crash of the server it survives either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// `fsync = on`, as in production.
    #[default]
    Fsync,
    /// `fsync = off`: faster on a slow disk, and no basis for a measurement.
    NoFsync,
}

/// How to stop the server; see "Shutting Down the Server" in PostgreSQL's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Ends the sessions and writes a checkpoint.
    Fast,
    /// Ends at once; the next start recovers.
    Immediate,
}

/// A PostgreSQL server. Dropping it ends the server and removes its files, as does the end of this process.
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
    /// Makes a cluster and starts it.
    ///
    /// # Errors
    /// No PostgreSQL is here and none can be fetched, or it does not start.
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

    /// "PostgreSQL 15.18 (this machine's)".
    pub fn describe(&self) -> String {
        self.binaries.describe()
    }

    /// The superuser's connection URL for the database `postgres`.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The superuser's connection URL for a database, whose name needs no escaping.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The TCP port on 127.0.0.1. It stays the same over [`Self::start_again`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The folder of the Unix socket; none where its path would be too long for one.
    pub fn socket_folder(&self) -> Option<&Path> {
        self.socket_folder.as_deref()
    }

    /// The data folder.
    pub fn data_path(&self) -> &Path {
        &self.data
    }

    /// The server's log.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// One of PostgreSQL's programs of the same version, as `pg_recvlogical`. A fetched PostgreSQL has few of them.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        Some(self.binaries.program(name)).filter(|path| path.is_file())
    }

    /// The postmaster's process id; none while the server is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// Stops the server and waits for its end. Does nothing when it is stopped already.
    ///
    /// # Errors
    /// The server did not end within a minute; it was killed then.
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

    /// SIGKILL for the postmaster and its sessions, as when the machine's power goes, but for what the disk has yet to write.
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
