//! A Postgres of the simulator: a history of transactions, a slot, and a connection that sends pgoutput.

use walpost::relay::boundary::Lsn;

use crate::random::Random;

/// The payload of a row that its topic refuses when it arrives.
pub(crate) const POISON: &str = "poison";

/// Schemas: without a JSON Schema, with one that takes numbers, the same with what becomes of others, and one with a JSON Schema
/// that is none.
pub(crate) const PLAIN: &str = "order.placed";
pub(crate) const CHECKED: &str = "order.checked";
pub(crate) const WARNING: &str = "order.warning";
pub(crate) const HALTING: &str = "order.halting";
pub(crate) const UNCHECKABLE: &str = "order.uncheckable";

/// One row of the history.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Unique in the history, counting up in commit order; the event's id.
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) key: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A good row.
    Event,
    /// The same through a logical message.
    Message,
    /// Its schema version is not registered.
    UnknownSchema,
    /// Kafka refuses it.
    Poison,
    /// Its payload breaks its contract, which says nothing of that.
    Violating,
    /// Its contract wants it published all the same.
    Warned,
    /// The relay stops before it.
    Halting,
    /// Its contract has a schema that no check can take.
    Uncheckable,
    /// No value, whatever the schema says.
    Tombstone,
    /// A row of a table that is no outbox.
    Foreign,
}

impl Row {
    pub(crate) const fn is_event(&self) -> bool {
        !matches!(self.kind, Kind::Foreign)
    }

    pub(crate) const fn is_refused(&self) -> bool {
        matches!(self.kind, Kind::UnknownSchema | Kind::Poison | Kind::Violating | Kind::Halting | Kind::Uncheckable)
    }

