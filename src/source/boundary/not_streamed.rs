//! Why Postgres does not stream all of an outbox table. Each message says how to fix it.

use crate::postgres::quote_identifier;
use crate::source::boundary::table::TableName;

/// Rows or columns of an outbox table that Postgres does not stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStreamed {
    /// A view, a foreign table or the like.
    #[error(
        "{table} is a {kind}, and Postgres streams the rows of tables only: set [[outbox]] table to the table itself"
    )]
    Kind {
        /// The relation.
        table: TableName,
        kind: &'static str,
    },
    /// An unlogged table or partition.
    #[error(
        "{} is unlogged, so Postgres does not stream its rows: run `alter table {part} set logged`, then publish its existing rows with `walpost replay --from-table`{}",
        named(table, part),
        if table == part { String::new() } else { format!("; if it is an archive whose rows were published before it was unlogged, close it instead: `alter table {part} add constraint archived check (false) not valid`") }
    )]
    Unlogged {
        /// The outbox table.
        table: TableName,
        /// The unlogged part, or the table itself.
        part: TableName,
    },
    /// A partition on another server.
    #[error(
        "{} is a foreign table that takes rows, and Postgres does not stream those: run `alter table {table} detach partition {part}`; or, if it is an archive, make it read-only (with postgres_fdw: `alter foreign table {part} options (add updatable 'false')`)",
        named(table, part)
    )]
    Foreign {
        /// The outbox table.
        table: TableName,
        /// The partition.
        part: TableName,
    },
    /// A table that inherits from an outbox table.
    #[error(
        "table {child} inherits from {table}, so Postgres streams its rows under its own name: run `alter table {child} no inherit {table}`, or add an [[outbox]] for it"
    )]
    Child {
        /// The outbox table.
        table: TableName,
        child: TableName,
    },
    /// The publication has a column list that lacks columns that are read.
    #[error(
        "publication {publication} excludes {} of table {table} by a column list: run `alter publication {} drop table {table}; alter publication {} add table {table}`",
        columns.join(", "),
        quote_identifier(publication),
        quote_identifier(publication)
    )]
    Columns {
        publication: String,
        table: TableName,
        /// The columns with their roles.
        columns: Vec<String>,
    },
    /// A generated column is read, which the publication does not publish.
    #[error("{}", generated(publication, table, column, role, *can_be_published))]
    Generated {
        publication: String,
        table: TableName,
        column: String,
        role: &'static str,
        /// Whether a setting of the publication would publish it.
        can_be_published: bool,
    },
}

fn named(table: &TableName, part: &TableName) -> String {
    if table == part { format!("table {table}") } else { format!("partition {part} of {table}") }
}

fn generated(publication: &str, table: &TableName, column: &str, role: &str, can_be_published: bool) -> String {
    let column = quote_identifier(column);
    let fix = match can_be_published {
        true => format!(
            "run `alter publication {} set (publish_generated_columns = stored)`",
            quote_identifier(publication)
        ),
        false => "make it an ordinary column filled by a trigger, or set another column in [[outbox]]".to_owned(),
    };
    format!(
        "column {column} of table {table}, which the relay reads as {role}, is generated, and publication {publication} does not publish it: {fix}"
    )
}
