//! The rows committed before the slot existed, read in the slot's own snapshot and passed on as one transaction, in
//! the same format as the stream that follows.
//!
//! The transaction's commit LSN is one byte before the slot's consistent point, and its end is that point: a real
//! commit record may start exactly at the consistent point, so every real position is greater.

use super::rows::{BackfillTable, Tally, too_long};
use crate::postgres::{Connection, Interrupt, WaitLimit, quote_literal, sqlstate};
use crate::relay::boundary::Lsn;
use crate::source::batch_channel::BatchChannel;
use crate::source::boundary::table::OutboxTable;
use crate::source::catalog::layout::{Description, has_commit_times, stand_in};
use crate::source::error::SourceError;
use crate::source::frames::FrameWriter;
use crate::source::server::answer::{first, number, text};
use crate::source::server::identity::Server;
use crate::source::slot::inspect::CreatedSlot;
use crate::source::state::gap_count::since;
use crate::source::state::relay_state::Recovery;

/// Which rows are read.
pub(crate) struct BackfillRows<'a> {
    /// Whose snapshot shows them.
    pub(crate) slot: &'a CreatedSlot,
    /// Determines which generated columns are read.
    pub(crate) publication: &'a str,
    pub(crate) tables: &'a [OutboxTable],
    /// The most that is held of a row, in bytes of its message.
    pub(crate) limit: usize,
    /// Only those that may have been lost with another slot.
    pub(crate) recovery: Option<&'a Recovery>,
}

/// Reads all tables and passes on their rows as one transaction; returns how many there were.
///
/// Leaves the connection inside the snapshot's read-only transaction.
pub(crate) fn run(
    control: &mut Connection,
    server: &Server,
    wanted: &BackfillRows<'_>,
    channel: &mut BatchChannel,
    interrupt: &Interrupt,
) -> Result<u64, SourceError> {
    let BackfillRows { slot, publication, tables, limit, recovery } = wanted;
    control.set_wait_limit(WaitLimit::Until(interrupt.clone()));
    let committed_at = begin(control, slot.snapshot.as_deref())?;
    let mut writer = FrameWriter { bytes: Vec::new(), commit: Lsn(slot.consistent_point.0 - 1), committed_at };
    writer.begin().map_err(too_long)?;
    let filter = recovery.map(|recovery| since(control, &recovery.from_xid)).transpose()?;
    let has_commit_times = has_commit_times(control)?;
    let mut rows = 0;
    for table in *tables {
        let Some(found) = Description::read(control, publication, &table.table)? else {
            let rows = control.simple_query("select current_database()")?;
            let database = text(first(&rows, "its database")?, 0, "its database")?;
            return Err(SourceError::TableMissing { table: table.table.clone(), database });
        };
        found.check(table)?;
        if found.created_at(table).is_none() {
            tracing::warn!(
                table = %table.table,
                "outbox table has no created_at column: backfilled rows are ordered by {}", stand_in(has_commit_times)
            );
        }
        let (order, filter) = (found.order(table, has_commit_times), filter.as_deref());
        writer.relation_in(server.text_encoding(), &found.relation).map_err(too_long)?;
        let (limit, read) = (*limit, Tally::default());
        let (control, writer, found, order) = (&mut *control, &mut writer, &found, order.as_str());
        let reading = BackfillTable { control, server, found, filter, order, limit, writer, channel, read };
        rows += reading.read().map_err(|error| match error {
            SourceError::Postgres(error) => match error.sqlstate() {
                Some(sqlstate::INSUFFICIENT_PRIVILEGE) => {
                    SourceError::NoPrivilege { role: server.role.clone(), doing: "read the outbox tables" }
                }
                // Its columns are those of the snapshot, but what a statement can name is always what is there now.
                Some(sqlstate::UNDEFINED_COLUMN | sqlstate::UNDEFINED_TABLE) => {
                    SourceError::TableAltered { table: table.table.clone() }
                }
                _ => SourceError::Postgres(error),
            },
            other => other,
        })?;
    }
    writer.commit(slot.consistent_point).map_err(too_long)?;
    channel.hand_over(std::mem::take(&mut writer.bytes))?;
    control.simple_query("commit")?;
    Ok(rows)
}

/// Starts a transaction in the slot's snapshot, or in its own; returns the time of its start.
fn begin(control: &mut Connection, snapshot: Option<&str>) -> Result<i64, SourceError> {
    // Rows hidden by a policy are an error, not left out. Reading may take hours, and waits while Kafka does.
    control.configure(
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
