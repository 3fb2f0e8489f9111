//! Reads a table's rows, even if Postgres can't send some of them.
//!
//! One COPY reads them all. If it fails, Postgres does not say at which row. So the remaining rows are listed by ctid
//! and read in pieces; the rows of a piece that fails are read one by one, and the columns of a row that fails one by
//! one. Such a row is passed on with the columns that could be read, and becomes a dead letter. All of that happens
//! in one snapshot.

use super::copy::CopyRows;
use crate::postgres::{Connection, Error, ProtocolError, quote_identifier};
use crate::random::hash;
use crate::source::batch_channel::BatchChannel;
use crate::source::catalog::layout::Description;
use crate::source::error::SourceError;
use crate::source::frames::{FrameWriter, RelationColumn, Sent, TooLong};
use crate::source::limits::BACKFILL_BATCH_BYTES;
use crate::source::row_budget::RowBudget;
use crate::source::server::answer::{number, text};
use crate::source::server::identity::Server;

/// How many rows are listed, and read with one statement.
const PIECE: u64 = 500;
/// The share of a row's budget that its place takes: the table's OID and the ctid, with kind and length.
const PLACE_BYTES: usize = 2 * 5 + 4 + 6;

/// One table, and where its rows go.
pub(crate) struct BackfillTable<'a> {
    pub(crate) control: &'a mut Connection,
    pub(crate) server: &'a Server,
    pub(crate) found: &'a Description,
    /// Which rows, and in which order.
    pub(crate) filter: Option<&'a str>,
    pub(crate) order: &'a str,
    /// The most that is held of a row.
    pub(crate) limit: usize,
    pub(crate) writer: &'a mut FrameWriter,
    pub(crate) channel: &'a mut BatchChannel,
    pub(crate) read: Tally,
}

/// Which rows have been read: how many, and a checksum of their places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    rows: u64,
    sum: u64,
}

impl Tally {
    fn add(&mut self, place: Place) {
        self.rows += 1;
        // Hashed, so that places that differ in one bit do not cancel each other out.
        let row = u64::from(place.block) << 16 | u64::from(place.item);
        self.sum = self.sum.wrapping_add(hash(row, place.table.into()));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    table: u32,
    block: u32,
    item: u16,
}

impl Place {
    /// From a row's first two columns in COPY.
    fn of(values: &[Sent<'_>]) -> Option<Self> {
        let [Sent::Value(table), Sent::Value(ctid), ..] = values else { return None };
        let (block, item) = ctid.split_first_chunk()?;
        Some(Self {
            table: u32::from_be_bytes((*table).try_into().ok()?),
            block: u32::from_be_bytes(*block),
            item: u16::from_be_bytes(item.try_into().ok()?),
        })
    }

    fn ctid(self) -> String {
        format!("({},{})", self.block, self.item)
    }
}

impl BackfillTable<'_> {
    /// Reads all rows; returns how many there were.
    pub(crate) fn read(mut self) -> Result<u64, SourceError> {
        self.control.simple_query("savepoint walpost_table")?;
        let statement =
            self.statement(&self.columns(), &format!("{} t{}", self.found.from(), self.filtered()), self.order);
        let error = match self.copy(&statement) {
            Ok(()) => return Ok(self.read.rows),
            Err(error) if is_of_a_row(&error) => error,
            Err(error) => return Err(error),
        };
        let table = &self.found.relation.table;
        tracing::warn!(%table, rows = self.read.rows, error = %error, "postgres can't send a row; reading the rest of the table in pieces");
        self.control.simple_query("rollback to savepoint walpost_table")?;
        self.control.simple_query(&format!(
            "declare walpost_rows no scroll cursor for select t.tableoid::bigint, t.ctid from {} t{} order by {}",
            self.found.from(),
            self.filtered(),
            self.order
        ))?;
        // Rows deleted meanwhile can change places with others of the same time: then nobody knows which were read.
        let mut listed = Tally::default();
        while listed.rows < self.read.rows {
            let places = self.fetch(PIECE.min(self.read.rows - listed.rows))?;
            if places.is_empty() {
                return Err(error);
            }
            places.into_iter().for_each(|place| listed.add(place));
        }
        if listed != self.read {
            return Err(error);
        }
        loop {
            let places = self.fetch(PIECE)?;
            if places.is_empty() {
                self.control.simple_query("close walpost_rows")?;
                return Ok(self.read.rows);
            }
            if self.attempt(&places)?.is_some() {
                // Rows of the piece already read are not read again.
                let read = usize::try_from(self.read.rows - listed.rows).unwrap_or(usize::MAX);
                for place in places.get(read..).unwrap_or_default() {
                    self.read_row(*place)?;
                }
            }
            if self.read.rows != listed.rows + places.len() as u64 {
                return Err(SourceError::Answer { question: "the rows of a table" });
            }
            listed = self.read;
        }
    }

