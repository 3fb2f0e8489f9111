//! The relay's own row in `outbox.relay`, and what may be missing from Kafka according to it.

pub(super) mod relay_state;
pub(super) mod note;
pub(super) mod gap_report;
pub(super) mod gap;
pub(super) mod gap_count;
pub(super) mod secrets;