    /// The schema that its event names.
    const fn schema(&self) -> &'static str {
        match self.kind {
            Kind::UnknownSchema => "nobody.knows",
            Kind::Violating | Kind::Tombstone => CHECKED,
            Kind::Warned => WARNING,
            Kind::Halting => HALTING,
            Kind::Uncheckable => UNCHECKABLE,
            // Good rows are of contracts of every kind.
            Kind::Event | Kind::Message => match self.number % 5 {
                0 => CHECKED,
                1 => WARNING,
                2 => HALTING,
                _ => PLAIN,
            },
            Kind::Poison | Kind::Foreign => PLAIN,
        }
    }

    /// Its payload; `None` is a tombstone.
    fn payload(&self) -> Option<String> {
        match self.kind {
            Kind::Poison => Some(format!("\"{POISON}\"")),
            Kind::Violating | Kind::Warned | Kind::Halting => Some(format!("\"{}\"", self.number)),
            Kind::Tombstone => None,
            _ => Some(self.number.to_string()),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    pub(crate) commit: Lsn,
    pub(crate) end: Lsn,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Postgres {
    pub(crate) history: Vec<Transaction>,
    /// The end of the write-ahead log: past the last transaction, as other work goes on.
    pub(crate) wal_end: Lsn,
    /// Where the slot was made: what was committed before is in the table, and in no stream.
    pub(crate) made_at: Lsn,
    pub(crate) confirmed: Lsn,
    /// The relay's row in `outbox.relay`.
    pub(crate) relay: Relay,
    /// A status update that is on its way.
    status: Option<Lsn>,
    /// Messages that wait to be sent over the connection, if there is one.
    connection: Option<Vec<Vec<u8>>>,
    sent: usize,
}

/// What the relay has noted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Relay {
    /// The rows from before the slot are published.
    pub(crate) is_backfilled: bool,
    pub(crate) confirm_limit: Option<Lsn>,
}

const TABLE: u32 = 16_500;
const FOREIGN_TABLE: u32 = 16_600;
/// A type that the relay has to ask for before it can read the first row.
const EXTENSION_TYPE: u32 = 16_700;

impl Postgres {
    /// A history; with rows that stop the relay only where it may be started again.
    pub(crate) fn new(may_halt: bool, random: &mut Random) -> Self {
        let mut lsn = 1_000;
        let mut number = 0;
        let mut history = Vec::new();
        for _ in 0..random.below(40) + 1 {
            let rows = match random.below(10) {
                0 => 0,
                1 => random.below(60) + 1,
                _ => random.below(5) + 1,
            };
            let rows = (0..rows).map(|_| row(may_halt, random, &mut number)).collect();
            let commit = Lsn(lsn + random.below(50));
            let end = Lsn(commit.0 + 30);
            // Sometimes the next commit record starts where this one ends.
            lsn = end.0 + if random.chance(30) { 0 } else { random.below(100) };
            history.push(Transaction { commit, end, rows });
        }
        let before = random.index(history.len() + 1) * random.index(2);
        for row in history[..before].iter_mut().flat_map(|transaction| &mut transaction.rows) {
            // A message from before the slot is nowhere; and a halt is found by its place in the stream.
            row.kind = if matches!(row.kind, Kind::Message | Kind::Halting) { Kind::Event } else { row.kind };
        }
        let made_at = before.checked_sub(1).map_or(Lsn(900), |last| history[last].end);
        Self {
            history,
            wal_end: Lsn(lsn + 500),
            made_at,
            confirmed: made_at,
            relay: Relay::default(),
            status: None,
            connection: None,
            sent: 0,
        }
    }

    pub(crate) const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Streams from `start`: every later transaction comes, from its first row. With `backfills` those before come first, as one.
    pub(crate) fn connect(&mut self, start: Lsn, backfills: bool, random: &mut Random) {
        let mut messages = Vec::new();
        if backfills {
            messages.push(begin(Lsn(self.made_at.0 - 1)));
            messages.extend([relation(TABLE, "outbox", "event"), relation(FOREIGN_TABLE, "public", "orders")]);
            let before = self.history.iter().filter(|transaction| transaction.end <= self.made_at);
            messages.extend(before.flat_map(|transaction| &transaction.rows).filter(|row| row.is_event()).map(change));
            messages.push(commit(Lsn(self.made_at.0 - 1), self.made_at));
        }
        let mut described = false;
        for transaction in self.history.iter().filter(|transaction| transaction.end > start) {
            messages.push(begin(transaction.commit));
            for row in &transaction.rows {
                if !described || random.chance(3) {
                    messages.push(relation(TABLE, "outbox", "event"));
                    messages.push(relation(FOREIGN_TABLE, "public", "orders"));
                    described = true;
                }
                messages.push(change(row));
                if random.chance(5) {
                    // Worse than a real server, which is not that far yet: nothing inside a transaction may count.
                    messages.push(keepalive(transaction.end));
                }
            }
            messages.push(commit(transaction.commit, transaction.end));
            if random.chance(20) {
                messages.push(keepalive(transaction.end));
            }
        }
        self.connection = Some(messages);
        self.sent = 0;
        // The first status update, which is sent at once.
        self.status = Some(start);
    }

    /// The connection is lost, and a status update on its way may be lost with it.
    pub(crate) fn disconnect(&mut self, random: &mut Random) {
        self.connection = None;
        match random.chance(50) {
            true => self.status = None,
            false => self.hear(),
        }
    }

    /// Some more messages; a keepalive when all were sent.
    pub(crate) fn send(&mut self, random: &mut Random) -> Vec<u8> {
        let messages = self.connection.as_ref().expect("a batch is read from a connection");
        if self.sent == messages.len() {
            return keepalive(self.wal_end);
        }
        let count = (random.index(12) + 1).min(messages.len() - self.sent);
        let batch = messages[self.sent..self.sent + count].concat();
        self.sent += count;
        batch
    }

    /// A standby status update is sent.
    pub(crate) fn confirm(&mut self, flush: Lsn) {
        assert!(self.relay.is_backfilled, "{flush} is confirmed, and the rows from before the slot are not noted");
        assert!(flush >= self.confirmed, "feedback moved backwards: {} after {}", flush, self.confirmed);
        assert!(flush <= self.wal_end, "feedback {flush} beyond the end of the log {}", self.wal_end);
        let limit = self.relay.confirm_limit;
        assert!(limit.is_some_and(|limit| flush <= limit), "{flush} is confirmed, past what is noted: {limit:?}");
        self.status = Some(flush);
    }

    /// A standby status update arrives.
    pub(crate) fn hear(&mut self) {
        self.confirmed = self.status.take().unwrap_or(self.confirmed);
    }

    /// What `Notebook::write` does: the limit that is noted.
    pub(crate) fn note(&mut self, flush: Lsn, received: Lsn) -> Lsn {
        let limit = flush.max(received.min(self.wal_end));
        assert!(self.relay.is_backfilled, "a limit of {limit} is noted before the rows from before the slot");
        assert!(limit >= self.confirmed, "a limit of {limit} is noted for a slot that stands at {}", self.confirmed);
        self.relay.confirm_limit = Some(limit);
        limit
    }
}

fn row(may_halt: bool, random: &mut Random, number: &mut u64) -> Row {
    let kind = match random.below(100) {
        0..=3 => Kind::UnknownSchema,
        4..=6 => Kind::Poison,
        7..=12 => Kind::Foreign,
        13..=22 => Kind::Message,
        23..=25 => Kind::Violating,
        26..=28 => Kind::Warned,
        29 if may_halt => Kind::Halting,
        30 => Kind::Uncheckable,
        31..=33 => Kind::Tombstone,
        _ => Kind::Event,
    };
    *number += 1;
    Row { number: *number, kind, key: random.below(4) }
}

fn copy_data(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len() + 4).expect("a short message");
    [&b"d"[..], &length.to_be_bytes(), body].concat()
}

