//! A server process: started with its output in a log file, and reliably stopped.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::error::SandboxError;
use super::workspace::Workspace;

/// The polling interval for states that a server does not announce.
pub(super) const POLL: Duration = Duration::from_millis(10);
/// How long a server may take to exit once its owner has dropped it; then it is killed.
const FAREWELL: Duration = Duration::from_secs(10);
/// How much of a log an error message includes.
const TAIL_LINES: usize = 15;

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Server {
    name: String,
    child: Child,
    log: PathBuf,
    farewell: Farewell,
    workspace: Arc<Workspace>,
}

/// How to stop a server whose data is no longer needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    /// It has resources to release, and exits immediately: Postgres's shared memory, on SIGQUIT.
    Quit,
    /// It can be killed.
    Kill,
}

impl Server {
    /// Starts `command` with its output appended to `log`.
    pub(super) fn spawn(
        name: &str,
        command: &mut Command,
        log: &Path,
        farewell: Farewell,
        workspace: &Arc<Workspace>,
    ) -> Result<Self, SandboxError> {
        // The log contains what the server was asked.
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(log);
        let file = file.map_err(SandboxError::file("open the log", log))?;
        let errors = file.try_clone().map_err(SandboxError::file("open the log", log))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            // In its own process group: Ctrl-C in the terminal is for the owner, who stops its servers in order.
            .process_group(0)
            .spawn()
            .map_err(SandboxError::run(Path::new(command.get_program())))?;
        workspace.watch(farewell.signal_name(), child.id());
        Ok(Self { name: name.to_owned(), child, log: log.to_path_buf(), farewell, workspace: Arc::clone(workspace) })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Polls until `ready` returns true; fails if the server exits first, or after `limit`.
    pub(super) async fn wait_ready(
        &mut self,
        limit: Duration,
        mut ready: impl AsyncFnMut() -> bool,
    ) -> Result<(), SandboxError> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                let (server, log) = (self.name.clone(), self.log.clone());
                return Err(SandboxError::Ended { server, status: status.to_string(), tail: tail(&log), log });
            }
            if ready().await {
                return Ok(());
            }
            if since.elapsed() > limit {
                let (server, log) = (self.name.clone(), self.log.clone());
                return Err(SandboxError::NotReady { server, waited: limit, tail: tail(&log), log });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Stops the server with `signal` and waits for it; kills it after `limit` and returns an error.
    pub(super) async fn stop(mut self, signal: Signal, limit: Duration) -> Result<(), SandboxError> {
        self.send(signal);
        let since = Instant::now();
        while self.ended().is_none() {
            if since.elapsed() > limit {
                let server = self.name.clone();
                self.kill();
                return Err(SandboxError::NotStopped { server, waited: limit });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// SIGKILL, and waits until the process is gone.
    pub(super) fn kill(mut self) {
        self.end_with(Signal::KILL);
    }

    /// SIGKILL for the process and all its children, as in a power failure.
    pub(super) fn kill_tree(mut self) {
        // While it is stopped it neither starts nor reaps children, so their process ids remain valid.
        self.send(Signal::STOP);
        for child in children_of(self.pid()) {
            // It may just have exited by itself.
            let _ = kill_process(child, Signal::KILL);
        }
        self.end_with(Signal::KILL);
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("a child can be waited for");
        if status.is_some() {
            self.workspace.forget(self.child.id());
        }
        status
    }

    fn send(&mut self, signal: Signal) {
        // The child has not been waited for, so its process id is still valid, even if it has exited.
        if self.ended().is_none()
            && let Err(error) = kill_process(Pid::from_child(&self.child), signal)
        {
            tracing::warn!(server = %self.name, signal = ?signal, error = %error, "can't signal a sandbox server");
        }
    }

    fn end_with(&mut self, signal: Signal) {
        self.send(signal);
        let since = Instant::now();
        while self.ended().is_none() {
            if since.elapsed() > FAREWELL {
                self.send(Signal::KILL);
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end_with(match self.farewell {
            Farewell::Quit => Signal::QUIT,
            Farewell::Kill => Signal::KILL,
        });
    }
}

impl Farewell {
    fn signal_name(self) -> &'static str {
        match self {
            Self::Quit => "QUIT",
            Self::Kill => "KILL",
        }
    }
}

/// Runs a short program, and returns its standard output. It also finishes if this future is dropped, and the end of `workspace`
/// waits for it: a killed initdb leaves shared memory behind.
pub(super) async fn run(
    program: &'static str,
    mut command: Command,
    workspace: Option<&Workspace>,
) -> Result<String, SandboxError> {
    let path = PathBuf::from(command.get_program());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().map_err(SandboxError::run(&path))?;
    let id = child.id();
    if let Some(workspace) = workspace {
        workspace.wait_for_group(id);
    }
    // A thread and not an async child, which would remain a zombie if this future is dropped.
    let output = tokio::task::spawn_blocking(move || child.wait_with_output())
        .await
        .expect("waiting for a program does not panic")
        .map_err(SandboxError::run(&path))?;
    if let Some(workspace) = workspace {
        workspace.forget_group(id);
    }
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(SandboxError::Failed { program, status: output.status.to_string(), output: last_lines(&text) })
}

/// The child processes of `pid`: from the proc file system if there is one, otherwise from ps.
fn children_of(pid: u32) -> Vec<Pid> {
    let pairs: Vec<(i32, u32)> = match std::fs::read_dir("/proc") {
        Ok(entries) => entries.flatten().filter_map(|entry| parent_in_proc(&entry.path())).collect(),
        Err(_) => {
            let output = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output();
            let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            text.lines().filter_map(parse_pair).collect()
        }
    };
    pairs.into_iter().filter(|(_, parent)| *parent == pid).filter_map(|(child, _)| Pid::from_raw(child)).collect()
}

/// The process of a directory in `/proc`, and its parent; see proc_pid_stat(5).
fn parent_in_proc(folder: &Path) -> Option<(i32, u32)> {
    let process = folder.file_name()?.to_str()?.parse().ok()?;
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    // The name in parentheses may contain anything; the state and the parent follow the last one.
    let (_, rest) = stat.rsplit_once(") ")?;
    Some((process, rest.split(' ').nth(1)?.parse().ok()?))
}

fn parse_pair(line: &str) -> Option<(i32, u32)> {
    let (process, parent) = line.trim().split_once(char::is_whitespace)?;
    Some((process.parse().ok()?, parent.trim().parse().ok()?))
}

fn tail(log: &Path) -> String {
    last_lines(&String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let found = children_of(std::process::id());
        child.kill().expect("an own child");
        child.wait().expect("an own child");
        assert!(found.contains(&Pid::from_child(&child)), "{found:?}");
    }

    #[test]
    fn ps_lines_are_read() {
        assert_eq!(parse_pair("  123     1"), Some((123, 1)));
        assert_eq!(parse_pair("nothing"), None);
    }

    #[test]
    fn the_last_lines_are_kept() {
        let text: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert!(last_lines(&text).starts_with("85\n"));
        assert_eq!(last_lines("one"), "one");
    }
}
