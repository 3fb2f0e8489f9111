//! The state machine of one slot: passes frames to the publisher, and transactions to the ledger.

mod ahead;
mod ignored;
mod poll;

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;

use super::boundary::MessageKeys;
use super::boundary::Wait;
use super::boundary::{Answer, Batch, Checkpoint, Failure, Lsn, Position, Record, Ticket, Timestamp};
use super::boundary::{MESSAGE_PREFIX, OnRejected};
use super::decode::layout_error::LayoutError;
use super::decode::outbox::{Layout, Outbox};
use super::decode::pgoutput::{self, DecodeError, Frame, Message, Relation};
use super::decode::proof::Author;
use super::decode::text_encoding::Encoding;
use super::decode::{event, message};
use super::delivery::ledger::{Owed, Settled};
use super::halt::{Halt, Idle};
use super::publish::encode::Encoder;
use super::publish::publisher::{EventOrigin, Offer, Publisher};
use super::replay::{Replay, Replaying};
use super::resume::Guard;
use super::settings::Settings;
use ignored::IgnoredTables;

/// The state machine of one slot.
#[derive(Debug)]
pub struct Core {
    outboxes: Vec<Outbox>,
    encoder: Encoder,
    publisher: Publisher,
    /// The rest of the batch.
    input: Bytes,
    /// Layouts of the outbox tables by OID, as described on this connection; `None` for other tables.
    layouts: HashMap<u32, Option<Layout>>,
    ignored: IgnoredTables,
    message_keys: MessageKeys,
    /// The OIDs of the outbox tables, in the order of `outboxes`, from the catalog.
    tables: Vec<u32>,
    /// The encoding of this connection's text.
    encoding: Encoding,
    transaction: Option<Transaction>,
    /// What must arrive before anything new is taken or confirmed.
    guard: Option<Guard>,
    /// How far the stream has been read, counting complete transactions and keepalives.
    received: Lsn,
    draining: bool,
    replaying: Option<Replaying>,
}

#[derive(Clone, Copy, Debug)]
struct Transaction {
    commit: Lsn,
    committed_at: Timestamp,
    xid: u32,
    /// Inserts and logical messages so far.
    events: u64,
}

