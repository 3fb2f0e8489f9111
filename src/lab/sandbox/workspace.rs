//! A directory for a server's files, removed when its owner is gone, together with the processes that work in it.
//!
//! `Drop` is not enough: statics are never dropped, and a killed process drops nothing. So a small shell script holds the read end of
//! a pipe and cleans up when the pipe closes (`lifeline.sh`). It works the same for a drop and for a SIGKILL, so the rare path is as well
//! tested as the common one.

use std::fs::{self, DirBuilder};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::account::Account;
use super::error::SandboxError;
use super::random;

const LIFELINE: &str = include_str!("lifeline.sh");

/// A new directory under the system's temporary directory, with the lifeline that removes it.
#[derive(Debug)]
pub(crate) struct Workspace {
    path: PathBuf,
    keeper: Child,
    orders: Mutex<Option<ChildStdin>>,
}

impl Workspace {
    /// Creates the directory, with a name that starts with `walpost-<kind>-`, and starts its lifeline. Nobody else may enter the directory,
    /// unless a server runs under another account: then everyone may, and the files in it have their own permissions.
    pub(super) fn create(kind: &str, account: Option<&Account>) -> Result<Self, SandboxError> {
        let path = temporary_folder(account).join(format!("walpost-{kind}-{}", random::token(12)));
        let mode = if account.is_some() { 0o755 } else { 0o700 };
        DirBuilder::new().mode(mode).create(&path).map_err(SandboxError::file("create", &path))?;
        let script = path.join("lifeline.sh");
        fs::write(&script, LIFELINE).map_err(SandboxError::file("write", &script))?;
        let mut keeper = Command::new("sh")
            .arg(&script)
            .arg(&path)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // In its own process group: Ctrl-C in the terminal is for the owner, who stops the servers in order.
            .process_group(0)
            .spawn()
            .map_err(SandboxError::run(Path::new("sh")))?;
        let orders = Mutex::new(keeper.stdin.take());
        Ok(Self { path, keeper, orders })
    }

    /// A workspace for programs that run under the same account as this process.
    pub(crate) fn for_own_programs(kind: &str) -> Result<Self, SandboxError> {
        Self::create(kind, None)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// From now on, `pid` gets `signal` when the owner is gone: "QUIT", "KILL".
    pub(crate) fn watch(&self, signal: &str, pid: u32) {
        self.order(&format!("watch {signal} {pid}\n"));
    }

    /// From now on, the cleanup waits for the process group of `pid`, up to a limit.
    pub(super) fn wait_for_group(&self, pid: u32) {
        self.order(&format!("watch 0 -{pid}\n"));
    }

    /// The group has exited.
    pub(super) fn forget_group(&self, pid: u32) {
        self.order(&format!("forget -{pid}\n"));
    }

    /// From now on, the container with this name is removed when the owner is gone.
    pub(super) fn watch_container(&self, name: &str) {
        self.order(&format!("watch container {name}\n"));
    }

    /// The process has been reaped; its process id may be reused.
    pub(crate) fn forget(&self, pid: u32) {
        self.order(&format!("forget {pid}\n"));
    }

    fn order(&self, line: &str) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipe) = orders.as_mut()
            && let Err(error) = pipe.write_all(line.as_bytes())
        {
            tracing::warn!(error = %error, "sandbox watchdog exited; servers would outlive a killed process");
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        drop(self.orders.lock().unwrap_or_else(PoisonError::into_inner).take());
        let ended = self.keeper.wait();
        // Only needed if the lifeline was killed.
        if self.path.exists()
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), error = %error, ended = ?ended, "can't remove the sandbox's directory");
        }
    }
}

/// The temporary directory or, if the servers' account can't enter it, the first usual one that it can.
fn temporary_folder(account: Option<&Account>) -> PathBuf {
    let wanted = std::env::temp_dir();
    let Some(account) = account else { return wanted };
    let usual = ["/tmp", "/var/tmp"].map(PathBuf::from);
    std::iter::once(wanted.clone()).chain(usual).find(|path| account.can_enter(path)).unwrap_or(wanted)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_of_our_own_servers_is_closed_to_others() {
        let workspace = Workspace::create("test", None).expect("a temporary folder");
        let mode = fs::metadata(workspace.path()).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
