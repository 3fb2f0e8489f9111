//! The backfill: rows from before the slot, read in the slot's own snapshot.

pub(super) mod backfill;
pub(super) mod rows;
pub(super) mod copy;
