//! The simulator's Postgres: a history of transactions, a slot, and a connection that sends pgoutput.

use walpost::relay::boundary::{Ancestry, Lsn};
use walpost::relay::confirm::Resume;

use walpost::relay::resume::{Backfill, LastStreamed, LeaseAcquisition, NotedState, Server, Slot, StartFacts};

use crate::pgoutput::{FOREIGN_TABLE, TABLE, begin, change, commit, keepalive, relation};
use walpost::random::Random;

/// The payload of a row that its topic refuses on arrival.
pub(crate) const POISON: &str = "poison";

/// Schemas: without a JSON Schema, with one that accepts numbers, the same with each `onViolation`, and one with an invalid JSON Schema.
pub(crate) const PLAIN: &str = "order.placed";
pub(crate) const CHECKED: &str = "order.checked";
pub(crate) const WARNING: &str = "order.warning";
pub(crate) const HALTING: &str = "order.halting";
pub(crate) const UNCHECKABLE: &str = "order.uncheckable";

/// One row of the history.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Unique in the history, ascending in commit order; the event's id.
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) key: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A good row.
    Event,
    /// The same as a logical message.
    Message,
    /// Its schema version is not registered.
    UnknownSchema,
    /// Kafka refuses it.
    Poison,
    /// Its payload violates its contract, which has no `onViolation`.
    Violating,
    /// Its contract publishes it anyway.
    Warned,
    /// The relay stops before it.
    Halting,
    /// Its contract has a schema that can't be checked.
    Uncheckable,
    /// No value, whatever the schema.
    Tombstone,
    /// A row of a table that is not an outbox.
    Foreign,
}

impl Row {
    pub(crate) const fn is_event(&self) -> bool {
        !matches!(self.kind, Kind::Foreign)
    }

    pub(crate) const fn is_refused(&self) -> bool {
        matches!(self.kind, Kind::UnknownSchema | Kind::Poison | Kind::Violating | Kind::Halting | Kind::Uncheckable)
    }

    /// The schema of its event.
    pub(crate) const fn schema(&self) -> &'static str {
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
    pub(crate) fn payload(&self) -> Option<String> {
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
    /// When it committed, in Postgres's microseconds.
    pub(crate) at: u64,
    pub(crate) commit: Lsn,
    pub(crate) end: Lsn,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Postgres {
    pub(crate) history: Vec<Transaction>,
    /// The server. Its WAL ends past the last transaction, because of other activity.
    pub(crate) server: Server,
    /// Where the slot was created: earlier commits are in the table, and in no stream.
    pub(crate) made_at: Lsn,
    pub(crate) slot: Slot,
    /// The relay's row in `outbox.relay`.
    pub(crate) row: Option<RelayRow>,
    /// A status update in flight.
    status: Option<Lsn>,
    /// Messages that wait to be sent over the connection, if there is one.
    connection: Option<Vec<Vec<u8>>>,
    sent: usize,
}

/// A row of `outbox.relay`.
#[derive(Clone, Debug)]
pub(crate) struct RelayRow {
    pub(crate) noted: NotedState,
    /// A position that is stored in Kafka.
    pub(crate) position: Option<Lsn>,
}

impl Postgres {
    /// A history; it has rows that stop the relay only if the relay may be restarted.
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
            // Each has a different commit time.
            history.push(Transaction { at: commit.0, commit, end, rows });
        }
        let before = random.index(history.len() + 1) * random.index(2);
        for row in history[..before].iter_mut().flat_map(|transaction| &mut transaction.rows) {
            // Messages from before the slot are nowhere; and a halt is identified by its position in the stream.
            row.kind = if matches!(row.kind, Kind::Message | Kind::Halting) { Kind::Event } else { row.kind };
        }
        let made_at = before.checked_sub(1).map_or(Lsn(900), |last| history[last].end);
        let wal_end = Lsn(lsn + 500);
        let server = Server { system_identifier: "7".to_owned(), timeline: 1, ancestry: Ancestry::default(), wal_end };
        let slot = Slot::Missing;
        Self { history, server, made_at, slot, row: None, status: None, connection: None, sent: 0 }
    }

    /// The input to the plan of a start.
    pub(crate) fn known(&self, resume: Option<Resume>, last: Option<LastStreamed>) -> StartFacts {
        let noted = self.row.as_ref().map(|row| row.noted.clone());
        let acquisition = if last.is_some() { LeaseAcquisition::Kept } else { LeaseAcquisition::New };
        StartFacts { noted, slot: self.slot.clone(), server: self.server.clone(), resume, last, acquisition }
    }

    /// Creates the slot, after noting that the rows from before it are to be published.
    pub(crate) fn make_slot(&mut self, random: &mut Random) -> Option<()> {
        let Server { system_identifier, timeline, .. } = self.server.clone();
        let noted = NotedState {
            system_identifier,
            timeline: Some(timeline),
            backfill: Backfill::Pending,
            confirm_limit: None,
        };
        self.row = Some(RelayRow { noted, position: None });
        self.slot = Slot::Missing;
        random.chance(90).then(|| self.slot = Slot::At(self.made_at))
    }

    /// A usable slot was found, which is noted.
    pub(crate) fn keep_slot(&mut self) {
        let (stands, timeline) = (self.confirmed(), self.server.timeline);
        if let Some(RelayRow { noted, .. }) = &mut self.row {
            noted.timeline = Some(timeline);
            noted.backfill = Backfill::Done;
            noted.confirm_limit = noted.confirm_limit.map(|limit| limit.max(stands));
        }
    }

