//! Bytes of the replication stream become events.

pub mod pgoutput;
pub mod text_encoding;
pub mod codec;
pub mod scalar;
pub mod role;
pub mod outbox;
pub mod proof;
pub mod event;
