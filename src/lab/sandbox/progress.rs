//! Progress of downloading and starting a server, which takes noticeable time on a first run.

use std::fmt;
use std::sync::Arc;

/// A progress report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A download in progress; repeated as bytes arrive.
    Fetching {
        /// The display name: "Apache Kafka 4.3.1".
        what: &'a str,
        /// Bytes received.
        done_bytes: u64,
        /// Total bytes, if known.
        total_bytes: Option<u64>,
    },
    /// The server is being set up and started.
    Starting {
        /// The server.
        what: &'a str,
    },
    /// The server is ready.
    Ready {
        /// The server.
        what: &'a str,
    },
}

/// The receiver of steps: a callback, shared by everything that one start involves.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Tell>>);

type Tell = dyn Fn(Step<'_>) + Send + Sync;

impl Progress {
    /// Calls `tell` for every step, from the thread where the step happens.
    pub fn new(tell: impl Fn(Step<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Ignores all steps.
    pub fn silent() -> Self {
        Self(None)
    }

    pub(super) fn tell(&self, step: Step<'_>) {
        if let Some(tell) = &self.0 {
            tell(step);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Progress(callback)" } else { "Progress(silent)" })
    }
}