    /// The slot's confirmed LSN.
    pub(crate) const fn confirmed(&self) -> Lsn {
        match self.slot {
            Slot::At(lsn) => lsn,
            Slot::Missing | Slot::Lost { .. } => Lsn(0),
        }
    }

    /// Whether the rows from before the slot are noted as published.
    pub(crate) fn is_backfilled(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.noted.backfill == Backfill::Done)
    }

    /// The noted limit of confirmation.
    pub(crate) fn confirm_limit(&self) -> Option<Lsn> {
        self.row.as_ref()?.noted.confirm_limit
    }

    pub(crate) const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Streams from `start`: every later transaction from its first row. With `backfills`, earlier rows come first, as one transaction.
    pub(crate) fn connect(&mut self, start: Lsn, backfills: bool, random: &mut Random) {
        let mut messages = Vec::new();
        if backfills {
            let commit_lsn = Lsn(self.made_at.0 - 1);
            messages.push(begin(commit_lsn, commit_lsn.0));
            messages.extend([relation(TABLE, "outbox", "event"), relation(FOREIGN_TABLE, "public", "orders")]);
            let before = self.history.iter().filter(|transaction| transaction.end <= self.made_at);
            messages.extend(before.flat_map(|transaction| &transaction.rows).filter(|row| row.is_event()).map(change));
            messages.push(commit(commit_lsn, self.made_at));
        }
        let mut described = false;
        for transaction in self.history.iter().filter(|transaction| transaction.end > start) {
            messages.push(begin(transaction.commit, transaction.at));
            for row in &transaction.rows {
                if !described || random.chance(3) {
                    messages.push(relation(TABLE, "outbox", "event"));
                    messages.push(relation(FOREIGN_TABLE, "public", "orders"));
                    described = true;
                }
                messages.push(change(row));
                if random.chance(5) {
                    // Worse than a real server, which has not read that far yet: nothing inside a transaction may count.
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
        // The first status update, which is sent immediately.
        self.status = Some(start);
    }

    /// The connection is lost, and a status update in flight may be lost with it.
    pub(crate) fn disconnect(&mut self, random: &mut Random) {
        self.connection = None;
        match random.chance(50) {
            true => self.status = None,
            false => self.receive_status_update(),
        }
    }

    /// Sends some messages; a keepalive when all have been sent.
    pub(crate) fn send(&mut self, random: &mut Random) -> Vec<u8> {
        let messages = self.connection.as_ref().expect("a batch is read from a connection");
        if self.sent == messages.len() {
            return keepalive(self.server.wal_end);
        }
        let count = (random.index(12) + 1).min(messages.len() - self.sent);
        let batch = messages[self.sent..self.sent + count].concat();
        self.sent += count;
        batch
    }

    /// A standby status update is sent.
    pub(crate) fn confirm(&mut self, flush: Lsn) {
        let (confirmed, end, limit) = (self.confirmed(), self.server.wal_end, self.confirm_limit());
        assert!(self.is_backfilled(), "{flush} is confirmed, but the rows from before the slot are not noted");
        assert!(flush >= confirmed, "feedback moved backwards: {flush} after {confirmed}");
        assert!(flush <= end, "feedback {flush} beyond the end of the log {end}");
        assert!(limit.is_some_and(|limit| flush <= limit), "{flush} is confirmed, past what is noted: {limit:?}");
        self.status = Some(flush);
    }

    /// A standby status update arrives.
    pub(crate) fn receive_status_update(&mut self) {
        if let (Some(flush), Slot::At(confirmed)) = (self.status.take(), &mut self.slot) {
            *confirmed = flush.max(*confirmed);
        }
    }

    /// Like `Notebook::write`: sets the noted limit.
    pub(crate) fn note(&mut self, flush: Lsn, received: Lsn, stored: Option<Lsn>) -> Lsn {
        let limit = flush.max(received.min(self.server.wal_end));
        assert!(self.is_backfilled(), "a limit of {limit} is noted before the backfill");
        assert!(limit >= self.confirmed(), "a limit of {limit} is noted for a slot at {}", self.confirmed());
        if let Some(row) = &mut self.row {
            row.noted.confirm_limit = Some(limit);
            row.position = row.position.max(stored.filter(|stored| *stored > Lsn(0)));
        }
        limit
    }

    /// The WAL diverges at `at`: other transactions replace the later ones, on a new timeline or not. Returns the numbers of the lost
    /// rows.
    pub(crate) fn diverge_at(&mut self, at: Lsn, is_promoted: bool) -> Vec<u64> {
        let Server { timeline, ancestry, .. } = &mut self.server;
        if is_promoted {
            ancestry.0.push((*timeline, at));
            *timeline += 1;
        }
        if let Some(row) = &mut self.row {
            row.noted.confirm_limit = row.noted.confirm_limit.map(|limit| limit.min(at));
            row.position = row.position.map(|position| position.min(at));
        }
        self.status = None;
        let mut lost = Vec::new();
        for transaction in self.history.iter_mut().filter(|transaction| transaction.commit >= at) {
            transaction.at += 1;
            for row in &mut transaction.rows {
                lost.push(row.number);
                row.number += OTHER_ROWS;
            }
        }
        lost
    }
}

/// Added to the numbers of rows that replace others.
const OTHER_ROWS: u64 = 100_000;

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
