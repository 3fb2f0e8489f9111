//! An outbox table according to the catalog: how the walsender would describe it in a Relation message, and whether
//! that matches the configuration.

use std::collections::HashMap;

use super::column_type::SENT_AS;
use crate::postgres::{Connection, quote_identifier};
use crate::relay::boundary::{ColumnType, Lsn};
use crate::relay::decode::codec::PLAIN_TYPES;
use crate::relay::decode::layout_error::LayoutError;
use crate::relay::decode::outbox::{Layout, Unresolved};
use crate::relay::decode::pgoutput::{self, Frame, Message};
use crate::source::boundary::table::OutboxTable;
use crate::source::boundary::table::TableName;
use crate::source::error::SourceError;
use crate::source::frames::{FrameWriter, RelationColumn, RelationFrame, TooLong};
use crate::source::server::answer::{first, number};

/// OIDs of `timestamp` and `timestamptz`.
const TIMES: [u32; 2] = [1114, 1184];

/// A table as the stream would describe it.
pub(crate) struct Description {
    pub(crate) relation: RelationFrame,
    /// The types of its columns by OID.
    types: HashMap<u32, ColumnType>,
    is_partitioned: bool,
}

/// Key columns are those that pgoutput marks as such: all, none, the primary key's or an index's, depending on the
/// replica identity. Generated columns are sent only if the publication names them (18 and newer).
fn columns_query() -> String {
    format!(
        "select a.attname, a.atttypid, a.atttypmod, t.typsend::oid <> 0, \
                c.relreplident = 'f' or exists (select from pg_index i where i.indrelid = c.oid and a.attnum = any (i.indkey) \
                    and case c.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end), \
                format_type(t.oid, null), {SENT_AS} \
         from pg_attribute a join pg_type t on t.oid = a.atttypid left join pg_proc p on p.oid = t.typsend \
         join pg_class c on c.oid = a.attrelid \
         where c.oid = $1::text::oid and a.attnum > 0 and not a.attisdropped \
           and (a.attgenerated = '' or a.attgenerated = 's' and current_setting('server_version_num')::int >= 180000 and a.attname in ( \
               select jsonb_array_elements_text(to_jsonb(l) -> 'attnames') from pg_publication_tables l \
               where l.pubname = $2 and l.schemaname = $3 and l.tablename = $4)) \
         order by a.attnum"
    )
}

impl Description {
    /// Reads it; `None` if there is no such table.
    ///
    /// # Errors
    /// Those of the connection.
    pub(crate) fn read(
        control: &mut Connection,
        publication: &str,
        table: &TableName,
    ) -> Result<Option<Self>, SourceError> {
        let question = "the columns of an outbox table";
        let found = control.query(
            "select c.oid, c.relreplident, c.relkind = 'p' from pg_class c join pg_namespace n on n.oid = c.relnamespace \
             where n.nspname = $1 and c.relname = $2",
            &[Some(&table.schema), Some(&table.name)],
        )?;
        if found.is_empty() {
            return Ok(None);
        }
        let row = first(&found, question)?;
        let oid: u32 = number(row, 0, question)?;
        let replica_identity = row.text(1).and_then(|text| text.bytes().next()).unwrap_or(b'd');
        let is_partitioned = row.is_true(2);
        let rows = control.query(
            &columns_query(),
            &[Some(&oid.to_string()), Some(publication), Some(&table.schema), Some(&table.name)],
        )?;
        let mut columns = Vec::with_capacity(rows.len());
        let mut types = HashMap::new();
        for row in &rows {
            let text = |column| row.text(column).map(str::to_owned).ok_or(SourceError::Answer { question });
            let column = RelationColumn {
                name: text(0)?,
                type_oid: number(row, 1, question)?,
                type_modifier: number(row, 2, question)?,
                binary: row.is_true(3),
                key: row.is_true(4),
            };
            let sent_as = row.text(6).and_then(|oid| oid.parse().ok());
            types.insert(column.type_oid, ColumnType { name: text(5)?, sent_as });
            columns.push(column);
        }
        let relation = RelationFrame { oid, table: table.clone(), replica_identity, columns };
        Ok(Some(Self { relation, types, is_partitioned }))
    }

    /// Whether the core can read the table's rows as they are sent from now on, by the core's own rules.
    ///
    /// # Errors
    /// [`SourceError::Layout`].
    pub(crate) fn check(&self, table: &OutboxTable) -> Result<(), SourceError> {
        let question = "the columns of an outbox table";
        let mut writer = FrameWriter { bytes: Vec::new(), commit: Lsn(0), committed_at: 0 };
        writer.relation(&self.relation).map_err(|TooLong| SourceError::Answer { question })?;
        let frame = pgoutput::next_frame(&writer.bytes).map(|(frame, _)| frame);
        let Ok(Frame::XLogData(message)) = frame else { return Err(SourceError::Answer { question }) };
        let Ok(Message::Relation(relation)) = pgoutput::decode(message) else {
            return Err(SourceError::Answer { question });
        };
        let layout = match Layout::resolve(&table.outbox, &relation, |oid| Ok(self.types.get(&oid).cloned())) {
            Ok(layout) => layout,
            Err(Unresolved::Misfit(misfit)) => return Err(misfit.into()),
            Err(Unresolved::Wait) => return Err(SourceError::Answer { question }),
        };
        // In the stream such a value makes the row bad, because its type may be gone; here the type exists, and rows
        // will be sent like this.
        let unreadable =
            layout.foreign().filter_map(|index| self.relation.columns.get(index)).find(|column| column.binary);
        unreadable.map_or(Ok(()), |column| Err(self.unreadable(table, column).into()))
    }

