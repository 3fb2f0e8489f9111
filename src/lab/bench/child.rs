//! A measured child process: its time and its memory.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::task::JoinHandle;

use super::error::BenchError;
use crate::lab::sandbox::Workspace;

/// How often a running program is sampled.
const TICK: Duration = Duration::from_millis(5);
/// How many lines of its output an error includes.
const TAIL_LINES: usize = 10;

/// A running program, killed when this is dropped and when this process ends.
#[derive(Debug)]
pub(super) struct Child {
    name: String,
    pid: Pid,
    /// When it was started.
    pub(super) started: Instant,
    said: PathBuf,
    printed: PathBuf,
    /// Whether it has been reaped, after which its process id may be reused. Locked while signalling and reaping.
    gone: Arc<Mutex<bool>>,
    ended: JoinHandle<io::Result<Reaped>>,
    peak_rss_bytes: u64,
    first_output: Option<Instant>,
    workspace: Arc<Workspace>,
}

/// The resource usage of a program that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// What it printed to standard output.
    pub(super) printed: String,
    /// User and system time.
    pub(super) cpu: Duration,
    /// Its peak resident memory.
    pub(super) peak_rss_bytes: u64,
    /// When it first wrote anything; known on Linux only.
    pub(super) first_output: Option<Instant>,
    /// When it ended.
    pub(super) at: Instant,
}

#[derive(Debug)]
struct Reaped {
    status: ExitStatus,
    cpu: Duration,
    max_rss_bytes: u64,
    at: Instant,
}

impl Child {
    /// Starts a program that writes its output to files in the workspace.
    pub(super) fn spawn(name: &str, mut command: Command, workspace: &Arc<Workspace>) -> Result<Self, BenchError> {
        let cant = |source| BenchError::Program { action: "start", program: name.to_owned(), source };
        let [said, printed] = ["stderr", "stdout"].map(|stream| workspace.path().join(stream));
        let (errors, output) = (File::create(&said).map_err(cant)?, File::create(&printed).map_err(cant)?);
        // In its own process group: Ctrl-C in the terminal is for the benchmark, which ends the program.
        command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let started = Instant::now();
        let pid = Pid::from_child(&command.spawn().map_err(cant)?);
        workspace.watch("KILL", pid.as_raw_pid().unsigned_abs());
        let gone = Arc::new(Mutex::new(false));
        let flag = Arc::clone(&gone);
        let ended = tokio::task::spawn_blocking(move || wait(pid, &flag));
        let (name, workspace) = (name.to_owned(), Arc::clone(workspace));
        let (peak_rss_bytes, first_output) = (0, None);
        Ok(Self { name, pid, started, said, printed, gone, ended, peak_rss_bytes, first_output, workspace })
    }

    /// Asks it to terminate.
    pub(super) fn terminate(&mut self) {
        self.sample();
        self.send(Signal::TERM);
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_finished()
    }

    /// Waits at most this long for its end, and samples its memory meanwhile.
    ///
    /// # Errors
    /// [`BenchError::Failed`] if it ended with an error; [`BenchError::Stalled`].
    pub(super) async fn end(mut self, limit: Duration) -> Result<Ended, BenchError> {
        let since = Instant::now();
        let reaped = loop {
            if let Ok(ended) = tokio::time::timeout(TICK, &mut self.ended).await {
                break ended.expect("waiting for a program does not panic");
            }
            self.sample();
            if since.elapsed() > limit {
                return Err(BenchError::Stalled { what: self.name.clone(), waited: limit, last_error: None });
            }
        };
        let cant = |source| BenchError::Program { action: "wait for", program: self.name.clone(), source };
        let Reaped { status, cpu, max_rss_bytes, at } = reaped.map_err(cant)?;
        if !status.success() {
            return Err(BenchError::Failed { program: self.name.clone(), status, tail: self.tail() });
        }
        // A process that was just forked has its parent's memory, which Linux includes in the peak (`exec_mmap` in fs/exec.c).
        let peak_rss_bytes = if self.peak_rss_bytes > 0 { self.peak_rss_bytes } else { max_rss_bytes };
        let printed = fs::read_to_string(&self.printed).unwrap_or_default();
        Ok(Ended { printed, cpu, peak_rss_bytes, first_output: self.first_output, at })
    }

