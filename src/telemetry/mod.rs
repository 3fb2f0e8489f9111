//! What the relay reports about itself: its log, its metrics, its status.
//!
//! The driver writes to one [`Telemetry`], a few times a second and without a lock in a record's path; `/metrics`,
//! `/readyz` and `/status` read from it. There is one set of numbers: the status is built from the metrics.

pub mod identity;
pub mod sides;
mod unsendable;
pub mod contracts;
pub mod latency;
mod known;
mod process;
pub mod metrics;
mod text_format;
pub mod status;
pub mod logs;

pub use contracts::{ContractMeter, ContractMetrics, ContractStatus};
pub use identity::Identity;
pub use latency::LatencyHistogram;
pub use logs::{LogFormat, LogsError, fatal, init_logs};
pub use metrics::{Metrics, ProgressReport};
pub use sides::{Side, Sides};
pub use status::{LastError, RelayStatus, RewindStatus, Telemetry};
pub use unsendable::{Unsendable, UnsendableStatus};
