//! Why the columns of an outbox table can't be read as configured.

/// The table in the stream does not match the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A required column is missing (any more).
    #[error(
        "table {table} has no column \"{column}\", which the relay reads as {role}; \
         add the column, or name another one in [[outbox]]"
    )]
    MissingColumn {
        /// The table, as schema.table.
        table: String,
        column: String,
        role: String,
    },
    /// An outbox table was renamed.
    #[error(
        "table {table} was renamed to {now}, which is not configured as an outbox: rename it back, or add the new name to [[outbox]] table and to the publication"
    )]
    Renamed {
        /// The former name, as schema.table.
        table: String,
        /// The current name.
        now: String,
    },
    /// A column's type does not fit its role.
    #[error("column \"{column}\" of table {table} has type {type_name}, which can't be read as {role}; use {allowed}")]
    UnsupportedType {
        /// The table, as schema.table.
        table: String,
        column: String,
        role: String,
        /// Its type, as written in SQL.
        type_name: String,
        /// Types that fit.
        allowed: &'static str,
    },
}