impl Core {
    /// A core that has seen nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let (source, relay) = (settings.source.clone(), settings.relay.clone());
        let encoder = Encoder { style: settings.header_style, source, relay, recovered: None, replay: None };
        Self {
            outboxes: settings.outboxes.clone(),
            encoder,
            publisher: Publisher::new(settings),
            input: Bytes::new(),
            layouts: HashMap::new(),
            ignored: IgnoredTables::default(),
            message_keys: MessageKeys::default(),
            tables: Vec::new(),
            encoding: Encoding::default(),
            transaction: None,
            guard: None,
            received: Lsn::default(),
            draining: false,
            replaying: None,
        }
    }

    /// A core that publishes again what `replay` selects from a stream that was published before.
    #[must_use]
    pub fn replaying(settings: Settings, replay: Replay) -> Self {
        let mut core = Self::new(settings);
        core.encoder.replay = Some(replay.id.clone());
        core.replaying = Some(Replaying::new(replay));
        core
    }

    /// A replication connection starts, and the slot is at `confirmed`.
    ///
    /// The server sends every unconfirmed transaction again, from its first row and with its table's layout, so a
    /// half-read transaction is dropped. Events up to the last one taken are skipped when they arrive again.
    pub fn handle_connected(&mut self, confirmed: Lsn) {
        self.handle_disconnected();
        self.publisher.ledger.start_at(confirmed);
    }

    /// How much may be in flight from now on, in place of the settings' limits.
    pub fn handle_window(&mut self, window: Owed) {
        self.publisher.window = window;
    }

    /// The OIDs of the outbox tables, in the order of the settings. Rows written while a table had another name still
    /// belong to it.
    pub fn handle_tables(&mut self, oids: Vec<u32>) {
        self.tables = oids;
    }

    /// The text encoding of the connection that just started.
    pub fn handle_encoding(&mut self, encoding: Encoding) {
        self.encoding = encoding;
    }

    /// The stream starts with the backfill, in whatever order the tables have the rows now: no position in it tells
    /// what was taken in an earlier attempt, so all of it is taken. With `recovered`, some rows may be in Kafka
    /// already: their records carry it in the header `outbox-recovered`.
    pub fn handle_first_rows(&mut self, recovered: Option<String>) {
        self.encoder.recovered = recovered;
        self.guard = None;
        self.publisher.accepted = Position::default();
        self.publisher.accepted_at = None;
    }

    /// Logical messages are checked with these keys from now on.
    pub fn handle_message_keys(&mut self, keys: MessageKeys) {
        self.message_keys = keys;
    }

    /// Everything up to a position is in Kafka since an earlier run, and is skipped when it arrives. Called before
    /// the first batch, and after [`Self::handle_connected`]: the event at that position must arrive too, unless the
    /// slot is past it.
    pub fn handle_stored(&mut self, stored: &Checkpoint) {
        if stored.position > self.publisher.accepted {
            self.publisher.accepted = stored.position;
            self.publisher.accepted_at = stored.committed_at;
            self.guard = Guard::ahead(stored, self.publisher.ledger.flush());
        }
    }

    /// The replication connection is lost, and with it the rest of the current transaction.
    pub fn handle_disconnected(&mut self) {
        self.input = Bytes::new();
        self.layouts.clear();
        self.transaction = None;
        self.publisher.checks.forget();
    }

    /// Frames from the stream. Call only after [`Self::poll`] has returned [`Idle::Input`].
    ///
    /// # Panics
    /// If the previous batch is not used up: it would be lost.
    pub fn handle_batch(&mut self, batch: Batch) {
        assert!(self.input.is_empty(), "a batch is handed over only when the previous one is used up");
        self.input = batch.bytes;
    }

    /// Kafka has this record.
    pub fn handle_acknowledged(&mut self, ticket: Ticket) -> Settled {
        self.publisher.handle_acknowledged(ticket)
    }

    /// Kafka did not accept this record.
    pub fn handle_failure(&mut self, failure: Failure, now: Instant) {
        self.publisher.handle_failure(failure, now);
    }

    /// An answer to a request.
    pub fn handle_answer(&mut self, answer: Answer, now: Instant) {
        if let Answer::MessageKeys(keys) = &answer {
            self.handle_message_keys(keys.clone());
        }
        self.publisher.metadata.handle_answer(answer, now);
    }

    /// The ID of the transaction being read; `None` during the backfill.
    #[must_use]
    pub fn transaction_id(&self) -> Option<u32> {
        self.transaction.map(|transaction| transaction.xid).filter(|&xid| xid != 0)
    }

    /// No new transaction is started; the open one is read to its end.
    pub fn stop_intake(&mut self) {
        self.draining = true;
    }

    /// Offers records until it has to wait for something.
    ///
    /// # Errors
    /// If the relay must not continue. Nothing past the cause is confirmed.
    pub fn poll(&mut self, now: Instant, mut offer: impl FnMut(Ticket, &Record<'_>) -> Offer) -> Result<Idle, Halt> {
        // Events borrow from the input while the rest of `self` works on them.
        let input = std::mem::take(&mut self.input);
        let mut used = 0;
        self.publisher.checks.begin_turn();
        let outcome = self.read(&input, &mut used, now, &mut offer);
        self.input = input.slice(used..);
        outcome
    }

    fn read(
        &mut self,
        input: &[u8],
        used: &mut usize,
        now: Instant,
        offer: &mut impl FnMut(Ticket, &Record<'_>) -> Offer,
    ) -> Result<Idle, Halt> {
        loop {
            if let Some(idle) = self.publisher.resend(now, offer)? {
                return Ok(idle);
            }
            // A replay can continue from any position, so it need not wait for the end of a transaction.
            if self.draining && (self.transaction.is_none() || self.replaying.is_some()) {
                return Ok(Idle::Drained);
            }
            if *used == input.len() {
                return Ok(Idle::Input);
            }
            let (frame, length) = pgoutput::next_frame(&input[*used..]).map_err(|error| self.undecodable(error))?;
            if let Some(idle) = self.frame(frame, now, offer)? {
                return Ok(idle);
            }
            *used += length;
            if self.publisher.checks.is_turn_over() {
                return Ok(Idle::Turn);
            }
        }
    }

    fn frame(
        &mut self,
        frame: Frame<'_>,
        now: Instant,
        offer: &mut impl FnMut(Ticket, &Record<'_>) -> Offer,
    ) -> Result<Option<Idle>, Halt> {
        let converted;
        let message = match frame {
            Frame::Keepalive { end } => {
                if self.transaction.is_none() {
                    self.guard.map_or(Ok(()), |guard| guard.check_before(end))?;
                    self.received = self.received.max(end);
                    self.publisher.ledger.idle(end);
                    self.draining |= self.replaying.as_mut().is_some_and(|replaying| replaying.ends_at(end));
                }
                return Ok(None);
            }
            Frame::XLogData(bytes @ [b'R', ..]) if self.encoding != Encoding::Utf8 => {
                converted =
                    pgoutput::convert_relation(bytes, self.encoding).map_err(|error| self.undecodable(error))?;
                pgoutput::decode(&converted).map_err(|error| self.undecodable(error))?
            }
            Frame::XLogData(bytes) => pgoutput::decode(bytes).map_err(|error| self.undecodable(error))?,
        };
        match message {
            Message::Begin { commit, at, .. }
                if self.replaying.as_mut().is_some_and(|replaying| replaying.ends_before(commit, at)) =>
            {
                self.draining = true;
            }
            Message::Begin { commit, at, xid } => {
                self.publisher.metadata.handle_transaction();
                self.transaction = Some(Transaction { commit, committed_at: at, xid, events: 0 });
            }
            Message::Commit { end, .. } => {
                if self.transaction.take().is_none() {
                    return Err(self.out_of_place("a commit outside a transaction"));
                }
                self.guard.map_or(Ok(()), |guard| guard.check_before(end))?;
                self.received = self.received.max(end);
                self.publisher.ledger.commit(end);
                // The backfill is one transaction, the first.
                self.encoder.recovered = None;
                self.draining |= self.replaying.as_mut().is_some_and(|replaying| replaying.ends_at(end));
            }
            Message::Relation(relation) => return self.relation(&relation, now),
            Message::Insert { .. }
            | Message::Logical { transactional: true, .. }
            | Message::LongLogical { transactional: true, .. } => {
                return self.event(&message, now, offer);
            }
            Message::Logical { prefix, .. } | Message::LongLogical { prefix, .. } => {
                self.publisher.counters.stray_messages += u64::from(prefix == MESSAGE_PREFIX.as_bytes());
            }
            Message::Ignored => {}
        }
        Ok(None)
    }

    fn relation(&mut self, relation: &Relation<'_>, now: Instant) -> Result<Option<Idle>, Halt> {
        let by_name =
            self.outboxes.iter().find(|outbox| outbox.namespace == relation.namespace && outbox.table == relation.name);
        let by_oid = self.tables.iter().position(|oid| *oid == relation.oid);
        let configured = by_oid.and_then(|place| self.outboxes.get(place)).or(by_name);
        let metadata = &mut self.publisher.metadata;
        let encoding = self.encoding;
        let resolve = |outbox| Layout::resolve_in_part(outbox, relation, |oid| metadata.column_type(oid, now));
        let layout = match configured.map(resolve).transpose() {
            Ok(Some((_, Some(misfit)))) if self.publisher.settings.on_rejected != OnRejected::DeadLetterAlways => {
                return Err(misfit.into());
            }
            // The rows of this layout never change, so there must be a way past them.
            Ok(layout) => layout.map(|(layout, _)| Layout { encoding, ..layout }),
            Err(Wait) => return Ok(Some(Idle::Answer)),
        };
        // Its rows would be skipped as those of another table, and confirmed.
        if let (None, Some(Some(before))) = (&layout, self.layouts.get(&relation.oid)) {
            let now = format!("{}.{}", relation.namespace, relation.name);
            return Err(LayoutError::Renamed { table: before.table.clone(), now }.into());
        }
        self.ignored.describe(relation, layout.is_none());
        self.layouts.insert(relation.oid, layout);
        Ok(None)
    }

    /// An insert or a logical message. Each counts in its transaction, even if it is not an event, so positions do
    /// not depend on the configuration.
    fn event(
        &mut self,
        message: &Message<'_>,
        now: Instant,
        offer: &mut impl FnMut(Ticket, &Record<'_>) -> Offer,
    ) -> Result<Option<Idle>, Halt> {
        let Some(transaction) = self.transaction else {
            return Err(self.out_of_place("a row outside a transaction"));
        };
        let position = Position { commit: transaction.commit, ordinal: transaction.events + 1 };
        let met = self.guard.map(|guard| guard.is(position, transaction.committed_at)).transpose()?;
        self.guard = self.guard.filter(|_| met == Some(false));
        if position > self.publisher.accepted {
            if !self.publisher.has_room() {
                return Ok(Some(Idle::Window));
            }
            let committed_at = transaction.committed_at;
            let decoded = match *message {
                Message::Insert { relation, row } => match self.layouts.get(&relation) {
                    None => return Err(self.out_of_place("a row of a table that was not described")),
                    Some(None) => {
                        self.publisher.counters.ignored_rows += 1;
                        self.ignored.note_row(relation)
                    }
                    Some(Some(layout)) => Some((layout.table.as_str(), event::from_row(&row, layout))),
                },
                Message::Logical { prefix, content, lsn, .. } if prefix == MESSAGE_PREFIX.as_bytes() => {
                    match self.message_keys.author(content, lsn, transaction.commit, committed_at) {
                        Author::Emit => Some(("logical message", message::from_message(content))),
                        // Not an event: any role can write one, so it must not fill the dead-letter topic either.
                        Author::Unknown => {
                            self.publisher.counters.forged_messages += 1;
                            None
                        }
                        Author::KeysAreOld => {
                            self.publisher.metadata.ask_message_keys();
                            return Ok(Some(Idle::Answer));
                        }
                    }
                }
                Message::LongLogical { prefix, length, .. } if prefix == MESSAGE_PREFIX.as_bytes() => {
                    Some(("logical message", message::of_long_message(length)))
                }
                _ => None,
            };
            let idle = match (decoded, &mut self.replaying) {
                (None, _) => None,
                (Some((table, (event, refusal))), None) => {
                    let origin = EventOrigin { position, committed_at, table };
                    self.publisher.publish(&self.encoder, origin, (&event, refusal), now, offer)?
                }
                (Some((table, decoded)), Some(replaying)) => {
                    let origin = EventOrigin { position, committed_at, table };
                    replaying.publish(&mut self.publisher, &self.encoder, origin, decoded, now, offer)?
                }
            };
            if idle.is_some() {
                return Ok(idle);
            }
        } else {
            self.publisher.counters.skipped += 1;
        }
        self.transaction = Some(Transaction { events: position.ordinal, ..transaction });
        Ok(None)
    }

    fn undecodable(&self, error: DecodeError) -> Halt {
        Halt::Stream { after: self.publisher.accepted, error }
    }

    fn out_of_place(&self, what: &'static str) -> Halt {
        self.undecodable(DecodeError { what, offset: 0 })
    }
}
