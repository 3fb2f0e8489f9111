//! What the relay reports about itself: its log, its metrics, its status.
//!
//! The driver writes to one `Telemetry`, a few times a second and without a lock in a record's path; `/metrics`,
//! `/readyz` and `/status` read from it. There is one set of numbers: the status is built from the metrics.

pub(crate) mod identity;
pub(crate) mod sides;
mod unsendable;
pub(crate) mod contracts;
pub(crate) mod latency;
mod known;
mod process;
pub(crate) mod metrics;
mod text_format;
pub(crate) mod status;
pub(crate) mod logs;

pub(crate) use contracts::ContractMeter;
pub(crate) use identity::Identity;
pub(crate) use logs::{LogFormat, LogsError, fatal, init_logs};
pub use metrics::{Metrics, ProgressReport};
pub(crate) use sides::Side;
pub(crate) use status::{RelayStatus, RewindStatus, Telemetry};
pub(crate) use unsendable::Unsendable;
