//! A test's `walpost run`: the real binary, with its configuration, log and HTTP address.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use super::{Harness, PATIENCE, POLL};

/// A starting or running relay. Killed when dropped.
pub(crate) struct Relay {
    child: Child,
    folder: TempDir,
}

impl Relay {
    /// Starts `walpost run` on the harness's servers with its name as the slot. `sections` is TOML that follows: keys of
    /// `[relay]` first, then other sections.
    pub(crate) fn start(harness: &Harness, sections: &str) -> Self {
        Self::start_with(&config(harness, sections))
    }

    /// Starts `walpost run` with this configuration.
    pub(crate) fn start_with(config: &str) -> Self {
        // The HTTP client requires a TLS provider, although it uses plain HTTP here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("walpost.toml");
        std::fs::write(&path, config).expect("the configuration is written");
        let log = File::create(folder.path().join("log")).expect("a log file");
        let child = walpost()
            .args(["run", "--log-format", "json", "--log", "walpost=debug,info", "--config"])
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        Self { child, folder }
    }

    /// Waits until `/readyz` returns 200; fails with the log.
    pub(crate) async fn ready(&mut self) {
        let since = Instant::now();
        loop {
            if self.get("/readyz").await.is_some_and(|(code, _)| code == 200) {
                return;
            }
            self.must_run();
            assert!(since.elapsed() < PATIENCE, "the relay is not ready; its log:\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// `/status`.
    pub(crate) async fn status(&self) -> serde_json::Value {
        let (_, body) = self.get("/status").await.unwrap_or_else(|| panic!("no answer; the log:\n{}", self.log()));
        serde_json::from_str(&body).expect("/status is JSON")
    }

    /// Waits for a matching status; fails with both.
    pub(crate) async fn wait_for(
        &mut self,
        wanted: &str,
        is: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let since = Instant::now();
        loop {
            if let Some((_, body)) = self.get("/status").await {
                let status = serde_json::from_str(&body).expect("/status is JSON");
                if is(&status) {
                    return status;
                }
                assert!(since.elapsed() < PATIENCE, "never {wanted}: {body}\nlog:\n{}", self.log());
            }
            self.must_run();
            assert!(since.elapsed() < PATIENCE, "never {wanted}; log:\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the log has this text; fails with the log.
    pub(crate) async fn wait_for_log(&mut self, text: &str) {
        let since = Instant::now();
        while !self.log().contains(text) {
            assert!(since.elapsed() < PATIENCE, "{text:?} is not in the log:\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// A GET: the status code and the body, or `None` while the server is not up.
    pub(crate) async fn get(&self, path: &str) -> Option<(u16, String)> {
        let address = self.address()?.parse().expect("the log has the address");
        let answer = walpost::http::get(address, path, PATIENCE).await.ok()?;
        Some((answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned()))
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the relay can be killed");
        self.child.wait().expect("the relay can be waited for");
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.exit().await
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a process has an id"), signal).expect("the relay can be signalled");
    }

    /// Waits until it ends by itself; fails with the log.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the relay can be waited for") {
                return status;
            }
            assert!(since.elapsed() < PATIENCE, "the relay does not end; its log:\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether it is still running.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the relay can be waited for").is_none()
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its peak memory, in KiB; see `VmHWM` in proc_pid_status(5).
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
    }

    /// Its stderr so far. The line that says why it ended is as in the text format, without JSON's escapes.
    pub(crate) fn log(&self) -> String {
        let mut log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        if let Some(ended) = log.lines().find(|line| line.contains("\"exit_code\":"))
            && let Ok(line) = serde_json::from_str::<serde_json::Value>(ended)
        {
            assert_eq!(
                (&line["level"], line["exit_code"] == 69),
                (&"ERROR".into(), line["retry"].is_boolean()),
                "{line}"
            );
            let report = format!("walpost: {}", line["message"].as_str().expect("a message"));
            log = log.replace(&ended.to_owned(), &report);
        }
        log
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The address in its log.
    pub(crate) fn address(&self) -> Option<String> {
        let log = self.log();
        let line = log.lines().find(|line| line.contains("serving metrics"))?;
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(line["address"].as_str()?.to_owned())
    }

    fn must_run(&mut self) {
        let ended = self.child.try_wait().expect("the relay can be waited for");
        assert!(ended.is_none(), "the relay has ended ({ended:?}); its log:\n{}", self.log());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the relay's log:\n{}", self.log());
        }
    }
}

/// The configuration of a relay on the harness's servers.
pub(crate) fn config(harness: &Harness, sections: &str) -> String {
    format!(
        "[postgres]\nurl = \"{}\"\nslot = \"{}\"\n[kafka]\nbootstrap_servers = \"{}\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [relay]\nretention = \"off\"\ndead_letter_topic = \"{}\"\n{sections}",
        harness.url(),
        harness.name(),
        harness.kafka(),
        harness.topic("dead-letter"),
    )
}

/// The binary, with an environment that does not configure it.
pub(crate) fn walpost() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_walpost"));
    let foreign = |name: &str| name.starts_with("WALPOST_") || name.starts_with("PG") || name == "DATABASE_URL";
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(foreign)) {
        command.env_remove(name);
    }
    command
}
