//! Decodes the bytes of the replication stream into events.

pub mod pgoutput;
pub mod text_encoding;
pub mod text;
pub mod codec;
pub mod scalar;
pub mod role;
pub mod rendering;
pub mod outbox;
pub mod layout_error;
pub mod proof;
pub mod span_context;
pub mod event;
pub mod message;