    /// The next places in the list.
    fn fetch(&mut self, count: u64) -> Result<Vec<Place>, SourceError> {
        let question = "the ctids of a table";
        let rows = self.control.simple_query(&format!("fetch {count} from walpost_rows"))?;
        let place = |row| {
            let ctid = text(row, 1, question)?;
            let inner = ctid.trim_matches(['(', ')']).split_once(',').ok_or(SourceError::Answer { question })?;
            let (Ok(block), Ok(item)) = (inner.0.parse(), inner.1.parse()) else {
                return Err(SourceError::Answer { question });
            };
            Ok(Place { table: number(row, 0, question)?, block, item })
        };
        rows.iter().map(place).collect()
    }

    fn columns(&self) -> String {
        let columns: Vec<String> = self.found.relation.columns.iter().map(expression).collect();
        columns.join(", ")
    }

    fn filtered(&self) -> String {
        self.filter.map(|filter| format!(" where {filter}")).unwrap_or_default()
    }

    /// A COPY of these columns, preceded by the places of their rows. Its text has the stream's encoding: the
    /// statement itself is parsed before the setting takes effect.
    fn statement(&self, columns: &str, from: &str, order: &str) -> String {
        // Without an order the server may start a large table in the middle (synchronize_seqscans).
        let copy = format!(
            "copy (select t.tableoid, t.ctid, {columns} from {from} order by {order}) to stdout (format binary)"
        );
        match self.server.client_encoding() {
            "UTF8" => copy,
            other => format!("set local client_encoding = {other}; {copy}; set local client_encoding = UTF8"),
        }
    }

    /// The same for the rows at these places, in their order.
    fn statement_of(&self, columns: &str, places: &[Place]) -> String {
        let tables: Vec<String> = places.iter().map(|place| place.table.to_string()).collect();
        let ctids: Vec<String> = places.iter().map(|place| format!("\"{}\"", place.ctid())).collect();
        let from = format!(
            "unnest('{{{}}}'::oid[], '{{{}}}'::tid[]) with ordinality w(walpost_table, walpost_row, walpost_number) \
             join {} t on t.tableoid = walpost_table and t.ctid = walpost_row",
            tables.join(","),
            ctids.join(","),
            self.found.from()
        );
        self.statement(columns, &from, "walpost_number")
    }

    /// Runs a COPY of whole rows and passes them on.
    fn copy(&mut self, statement: &str) -> Result<(), SourceError> {
        let Self { control, found, limit, writer, channel, read, .. } = self;
        let relation = &found.relation;
        let mut copy = CopyRows::new(*limit + PLACE_BYTES);
        control.copy_out(statement, |data| {
            copy.push(data, relation.columns.len() + 2, |values| {
                read.add(Place::of(values).ok_or(SourceError::Answer { question: "the ctid of a row" })?);
                writer.insert(relation, values[2..].iter().copied()).map_err(too_long)
            })?;
            if writer.bytes.len() >= BACKFILL_BATCH_BYTES {
                channel.hand_over(std::mem::take(&mut writer.bytes))?;
            }
            Ok::<_, SourceError>(())
        })?;
        Ok(copy.finish()?)
    }

