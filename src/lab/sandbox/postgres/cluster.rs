//! A cluster's files: created by initdb, configured, and read to check the server's state.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::binaries::Binaries;
use super::{Durability, PostgresOptions, SUPERUSER};
use crate::lab::sandbox::account::Account;
use crate::lab::sandbox::error::SandboxError;
use crate::lab::sandbox::server;
use crate::lab::sandbox::workspace::Workspace;

/// The longest path of a Unix socket on Linux (108 bytes with the terminator; macOS has 104), minus the name that PostgreSQL appends:
/// `/.s.PGSQL.65535`.
const SOCKET_FOLDER_MAX_BYTES: usize = 103 - 15;
/// The line of `postmaster.pid` with the key and id of the shared memory, from 0; see PostgreSQL's `utils/pidfile.h`.
const PIDFILE_SHARED_MEMORY: usize = 6;
/// The line of `postmaster.pid` with the server's state.
const PIDFILE_STATUS: usize = 7;

/// A cluster that exists.
pub(super) struct Cluster {
    pub(super) data: PathBuf,
    pub(super) socket_folder: Option<PathBuf>,
}

/// Runs initdb for a cluster in `workspace` and writes its configuration.
pub(super) async fn create(
    binaries: &Binaries,
    account: Option<&Account>,
    workspace: &Workspace,
    password: &str,
    options: &PostgresOptions,
) -> Result<Cluster, SandboxError> {
    let folder = workspace.path();
    let data = folder.join("data");
    fs::create_dir(&data).map_err(SandboxError::file("create", &data))?;
    give(&data, account)?;
    let password_file = folder.join("password");
    write_private(&password_file, password.as_bytes(), account)?;
    let mut initdb = command(binaries, "initdb", account, folder);
    initdb.arg("--pgdata").arg(&data).arg("--pwfile").arg(&password_file).args([
        "--username",
        SUPERUSER,
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
        "--no-instructions",
    ]);
    server::run("initdb", initdb, Some(workspace)).await?;
    fs::remove_file(&password_file).map_err(SandboxError::file("remove", &password_file))?;
    for (name, content) in &options.files {
        write_private(&data.join(name), content, account)?;
    }
    let socket_folder = Some(data.clone()).filter(|path| path.as_os_str().len() <= SOCKET_FOLDER_MAX_BYTES);
    append(&data.join("postgresql.conf"), &configuration(socket_folder.as_deref(), options))?;
    prepend(&data.join("pg_hba.conf"), &options.hba)?;
    Ok(Cluster { data, socket_folder })
}

/// A command for one of the cluster's programs, without the caller's `PG*` variables.
pub(super) fn command(binaries: &Binaries, program: &str, account: Option<&Account>, folder: &Path) -> Command {
    let mut command = Command::new(binaries.program(program));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    // The account may not be allowed to enter this process's working directory.
    command.current_dir(folder).env("LC_ALL", "C");
    if let Some(account) = account {
        account.apply(&mut command);
    }
    command
}

/// Whether the postmaster with this process id accepts connections. It writes this to its pid file, which pg_ctl also polls.
pub(super) fn is_ready(data: &Path, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else { return false };
    let mut lines = text.lines();
    lines.next() == Some(pid.to_string().as_str())
        && text.lines().nth(PIDFILE_STATUS).is_some_and(|status| status.trim() == "ready")
}

/// Removes the shared memory of a killed postmaster, which no later start will clean up.
pub(super) fn free_shared_memory(data: &Path) {
    let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else { return };
    let Some(id) = text.lines().nth(PIDFILE_SHARED_MEMORY).and_then(|line| line.split_whitespace().nth(1)) else {
        return;
    };
    let outcome = Command::new("ipcrm").args(["-m", id]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tracing::debug!(shared_memory = id, outcome = ?outcome, "removed the shared memory of a killed postgres");
}

/// The sandbox's parameters, then the caller's: PostgreSQL uses the last of two lines for one parameter.
fn configuration(socket_folder: Option<&Path>, options: &PostgresOptions) -> String {
    let socket_folder = socket_folder.map(|path| path.display().to_string()).unwrap_or_default();
    let fsync = match options.durability {
        Durability::Fsync => "on",
        Durability::NoFsync => "off",
    };
    let own = [
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", &socket_folder),
        ("wal_level", "logical"),
        ("max_wal_senders", "20"),
        ("max_replication_slots", "20"),
        ("max_connections", "200"),
        ("fsync", fsync),
        ("log_line_prefix", "%m [%p] %q%a@%d "),
    ];
    let given = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut text = String::from("\n");
    for (name, value) in own.into_iter().chain(given) {
        let value = value.replace('\\', "\\\\").replace('\'', "''");
        writeln!(text, "{name} = '{value}'").expect("writing to a string does not fail");
    }
    text
}

fn give(path: &Path, account: Option<&Account>) -> Result<(), SandboxError> {
    account.map_or(Ok(()), |account| account.own(path))
}

/// Writes a file that only the server's account can read.
fn write_private(path: &Path, content: &[u8], account: Option<&Account>) -> Result<(), SandboxError> {
    let write = || -> std::io::Result<()> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
    };
    write().map_err(SandboxError::file("write", path))?;
    give(path, account)
}

fn append(path: &Path, text: &str) -> Result<(), SandboxError> {
    let write = || -> std::io::Result<()> { OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes()) };
    write().map_err(SandboxError::file("write", path))
}

fn prepend(path: &Path, lines: &[String]) -> Result<(), SandboxError> {
    if lines.is_empty() {
        return Ok(());
    }
    let old = fs::read_to_string(path).map_err(SandboxError::file("read", path))?;
    fs::write(path, format!("{}\n{old}", lines.join("\n"))).map_err(SandboxError::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_settings_come_last_and_are_quoted() {
        let settings = vec![("application_name".to_owned(), r"it's a \ test".to_owned())];
        let text = configuration(None, &PostgresOptions { settings, ..PostgresOptions::default() });
        assert_eq!(text.lines().last(), Some(r"application_name = 'it''s a \\ test'"));
        assert!(text.contains("fsync = 'on'\n"));
        assert!(text.contains("unix_socket_directories = ''\n"));
    }

    #[test]
    fn only_the_pid_file_of_this_postmaster_counts() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |pid: u32, status: &str| {
            let text = format!("{pid}\n/data\n1\n5432\n\n127.0.0.1\n  123   4\n{status}\n");
            fs::write(folder.path().join("postmaster.pid"), text).expect("own folder");
        };
        assert!(!is_ready(folder.path(), 7));
        write(7, "starting");
        assert!(!is_ready(folder.path(), 7));
        write(7, "ready   ");
        assert!(is_ready(folder.path(), 7));
        assert!(!is_ready(folder.path(), 8));
    }
}
