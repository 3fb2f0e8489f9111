//! How much is kept of a row that is larger than a record may be.

use crate::postgres::HEADER_BYTES;

/// The message head, the XLogData header and the pgoutput tag.
pub(super) const HEAD_BYTES: usize = HEADER_BYTES + 1 + 3 * 8 + 1;
/// Insert: the table's OID, the tuple tag and the number of columns.
pub(super) const INSERT_BYTES: usize = 4 + 1 + 2;

/// How much may be kept of a row: each value up to a limit, and all of them together up to twice that. Columns are
/// kept in order, so one that the relay does not read takes none of the room that a record needs.
#[derive(Debug)]
pub(crate) struct RowBudget {
    limit: usize,
    used: usize,
}

impl RowBudget {
    /// For one row. `limit` is the largest value that is kept, in bytes.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { limit, used: HEAD_BYTES + INSERT_BYTES }
    }

    /// Counts a null.
    pub(crate) const fn null(&mut self) {
        self.used += 1;
    }

    /// Counts a value; returns whether it is kept.
    pub(crate) const fn keeps(&mut self, length: usize) -> bool {
        // The kind and the length of every value are kept.
        self.used += 5;
        let keeps = length <= self.limit && self.used + length <= self.limit.saturating_mul(2);
        if keeps {
            self.used += length;
        }
        keeps
    }
}
