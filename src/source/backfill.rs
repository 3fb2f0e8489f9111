//! The rows that were committed before the slot existed, read in the slot's own snapshot and handed on as one
//! transaction, in the very shape in which the stream brings those after it.
//!
//! The transaction is said to have committed one byte before the slot's consistent point, and to end at it: a real
//! commit record may start exactly at the consistent point, so every real position is greater.

use super::copy::CopyRows;
use super::counting::since;
use super::error::SourceError;
use super::frames::{Column, Relation, TooLong, Writer};
use super::outlet::Outlet;
use super::slot::{CreatedSlot, first, number};
use super::state::Recovery;
use super::table::OutboxTable;
use crate::postgres::{
    self, Connection, Interrupt, Patience, ProtocolError, quote_identifier, quote_literal, sqlstate,
};
use crate::relay::boundary::Lsn;

/// Bytes of frames after which a batch is handed on.
const BATCH_BYTES: usize = 256 * 1024;

/// Which rows are read.
pub(super) struct Rows<'a> {
    /// Whose snapshot shows them.
    pub(super) slot: &'a CreatedSlot,
    pub(super) tables: &'a [OutboxTable],
    /// Only those that may have been lost with another slot.
    pub(super) recovery: Option<&'a Recovery>,
}

/// Reads all tables and hands on their rows as one transaction; how many there were.
///
/// The connection is left inside the snapshot's transaction, which does nothing but read.
pub(super) fn run(
    control: &mut Connection,
    role: &str,
    wanted: &Rows<'_>,
    outlet: &mut Outlet,
    interrupt: &Interrupt,
) -> Result<u64, SourceError> {
    let Rows { slot, tables, recovery } = wanted;
    control.set_patience(Patience::Until(interrupt.clone()));
    let committed_at = begin(control, slot.snapshot.as_deref())?;
    let mut writer = Writer { bytes: Vec::new(), commit: Lsn(slot.consistent_point.0 - 1), committed_at };
    writer.begin().map_err(too_long)?;
    let filter = recovery.map(|recovery| since(control, &recovery.from_xid)).transpose()?;
    let mut rows = 0;
    for table in *tables {
        rows += copy_table(control, role, (table, filter.as_deref()), &mut writer, outlet)?;
    }
    writer.commit(slot.consistent_point).map_err(too_long)?;
    outlet.hand_over(std::mem::take(&mut writer.bytes))?;
    control.simple_query("commit")?;
    Ok(rows)
}

/// Starts a transaction in the slot's snapshot, or in one of its own; the time of its start.
fn begin(control: &mut Connection, snapshot: Option<&str>) -> Result<i64, SourceError> {
    // Rows that a policy hides are an error, not left out. The reading may take hours, and waits while Kafka does.
    control.simple_query(
        "set row_security = off; set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; set lock_timeout = 0; \
         select set_config(name, '0', false) from pg_settings where name = 'transaction_timeout'",
    )?;
    control.simple_query("begin isolation level repeatable read read only")?;
    if let Some(snapshot) = snapshot {
        control.simple_query(&format!("set transaction snapshot {}", quote_literal(snapshot)))?;
    }
    let question = "the time";
    let rows = control.simple_query(
        "select (extract(epoch from transaction_timestamp()) * 1000000)::bigint - 946684800000000::bigint",
    )?;
    number(first(&rows, question)?, 0, question)
}

fn copy_table(
    control: &mut Connection,
    role: &str,
    (table, filter): (&OutboxTable, Option<&str>),
    writer: &mut Writer,
    outlet: &mut Outlet,
) -> Result<u64, SourceError> {
    let relation = describe(control, table)?;
    writer.relation(&relation).map_err(too_long)?;
    let mut copy = CopyRows::default();
    let mut rows = 0;
    control
        .copy_out(&copy_statement(table, filter, &relation), |data| {
            copy.push(data, relation.columns.len(), |values| {
                rows += 1;
                writer.insert(&relation, values.iter().copied()).map_err(too_long)
            })?;
            if writer.bytes.len() >= BATCH_BYTES {
                outlet.hand_over(std::mem::take(&mut writer.bytes))?;
            }
            Ok::<_, SourceError>(())
        })
        .map_err(|error| match error {
            SourceError::Postgres(error) if error.sqlstate() == Some(sqlstate::INSUFFICIENT_PRIVILEGE) => {
                SourceError::NoPrivilege { role: role.to_owned(), doing: "read the outbox tables" }
            }
            other => other,
        })?;
    copy.finish()?;
    Ok(rows)
}