    /// The end of its output.
    fn tail(&self) -> String {
        let said = fs::read(&self.said).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Samples it while it runs, on systems with a proc file system (proc(5)).
    fn sample(&mut self) {
        let folder = PathBuf::from(format!("/proc/{}", self.pid.as_raw_pid()));
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(folder.join(file)).ok()?;
            let value = text.lines().find_map(|line| line.strip_prefix(name))?.trim();
            value.split(' ').next()?.parse::<u64>().ok()
        };
        if let Some(kibibytes) = field("status", "VmHWM:") {
            self.peak_rss_bytes = self.peak_rss_bytes.max(kibibytes * 1024);
        }
        if self.first_output.is_none() && field("io", "wchar:").is_some_and(|bytes| bytes > 0) {
            self.first_output = Some(Instant::now());
        }
    }

    fn send(&self, signal: Signal) {
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        if !*gone {
            // It may just have ended by itself.
            let _ = kill_process(self.pid, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.send(Signal::KILL);
        // The waiting thread sees its end; the files are removed only after that.
        while !*self.gone.lock().unwrap_or_else(PoisonError::into_inner) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.workspace.forget(self.pid.as_raw_pid().unsigned_abs());
    }
}

/// Waits for the end of a process and returns its resource usage.
fn wait(pid: Pid, gone: &Mutex<bool>) -> io::Result<Reaped> {
    // Not reaped at first, so that its process id is not reused while someone is about to signal it.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let waited = loop {
        match waitid(WaitId::Pid(pid), options) {
            Err(rustix::io::Errno::INTR) => {}
            waited => break waited,
        }
    };
    let at = Instant::now();
    let mut gone = gone.lock().unwrap_or_else(PoisonError::into_inner);
    *gone = true;
    waited?;
    let (status, usage) = reap(pid)?;
    // In KiB; on macOS in bytes (getrusage(2)).
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    let max_rss_bytes = u64::try_from(usage.ru_maxrss).unwrap_or(0) * unit;
    Ok(Reaped { status, cpu: time(usage.ru_utime) + time(usage.ru_stime), max_rss_bytes, at })
}

fn time(time: libc::timeval) -> Duration {
    let micros = u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_micros(micros)
}

/// User and system time of this process so far.
#[expect(unsafe_code, reason = "getrusage(2) has no safe binding in rustix or std")]
pub(super) fn own_cpu() -> Duration {
    // SAFETY: an all-zero `rusage` is valid, and getrusage writes only to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

#[expect(unsafe_code, reason = "wait4(2), the resource usage of a single child, has no safe binding in rustix or std")]
fn reap(pid: Pid) -> io::Result<(ExitStatus, libc::rusage)> {
    let mut status = 0;
    // SAFETY: an all-zero `rusage` is valid, and wait4 writes only to its two out-parameters.
    let (found, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(pid.as_raw_pid(), &raw mut status, 0, &raw mut usage), usage)
    };
    if found < 0 { Err(io::Error::last_os_error()) } else { Ok((ExitStatus::from_raw(status), usage)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::EndsCommand;

    fn workspace() -> Arc<Workspace> {
        Arc::new(Workspace::for_own_programs("bench").expect("a folder"))
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_childs_time_and_output_are_measured() {
        let script = "echo done; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let child = Child::spawn("sh", shell(script), &workspace()).expect("sh");
        let ended = child.end(Duration::from_secs(60)).await.expect("it ends well");
        assert_eq!(ended.printed, "done\n");
        assert!(ended.cpu > Duration::from_millis(10), "{ended:?}");
        assert!((100_000..50_000_000).contains(&ended.peak_rss_bytes), "{ended:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_error_includes_the_end_of_the_output() {
        let child = Child::spawn("sh", shell("echo why >&2; exit 69"), &workspace()).expect("sh");
        let error = child.end(Duration::from_secs(60)).await.expect_err("it fails");
        assert!(error.to_string().ends_with(": why"), "{error}");
        assert_eq!(error.exit_code(), 69);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_dropped_child_is_killed() {
        let child = Child::spawn("sleep", shell("exec sleep 600"), &workspace()).expect("sh");
        let pid = child.pid;
        drop(child);
        assert!(rustix::process::test_kill_process(pid).is_err(), "it still runs");
    }
}
