//! The replication stream: where it starts, the thread that owns its socket, and the channel to the driver.

pub(super) mod open;
pub(super) mod begin;
pub(super) mod wire;
pub(super) mod watermark;
pub(super) mod skim;
pub(super) mod framing;
pub(super) mod reader;
pub(super) mod handle;
pub(super) mod replay;
pub(super) mod skip;