fn copy_statement(table: &OutboxTable, filter: Option<&str>, relation: &Relation) -> String {
    let expression = |column: &Column| {
        let name = quote_identifier(&column.name);
        if column.binary { name } else { format!("{name}::text") }
    };
    let columns: Vec<String> = relation.columns.iter().map(expression).collect();
    // Rows of one transaction often share their time of creation. Then the number of their statement in the transaction tells
    // their order, and of one statement's rows their place in the table: alone it would not, as writers that compete fill
    // pages in any order. Without an order the server may begin a large table in its middle (synchronize_seqscans).
    let age = table.order_by.as_deref().filter(|wanted| relation.columns.iter().any(|column| column.name == *wanted));
    let age = age.map(|column| format!("{}, cmin::text::bigint, ", quote_identifier(column))).unwrap_or_default();
    format!(
        "copy (select {} from {}{} order by {age}tableoid, ctid) to stdout (format binary)",
        columns.join(", "),
        table.table,
        filter.map(|filter| format!(" where {filter}")).unwrap_or_default(),
    )
}

/// What the walsender would say of the table in a Relation message, less the columns that nobody needs.
fn describe(control: &mut Connection, table: &OutboxTable) -> Result<Relation, SourceError> {
    let question = "what an outbox table looks like";
    let rows = control.query(
        "select c.oid, c.relreplident from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname = $1 and c.relname = $2",
        &[Some(&table.table.schema), Some(&table.table.name)],
    )?;
    let row = first(&rows, question)?;
    let oid: u32 = number(row, 0, question)?;
    let replica_identity = row.text(1).and_then(|text| text.bytes().next()).unwrap_or(b'd');
    // Of a key, pgoutput marks the columns of the replica identity: all, none, the primary key's or an index's.
    let rows = control.query(
        "select a.attname, a.atttypid, a.atttypmod, t.typsend::oid <> 0, \
                c.relreplident = 'f' or exists (select from pg_index i where i.indrelid = c.oid and a.attnum = any (i.indkey) \
                    and case c.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end) \
         from pg_attribute a join pg_type t on t.oid = a.atttypid join pg_class c on c.oid = a.attrelid \
         where c.oid = $1::text::oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' order by a.attnum",
        &[Some(&oid.to_string())],
    )?;
    let mut columns = Vec::with_capacity(rows.len());
    for row in &rows {
        let name = row.text(0).ok_or(SourceError::Answer { question })?.to_owned();
        if !table.columns.is_empty() && !table.columns.contains(&name) {
            continue;
        }
        columns.push(Column {
            name,
            type_oid: number(row, 1, question)?,
            type_modifier: number(row, 2, question)?,
            binary: row.is_true(3),
            key: row.is_true(4),
        });
    }
    let is_missing = |wanted: &&String| !rows.iter().any(|row| row.text(0) == Some(wanted));
    if let Some(column) = table.columns.iter().find(is_missing) {
        return Err(SourceError::ColumnMissing { table: table.table.clone(), column: column.clone() });
    }
    Ok(Relation { oid, table: table.table.clone(), replica_identity, columns })
}

fn too_long(_: TooLong) -> SourceError {
    ProtocolError { what: "a row that no message can hold", offset: 0 }.into()
}

impl From<ProtocolError> for SourceError {
    fn from(error: ProtocolError) -> Self {
        postgres::Error::from(error).into()
    }
}