    fn unreadable(&self, table: &OutboxTable, column: &RelationColumn) -> LayoutError {
        let role = table.outbox.reads().find(|read| read.column == column.name).map(|read| read.role);
        LayoutError::UnsupportedType {
            table: format!("{}.{}", table.outbox.namespace, table.outbox.table),
            column: column.name.clone(),
            role: role.unwrap_or_default().to_owned(),
            type_name: self.types.get(&column.type_oid).map(|found| found.name.clone()).unwrap_or_default(),
            allowed: PLAIN_TYPES,
        }
    }

    /// The column that gives the age of rows, if any.
    pub(crate) fn created_at<'a>(&self, table: &'a OutboxTable) -> Option<&'a str> {
        table.created_at().filter(|wanted| {
            let column = self.relation.columns.iter().find(|column| column.name == *wanted);
            column.is_some_and(|column| {
                let sent_as = self.types.get(&column.type_oid).and_then(|found| found.sent_as);
                TIMES.contains(&sent_as.unwrap_or(column.type_oid))
            })
        })
    }

    /// What rows are selected from: those that the stream brings under this name, which excludes children's.
    pub(crate) fn from(&self) -> String {
        let only = if self.is_partitioned { "" } else { "only " };
        format!("{only}{}", self.relation.table)
    }

    /// The order in which the rows of a backfill, or of a replay from the table, are read.
    ///
    /// `created_at` is when a row's transaction started. Rows of one transaction often share it: then the number of
    /// their statement (`cmin`) gives their order, and for the rows of one statement their place in the table, which
    /// alone would not, because concurrent writers fill pages in any order, and freed space is reused.
    ///
    /// Without such a column, the server's commit timestamp gives the order, if `track_commit_timestamp` is on and
    /// was at that time; otherwise the age of the transaction's id, which is assigned with its first write. Frozen
    /// rows keep their ids, too, and ids have 32 bits: one that seems to be in the future is from before the last
    /// wraparound.
    pub(crate) fn order(&self, table: &OutboxTable, has_commit_times: bool) -> String {
        let time = match self.created_at(table) {
            Some(column) => Some(quote_identifier(column)),
            None => has_commit_times.then(|| "pg_xact_commit_timestamp(xmin)".to_owned()),
        };
        let by_age = match time {
            None => "age(xmin) < 0 desc, age(xmin) desc".to_owned(),
            Some(time) => format!(
                "{time} nulls first, case when {time} is null then age(xmin) < 0 end desc, \
                 case when {time} is null then age(xmin) end desc"
            ),
        };
        format!("{by_age}, cmin::text::bigint, tableoid, ctid")
    }
}

/// Whether the server keeps commit timestamps.
pub(crate) fn has_commit_times(control: &mut Connection) -> Result<bool, SourceError> {
    let rows = control.simple_query("select current_setting('track_commit_timestamp') = 'on'")?;
    Ok(first(&rows, "track_commit_timestamp")?.is_true(0))
}

/// Whether a table can be read as it is sent from now on; returns its OID. A missing table is reported by the check
/// of the publication.
///
/// # Errors
/// [`SourceError::Layout`], and those of the connection.
pub(crate) fn check_layout(
    control: &mut Connection,
    publication: &str,
    table: &OutboxTable,
) -> Result<Option<u32>, SourceError> {
    let found = Description::read(control, publication, &table.table)?;
    found.map(|found| found.check(table).map(|()| found.relation.oid)).transpose()
}

/// What a table's backfilled rows are ordered by: `None` is its time column, if it has one.
///
/// # Errors
/// Those of the connection.
pub(crate) fn order_without_time(
    control: &mut Connection,
    publication: &str,
    table: &OutboxTable,
) -> Result<Option<&'static str>, SourceError> {
    let found = Description::read(control, publication, &table.table)?;
    if found.is_none_or(|found| found.created_at(table).is_some()) {
        return Ok(None);
    }
    Ok(Some(stand_in(has_commit_times(control)?)))
}

/// What replaces a time column, in words.
pub(crate) const fn stand_in(has_commit_times: bool) -> &'static str {
    match has_commit_times {
        true => "the commit timestamps of their transactions (track_commit_timestamp)",
        false => {
            "their transaction ids, which is commit order only for transactions that did not overlap, and not for rows that were updated"
        }
    }
}
