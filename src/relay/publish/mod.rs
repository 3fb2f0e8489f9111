//! Turns an event into a record, or a dead letter.

pub(super) mod inline;
pub mod attributes;
pub mod data_schema;
pub(super) mod row_headers;
pub(super) mod dropped;
pub mod encode;
pub(super) mod publisher;
