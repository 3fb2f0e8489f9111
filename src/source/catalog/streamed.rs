//! Compares what Postgres streams of an outbox table with what the relay reads of it. Pure.

use crate::postgres::quote_identifier;
use crate::source::boundary::not_streamed::NotStreamed;
use crate::source::boundary::table::{OutboxTable, TableName};
use crate::source::error::SourceError;

/// From this version on stored generated columns can be published.
const GENERATED_VERSION: u32 = 180_000;

/// What the catalog says about a publication and a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Catalog {
    pub(crate) database: String,
    /// `server_version_num`.
    pub(crate) version: u32,
    pub(crate) publication: Option<Publication>,
    pub(crate) table: Option<CatalogTable>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Publication {
    pub(crate) inserts: bool,
    pub(crate) via_root: bool,
    /// Names the catalog entries by which it has the table.
    pub(crate) entries: String,
}

/// A relation with the table's name.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct CatalogTable {
    /// `pg_class.relkind`.
    pub(crate) kind: String,
    /// `pg_class.relpersistence`.
    pub(crate) persistence: String,
    /// How the publication has it under its own name.
    pub(crate) published: Option<PublishedTable>,
    /// The publication has a partition of it under the partition's name.
    pub(crate) by_partition: bool,
    pub(crate) columns: Vec<CatalogColumn>,
    /// Partitions with rows that are not ordinary logged tables.
    pub(crate) odd_parts: Vec<TablePart>,
    /// Tables that inherit from it, directly or not.
    pub(crate) children: Vec<TableName>,
}

/// How a publication has a table.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct PublishedTable {
    pub(crate) filter: Option<String>,
    /// Its published columns; `None` on servers without column lists, before 15.
    pub(crate) columns: Option<Vec<String>>,
    /// They were listed explicitly.
    pub(crate) has_list: bool,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct CatalogColumn {
    pub(crate) name: String,
    /// `pg_attribute.attgenerated`.
    pub(crate) generated: String,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct TablePart {
    pub(crate) table: TableName,
    pub(crate) kind: String,
    /// Postgres does not refuse every insert into it.
    pub(crate) takes_rows: bool,
}

impl Catalog {
    /// Partitions whose rows are not streamed, and which take no more.
    pub(crate) fn archived(&self) -> Vec<TableName> {
        let parts = self.table.iter().flat_map(|table| &table.odd_parts);
        parts.filter(|part| !part.takes_rows).map(|part| part.table.clone()).collect()
    }
}

/// Whether a publication streams all of a table's inserts, with every column that is read, under the table's own
/// name. `outboxes` are the names of all outbox tables.
pub(crate) fn judge(
    catalog: &Catalog,
    (publication, table): (&str, &OutboxTable),
    outboxes: &[TableName],
) -> Result<(), SourceError> {
    let (name, publication) = (table.table.clone(), publication.to_owned());
    let Some(found) = &catalog.table else {
        return Err(SourceError::TableMissing { table: name, database: catalog.database.clone() });
    };
    if let Some(kind) = kind_of(&found.kind) {
        return Err(NotStreamed::Kind { table: name, kind }.into());
    }
    match &catalog.publication {
        None => return Err(SourceError::PublicationMissing { publication, table: name }),
        Some(found) if !found.inserts => return Err(SourceError::PublicationWithoutInserts { publication }),
        Some(_) => {}
    }
    // A publication for all tables leaves out unlogged ones, and they can't be added to any other.
    if found.kind == "r" && found.persistence != "p" {
        return Err(NotStreamed::Unlogged { table: name.clone(), part: name }.into());
    }
    let by_partition = found.by_partition && !catalog.publication.as_ref().is_some_and(|found| found.via_root);
    let Some(published) = &found.published else {
        return Err(match by_partition {
            true => SourceError::PublicationByPartition { publication, table: name },
            false => SourceError::PublicationLacksTable { publication, table: name },
        });
    };
    if let Some(filter) = published.filter.clone() {
        return Err(SourceError::PublicationFilters { publication, table: name, filter });
    }
    if let Some(part) = found.odd_parts.iter().find(|part| part.takes_rows) {
        let part_name = part.table.clone();
        return Err(match part.kind.as_str() {
            "f" => NotStreamed::Foreign { table: name, part: part_name },
            _ => NotStreamed::Unlogged { table: name, part: part_name },
        }
        .into());
    }
    if let Some(child) = found.children.iter().find(|child| !outboxes.contains(child)) {
        return Err(NotStreamed::Child { table: name, child: child.clone() }.into());
    }
    judge_columns(found, published, (publication, table), catalog.version).map_err(SourceError::from)
}

fn judge_columns(
    found: &CatalogTable,
    published: &PublishedTable,
    (publication, table): (String, &OutboxTable),
    version: u32,
) -> Result<(), NotStreamed> {
    let mut left_out = Vec::new();
    for read in table.outbox.reads() {
        // A missing column is reported by the check of the layout.
        let Some(column) = found.columns.iter().find(|column| column.name == read.column) else { continue };
        let is_generated = !column.generated.is_empty();
        // Up to 17 the catalog lists generated columns too, but none is sent.
        let is_sent = match &published.columns {
            _ if is_generated && version < GENERATED_VERSION => false,
            Some(sent) => sent.contains(&column.name),
            None => !is_generated,
        };
        if is_sent {
            continue;
        }
        let can_be_published = version >= GENERATED_VERSION && column.generated == "s";
        if is_generated && !(can_be_published && published.has_list) {
            return Err(NotStreamed::Generated {
                publication,
                table: table.table.clone(),
                column: column.name.clone(),
                role: read.role,
                can_be_published,
            });
        }
        let shown = quote_identifier(&column.name);
        let shown = if read.role == column.name { shown } else { format!("{shown} ({})", read.role) };
        if !left_out.contains(&shown) {
            left_out.push(shown);
        }
    }
    if left_out.is_empty() {
        return Ok(());
    }
    Err(NotStreamed::Columns { publication, table: table.table.clone(), columns: left_out })
}

/// The name of a relation kind that is not a table.
fn kind_of(relkind: &str) -> Option<&'static str> {
    match relkind {
        "r" | "p" => None,
        "v" => Some("view"),
        "m" => Some("materialized view"),
        "f" => Some("foreign table"),
        "S" => Some("sequence"),
        _ => Some("relation of another kind"),
    }
}

#[cfg(test)]
#[path = "streamed_tests.rs"]
mod tests;
