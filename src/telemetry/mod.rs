//! What the relay reports about itself: its log, its metrics, its status.
//!
//! The driver writes to one [`Telemetry`], a few times a second and without a lock in a record's path; `/metrics`,
//! `/readyz` and `/status` read from it. There is one set of numbers: the status is built from the metrics.

pub mod contracts;
pub mod identity;
mod known;
pub mod latency;
pub mod logs;
pub mod metrics;
mod process;
pub mod sides;
pub mod status;
mod text_format;
mod unsendable;

pub use contracts::{ContractMeter, ContractStatus, Contracts};
pub use identity::Identity;
pub use latency::LatencyHistogram;
pub use logs::{LogFormat, LogsError, fatal, init_logs};
pub use metrics::{Metrics, Progress};
pub use sides::{Side, Sides};
pub use status::{LastError, RelayStatus, RewindStatus, Telemetry};
pub use unsendable::{Unsendable, UnsendableStatus};
