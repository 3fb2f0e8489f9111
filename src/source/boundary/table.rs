//! An outbox table, as far as its rows are read.

use std::fmt;

use crate::postgres::quote_identifier;
use crate::relay::decode::outbox::Outbox;
use crate::relay::decode::role::Role;

/// A table's schema and name, displayed quoted, so that it can be pasted into SQL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize)]
pub struct TableName {
    pub schema: String,
    pub name: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", quote_identifier(&self.schema), quote_identifier(&self.name))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxTable {
    /// Its name; for a partitioned table, the root's.
    pub table: TableName,
    /// Its columns as configured.
    pub outbox: Outbox,
}

impl OutboxTable {
    #[must_use]
    pub fn of(outbox: &Outbox) -> Self {
        let table = TableName { schema: outbox.namespace.clone(), name: outbox.table.clone() };
        Self { table, outbox: outbox.clone() }
    }

    /// The column configured to give the age of rows. Whether the table has it is another question.
    pub(crate) fn created_at(&self) -> Option<&str> {
        let column = self.outbox.columns.iter().find(|column| column.role == Role::CreatedAt);
        column.map(|column| column.name.as_str())
    }
}
