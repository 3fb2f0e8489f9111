//! Turns an event into a record, or, where that may not be published, into a dead letter.

pub(super) mod check;
pub mod encode;
pub mod attributes;
pub(super) mod row_headers;
pub(super) mod dropped;
pub(super) mod inline;
pub(super) mod publisher;
