//! What a caller is told while a server is fetched and started: a first run takes seconds that a person should see pass.

use std::fmt;
use std::sync::Arc;

/// One sign of life from the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A file set is on its way; called again as bytes arrive.
    Fetching {
        /// What is fetched, for people: "Apache Kafka 4.3.1".
        what: &'a str,
        /// Bytes that have arrived.
        done_bytes: u64,
        /// Bytes in all, where they are known beforehand.
        total_bytes: Option<u64>,
    },
    /// The server is being set up and started.
    Starting {
        /// Which server.
        what: &'a str,
    },
    /// The server answers.
    Ready {
        /// Which server.
        what: &'a str,
    },
}

/// Where the steps go: a callback, shared by everything that one start sets going.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Tell>>);

type Tell = dyn Fn(Step<'_>) + Send + Sync;

impl Progress {
    /// Calls `tell` for every step, from whichever thread the step happens on.
    pub fn new(tell: impl Fn(Step<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Tells nobody.
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
