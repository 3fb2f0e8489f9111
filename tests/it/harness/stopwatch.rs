//! How long each test takes. `.ci/run` shows the slowest.

use std::fs::{OpenOptions, create_dir_all};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Adds a line to a file of the process in `target/tmp/test-times` when it is dropped: seconds, a tab, the test's name.
pub(super) struct Stopwatch {
    started: Instant,
    test: String,
}

impl Stopwatch {
    /// Starts for the test that runs on this thread.
    pub(super) fn start() -> Self {
        let test = std::thread::current().name().unwrap_or("unknown").to_owned();
        Self { started: Instant::now(), test }
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("test-times");
        let line = format!("{:.1}\t{}\n", self.started.elapsed().as_secs_f64(), self.test);
        let file = folder.join(std::process::id().to_string());
        // A failed write fails no test.
        let _ = create_dir_all(&folder)
            .and_then(|()| OpenOptions::new().create(true).append(true).open(file))
            .and_then(|mut file| file.write_all(line.as_bytes()));
    }
}
