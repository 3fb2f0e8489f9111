//! Counts the rows in the outbox tables that may never have been published.

use crate::postgres::{Connection, quote_identifier};
use crate::source::boundary::gap_report::{AffectedRows, Published, Unpublished};
use crate::source::boundary::table::OutboxTable;
use crate::source::catalog::layout::Description;
use crate::source::error::SourceError;
use crate::source::limits::COUNTING_TIMEOUT;
use crate::source::server::answer::{first, number};

/// Transaction ids have 32 bits in a row, and 64 everywhere else.
const EPOCH: u64 = 1 << 32;

/// What may be missing from Kafka, according to the relay's notes; the tables are counted if possible.
pub(crate) fn look(
    control: &mut Connection,
    publication: &str,
    tables: &[OutboxTable],
    published: Published,
) -> Unpublished {
    let rows = count(control, publication, tables, published.xid.as_deref());
    if let Err(error) = &rows {
        tracing::debug!(error = %error, "could not count the rows that may be missing from kafka");
    }
    Unpublished { published, rows: rows.ok() }
}

/// Counts rows of transactions with this id or a later one; all rows if there is no id.
fn count(
    control: &mut Connection,
    publication: &str,
    tables: &[OutboxTable],
    xid: Option<&str>,
) -> Result<AffectedRows, SourceError> {
    let question = "the number of rows in the outbox tables";
    control.configure(&format!("set statement_timeout = {}", COUNTING_TIMEOUT.as_millis()))?;
    let filter = xid.map(|xid| since(control, xid)).transpose()?.unwrap_or_else(|| "true".to_owned());
    let mut rows = AffectedRows::default();
    for table in tables {
        let described = Description::read(control, publication, &table.table)?;
        let described = described.ok_or(SourceError::Answer { question })?;
        let created = match described.created_at(table) {
            Some(column) => format!("min({0})::text, max({0})::text", quote_identifier(column)),
            None => "null, null".to_owned(),
        };
        let sql = format!("select count(*), {created} from {} where {filter}", described.from());
        let found = control.simple_query(&sql)?;
        let row = first(&found, question)?;
        rows.count += number::<u64>(row, 0, question)?;
        if let (Some(from), Some(to)) = (row.text(1), row.text(2)) {
            let (from, to) = (from.to_owned(), to.to_owned());
            rows.created = Some(match rows.created.take() {
                None => (from, to),
                Some(known) => (known.0.min(from), known.1.max(to)),
            });
        }
    }
    control.simple_query("reset statement_timeout")?;
    Ok(rows)
}

/// An SQL condition for rows of transactions with this id or a later one: a row has the lower half of its
/// transaction's id, and none is ahead of the next id to be assigned.
pub(crate) fn since(control: &mut Connection, xid: &str) -> Result<String, SourceError> {
    let question = "the next transaction id";
    let rows = control.simple_query("select pg_snapshot_xmax(pg_current_snapshot())")?;
    let next: u64 = number(first(&rows, question)?, 0, question)?;
    let from: u64 = xid.parse().map_err(|_| SourceError::Answer { question: "the transaction to recover from" })?;
    Ok(condition(next, from))
}

fn condition(next: u64, from: u64) -> String {
    let (epoch, low) = (next / EPOCH * EPOCH, next % EPOCH);
    let before = i128::from(epoch) - i128::from(EPOCH);
    format!("xmin::text::bigint + case when xmin::text::bigint > {low} then {before} else {epoch} end >= {from}")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_rows_transaction_id_belongs_to_the_current_or_previous_epoch() {
        expect!["xmin::text::bigint + case when xmin::text::bigint > 700 then -4294967296 else 0 end >= 600"]
            .assert_eq(&condition(700, 600));
        expect!["xmin::text::bigint + case when xmin::text::bigint > 5 then 0 else 4294967296 end >= 4294967290"]
            .assert_eq(&condition(EPOCH + 5, EPOCH - 6));
    }
}
