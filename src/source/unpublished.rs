//! What of the outbox may never have been published, by what the relay has noted and what the tables still hold.

use std::fmt;

use super::backfill::OutboxTable;
use super::error::SourceError;
use super::slot::{first, number};
use crate::postgres::{Connection, quote_identifier};
use crate::relay::boundary::Lsn;

/// How long the server may count. A table that takes longer is not counted: the rest of the message matters more.
const COUNTING_MILLIS: u32 = 10_000;

/// Transaction ids are 32 bits in a row, and 64 everywhere else.
const EPOCH: u64 = 1 << 32;

/// What is in Kafka for certain, as `outbox.relay` has it: the columns `published_*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Transactions that ended before this.
    pub lsn: Option<Lsn>,
    /// Those that ended before this time, as Postgres writes it.
    pub at: Option<String>,
    /// Those with a lower id.
    pub xid: Option<String>,
}

/// What may be missing from Kafka.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpublished {
    /// What is there.
    pub published: Published,
    /// What the tables have of the rest; `None` if it could not be counted.
    pub rows: Option<Rows>,
}

/// Rows of the outbox tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// How many.
    pub count: u64,
    /// When the first and the last of them was made, where a table tells it, as Postgres writes it.
    pub created: Option<(String, String)>,
}

impl fmt::Display for Unpublished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.published.at, self.published.lsn) {
            (Some(at), Some(lsn)) => write!(f, "events committed after {at} (LSN {lsn}) may be unpublished")?,
            _ => f.write_str("events committed since its last position may be unpublished")?,
        }
        match &self.rows {
            None => Ok(()),
            Some(Rows { count: 0, .. }) => f.write_str("; the outbox tables have no such row"),
            Some(Rows { count, created: None }) => write!(f, "; the outbox tables have {count} rows that may be such"),
            Some(Rows { count, created: Some((from, to)) }) => {
                write!(f, "; the outbox tables have {count} rows that may be such, made from {from} to {to}")
            }
        }
    }
}

impl Unpublished {
    /// What is known of it; the tables are counted if they can be.
    pub(super) fn look(control: &mut Connection, tables: &[OutboxTable], published: Published) -> Self {
        let rows = count(control, tables, published.xid.as_deref());
        if let Err(error) = &rows {
            tracing::debug!(error = %error, "the rows that may be unpublished could not be counted");
        }
        Self { published, rows: rows.ok() }
    }
}

/// Counts rows of transactions with this id or a later one; all rows without one.
fn count(control: &mut Connection, tables: &[OutboxTable], xid: Option<&str>) -> Result<Rows, SourceError> {
    let question = "how many rows the outbox tables have";
    control.simple_query(&format!("set statement_timeout = {COUNTING_MILLIS}"))?;
    let filter = xid.map(|xid| since(control, xid)).transpose()?.unwrap_or_else(|| "true".to_owned());
    let mut rows = Rows::default();
    for table in tables {
        let created = match &table.order_by {
            Some(column) => format!("min({0})::text, max({0})::text", quote_identifier(column)),
            None => "null, null".to_owned(),
        };
        let sql = format!("select count(*), {created} from {} where {filter}", table.table);
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

/// A condition in SQL that holds for rows of transactions with this id or a later one: a row bears the lower half of its
/// transaction's id, and none is ahead of the next one to be given.
pub(super) fn since(control: &mut Connection, xid: &str) -> Result<String, SourceError> {
    let question = "which transaction is next";
    let rows = control.simple_query("select pg_snapshot_xmax(pg_current_snapshot())")?;
    let next: u64 = number(first(&rows, question)?, 0, question)?;
    let from: u64 = xid.parse().map_err(|_| SourceError::Answer { question: "where to recover from" })?;
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
    fn a_rows_id_is_of_the_present_epoch_or_of_the_one_before() {
        expect!["xmin::text::bigint + case when xmin::text::bigint > 700 then -4294967296 else 0 end >= 600"]
            .assert_eq(&condition(700, 600));
        expect!["xmin::text::bigint + case when xmin::text::bigint > 5 then 0 else 4294967296 end >= 4294967290"]
            .assert_eq(&condition(EPOCH + 5, EPOCH - 6));
    }

    #[test]
    fn what_is_known_is_said() {
        let published = Published { lsn: Some(Lsn(16)), at: Some("T".to_owned()), xid: Some("7".to_owned()) };
        let text = |rows| Unpublished { published: published.clone(), rows }.to_string();
        let created = Some(("A".to_owned(), "B".to_owned()));
        let told = [
            text(None),
            text(Some(Rows::default())),
            text(Some(Rows { count: 2, created: None })),
            text(Some(Rows { count: 2, created })),
            Unpublished::default().to_string(),
        ];
        expect![[r"
            events committed after T (LSN 0/10) may be unpublished
            events committed after T (LSN 0/10) may be unpublished; the outbox tables have no such row
            events committed after T (LSN 0/10) may be unpublished; the outbox tables have 2 rows that may be such
            events committed after T (LSN 0/10) may be unpublished; the outbox tables have 2 rows that may be such, made from A to B
            events committed since its last position may be unpublished"]]
        .assert_eq(&("\n".to_owned() + &told.join("\n")).replacen('\n', "", 1));
    }
}
