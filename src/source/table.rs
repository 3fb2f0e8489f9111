//! An outbox table, as far as its rows are read.

use super::error::TableName;

/// An outbox table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxTable {
    /// Its name; of a partitioned table, the whole table's.
    pub table: TableName,
    /// The columns that are needed; none: all.
    pub columns: Vec<String>,
    /// The column by which rows from before the slot are ordered, if there is one that tells their age. A table that has none of
    /// that name is read in the order in which its rows lie.
    pub order_by: Option<String>,
}