    /// Reads the rows at these places. Returns the error if one of them can't be sent; those before it may have been
    /// read.
    fn attempt(&mut self, places: &[Place]) -> Result<Option<SourceError>, SourceError> {
        let statement = self.statement_of(&self.columns(), places);
        self.control.simple_query("savepoint walpost_piece")?;
        let outcome = self.copy(&statement);
        self.settle(outcome)
    }

    /// After a COPY that may fail.
    fn settle(&mut self, outcome: Result<(), SourceError>) -> Result<Option<SourceError>, SourceError> {
        let (error, end) = match outcome {
            Ok(()) => (None, "release savepoint walpost_piece"),
            Err(error) if is_of_a_row(&error) => {
                (Some(error), "rollback to savepoint walpost_piece; release savepoint walpost_piece")
            }
            Err(error) => return Err(error),
        };
        self.control.simple_query(end)?;
        Ok(error)
    }

    /// Reads one row, and if it can't be sent, the columns that can.
    fn read_row(&mut self, place: Place) -> Result<(), SourceError> {
        let Some(whole) = self.attempt(&[place])? else { return Ok(()) };
        let (found, mut budget) = (self.found, RowBudget::new(self.limit));
        let mut values = Vec::with_capacity(found.relation.columns.len());
        for column in &found.relation.columns {
            let mut value = self.read_value(column, place)?;
            match &value {
                Value::Sent(None) => budget.null(),
                Value::Sent(Some(bytes)) if !budget.keeps(bytes.len()) => {
                    value = Value::Withheld(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                }
                _ => {}
            }
            values.push(value);
        }
        let (table, ctid) = (&found.relation.table, place.ctid());
        tracing::warn!(%table, %ctid, error = %whole, "postgres can't send this row");
        self.read.add(place);
        let sent = values.iter().map(|value| match value {
            Value::Sent(value) => value.as_deref().into(),
            Value::Withheld(length) => Sent::Withheld(*length),
            Value::Unreadable(reason) => Sent::Unreadable(reason.as_bytes()),
        });
        self.writer.insert(&found.relation, sent).map_err(too_long)
    }

    fn read_value(&mut self, column: &RelationColumn, place: Place) -> Result<Value, SourceError> {
        let statement = self.statement_of(&expression(column), &[place]);
        self.control.simple_query("savepoint walpost_piece")?;
        let mut copy = CopyRows::new(self.limit + PLACE_BYTES);
        let mut read = None;
        let outcome = self.control.copy_out(&statement, |data| {
            copy.push(data, 3, |values| {
                read = match values {
                    [_, _, Sent::Value(value)] => Some(Value::Sent(Some(value.to_vec()))),
                    [_, _, Sent::Withheld(length)] => Some(Value::Withheld(*length)),
                    _ => Some(Value::Sent(None)),
                };
                Ok::<_, SourceError>(())
            })
        });
        match self.settle(outcome)? {
            Some(error) => Ok(Value::Unreadable(format!(
                "of the row with ctid {} can't be sent by Postgres: {error}",
                place.ctid()
            ))),
            None => read.ok_or(SourceError::Answer { question: "a value of a row" }),
        }
    }
}

/// A value that was read by itself.
enum Value {
    Sent(Option<Vec<u8>>),
    Withheld(u32),
    Unreadable(String),
}

fn expression(column: &RelationColumn) -> String {
    let name = quote_identifier(&column.name);
    if column.binary { format!("t.{name}") } else { format!("t.{name}::text") }
}

/// Whether the error may be about a single row: reading the others by themselves will show it.
fn is_of_a_row(error: &SourceError) -> bool {
    let SourceError::Postgres(error @ Error::Server(server)) = error else { return false };
    // Class 42 is about the statement itself: no privilege, no such table. Class 57 is operator intervention.
    let is_other = ["42", "57"].iter().any(|class| server.code.starts_with(class));
    server.severity == "ERROR" && !error.is_transient() && !is_other
}

pub(crate) fn too_long(_: TooLong) -> SourceError {
    ProtocolError { what: "a row too large for a message", offset: 0 }.into()
}
