//! Values about the server, the tables and the slot for other modules; none needs a connection.

pub(super) mod service;
pub(super) mod table;
pub(super) mod not_streamed;
pub(super) mod gap_report;
pub(super) mod holder;
pub(super) mod place;
pub(super) mod not_skipped;
pub(super) mod past_backfill;