fn xlog_data(message: &[u8]) -> Vec<u8> {
    copy_data(&[&b"w"[..], &[0; 24], message].concat())
}

fn keepalive(end: Lsn) -> Vec<u8> {
    copy_data(&[&b"k"[..], &end.0.to_be_bytes(), &[0; 9]].concat())
}

fn begin(commit: Lsn) -> Vec<u8> {
    // Each commits at a time of its own.
    let at = commit.0.to_be_bytes();
    xlog_data(&[&b"B"[..], &at, &at, &[0; 4]].concat())
}

fn commit(commit: Lsn, end: Lsn) -> Vec<u8> {
    xlog_data(&[&b"C\0"[..], &commit.0.to_be_bytes(), &end.0.to_be_bytes(), &[0; 8]].concat())
}

fn relation(oid: u32, namespace: &str, name: &str) -> Vec<u8> {
    let columns: [(&str, u32); 5] =
        [("id", 25), ("schema_name", 25), ("schema_version", 25), ("key", EXTENSION_TYPE), ("payload", 114)];
    let mut message = [&b"R"[..], &oid.to_be_bytes()].concat();
    for text in [namespace, name] {
        message.extend_from_slice(text.as_bytes());
        message.push(0);
    }
    message.extend_from_slice(b"d\0\x05");
    for (column, type_oid) in columns {
        message.push(0);
        message.extend_from_slice(column.as_bytes());
        message.push(0);
        message.extend_from_slice(&type_oid.to_be_bytes());
        message.extend_from_slice(&(-1_i32).to_be_bytes());
    }
    xlog_data(&message)
}

fn change(row: &Row) -> Vec<u8> {
    let (schema, payload) = (row.schema(), row.payload());
    if row.kind == Kind::Message {
        let payload = payload.expect("a message has a payload");
        let content = format!(
            r#"{{"id":"{}","schema_name":"{schema}","schema_version":"1","key":"{}","payload":{payload}}}"#,
            row.number, row.key
        );
        let length = i32::try_from(content.len()).expect("a short message").to_be_bytes();
        return xlog_data(&[&b"M\x01"[..], &[0; 8], b"outbox\0", &length, content.as_bytes()].concat());
    }
    let table = if row.kind == Kind::Foreign { FOREIGN_TABLE } else { TABLE };
    let mut message = [&b"I"[..], &table.to_be_bytes(), b"N\0\x05"].concat();
    let (id, key) = (row.number.to_string(), row.key.to_string());
    for value in [Some(id.as_str()), Some(schema), Some("1"), Some(key.as_str()), payload.as_deref()] {
        let Some(value) = value else {
            message.push(b'n');
            continue;
        };
        message.push(b'b');
        message.extend_from_slice(&i32::try_from(value.len()).expect("a short value").to_be_bytes());
        message.extend_from_slice(value.as_bytes());
    }
    xlog_data(&message)
}
