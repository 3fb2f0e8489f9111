//! The state machine of one slot: frames to the publisher, transactions to the ledger.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;

use super::boundary::{
    Answer, Batch, Checkpoint, ContractNumber, Failure, Lsn, Position, Record, Refusal, Request, Ticket, Timestamp,
};
use super::catalogue::ServiceLevel;
use super::encode::Encoder;
use super::event;
use super::landmark::Landmark;
use super::ledger::{Owed, Settled};
use super::outbox::{Layout, LayoutError, Outbox, Unresolved};
use super::pgoutput::{self, DecodeError, Frame, Message, Relation};
use super::publish::{Offer, Origin, Publisher};
use super::{Counters, Halt, Idle, MESSAGE_PREFIX, Notice, Settings};

/// The state machine of one slot.
#[derive(Debug)]
pub struct Core {
    outboxes: Vec<Outbox>,
    encoder: Encoder,
    publisher: Publisher,
    /// What is left of the batch.
    input: Bytes,
    /// Layouts of the outbox tables, by OID, as this connection has told them; `None` for other tables.
    layouts: HashMap<u32, Option<Layout>>,
    transaction: Option<Transaction>,
    /// What must come before anything new is taken, or confirmed.
    landmark: Option<Landmark>,
    /// How far the stream has been read, by whole transactions and keepalives.
    received: Lsn,
    draining: bool,
}

#[derive(Clone, Copy, Debug)]
struct Transaction {
    commit: Lsn,
    committed_at: Timestamp,
    /// Inserts and logical messages so far.
    events: u64,
}

impl Core {
    /// A core that has seen nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let encoder =
            Encoder { style: settings.header_style, source: settings.source.clone(), relay: settings.relay.clone() };
        Self {
            outboxes: settings.outboxes.clone(),
            encoder,
            publisher: Publisher::new(settings),
            input: Bytes::new(),
            layouts: HashMap::new(),
            transaction: None,
            landmark: None,
            received: Lsn::default(),
            draining: false,
        }
    }

    /// A replication connection starts, and the slot stands at `confirmed`.
    ///
    /// The server sends every transaction that is not confirmed again, from its first row and with its table's layout, so
    /// what was half read is dropped. Events up to the last one taken are passed over when they come again.
    pub fn handle_connected(&mut self, confirmed: Lsn) {
        self.handle_disconnected();
        self.publisher.ledger.start_at(confirmed);
    }

    /// The stream begins with the rows from before the slot, in whatever order the tables have them now: no place in them says
    /// what was taken of an earlier attempt, so all of them are taken.
    pub fn handle_first_rows(&mut self) {
        self.publisher.accepted = Position::default();
        self.publisher.accepted_at = None;
    }

    /// Everything up to a position is in Kafka since an earlier run, and is passed over when it comes. Before the first batch, and after
    /// [`Self::handle_connected`]: the event at that position must come too, unless the slot is past it.
    pub fn handle_stored(&mut self, stored: &Checkpoint) {
        if stored.position > self.publisher.accepted {
            self.publisher.accepted = stored.position;
            self.publisher.accepted_at = stored.committed_at;
            self.landmark = Landmark::ahead(stored, self.publisher.ledger.flush());
        }
    }

    /// The replication connection is gone, and with it the rest of what it had begun to say.
    pub fn handle_disconnected(&mut self) {
        self.input = Bytes::new();
        self.layouts.clear();
        self.transaction = None;
    }

    /// Frames from the stream. Only when [`Self::poll`] has said [`Idle::Input`].
    ///
    /// # Panics
    /// If the batch before is not used up: it would be lost.
    pub fn handle_batch(&mut self, batch: Batch) {
        assert!(self.input.is_empty(), "a batch is handed in when the one before is used up");
        self.input = batch.bytes;
    }

    /// Kafka has this record.
    pub fn handle_acknowledged(&mut self, ticket: Ticket) -> Settled {
        self.publisher.handle_acknowledged(ticket)
    }

    /// Kafka did not take this record.
    pub fn handle_failure(&mut self, failure: Failure, now: Instant) {
        self.publisher.handle_failure(failure, now);
    }

    /// An answer to a request.
    pub fn handle_answer(&mut self, answer: Answer, now: Instant) {
        self.publisher.catalogue.handle_answer(answer, now);
    }

    /// No transaction is begun any more; the open one is read to its end.
    pub fn stop_intake(&mut self) {
        self.draining = true;
    }

    /// Offers records until something has to be waited for.
    ///
    /// # Errors
    /// When the relay must not go on. Nothing is confirmed past the reason.
    pub fn poll(&mut self, now: Instant, mut offer: impl FnMut(Ticket, &Record<'_>) -> Offer) -> Result<Idle, Halt> {
        // Events borrow from the input while the rest of `self` works on them.
        let input = std::mem::take(&mut self.input);
        let mut used = 0;
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
            if self.draining && self.transaction.is_none() {
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
        }
    }

    /// The open question, once.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.publisher.catalogue.poll_request()
    }

    /// Something for the log.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.publisher.notices.pop_front()
    }

    /// When [`Self::poll`] is to be called though nothing has come in.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.publisher.wake_at(now)
    }

    /// Everything before this LSN is in Kafka, and may be confirmed to the slot. Never moves backwards.
    #[must_use]
    pub fn flush(&self) -> Lsn {
        self.landmark.map_or_else(|| self.publisher.ledger.flush(), |landmark| landmark.start())
    }

    /// How far everything would be in Kafka if this ticket, which is open, and all before it were acknowledged.
    #[must_use]
    pub fn checkpoint(&self, up_to: Ticket) -> Checkpoint {
        self.publisher.ledger.checkpoint(up_to)
    }

    /// How far everything is in Kafka; `None` while anything is owed, or passed over.
    #[must_use]
    pub fn settled(&self) -> Option<Checkpoint> {
        let Publisher { accepted: position, accepted_at: committed_at, .. } = self.publisher;
        let settled = Checkpoint { position, committed_at, flush: self.flush() };
        (self.owed().records == 0 && self.landmark.is_none()).then_some(settled)
    }

    /// How far the stream has been read, by whole transactions and keepalives.
    #[must_use]
    pub const fn received(&self) -> Lsn {
        self.received
    }

    /// What is in flight.
    #[must_use]
    pub fn owed(&self) -> Owed {
        self.publisher.ledger.owed()
    }

    /// When the transaction of the oldest record in flight committed.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.publisher.ledger.oldest()
    }

    /// The records in flight from the oldest: their contracts, and when their transactions committed. Dead letters are left out.
    pub fn in_flight(&self) -> impl Iterator<Item = (ContractNumber, Timestamp)> + '_ {
        self.publisher.ledger.in_flight()
    }

    /// The schema versions that are accounted for by themselves, in the order of their [`ContractNumber`]s. It only grows.
    #[must_use]
    pub fn service_levels(&self) -> &[ServiceLevel] {
        self.publisher.catalogue.service_levels()
    }

    /// The position of the last event that was taken.
    #[must_use]
    pub fn accepted(&self) -> Position {
        self.publisher.accepted
    }

    /// What has been done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.publisher.counters
    }

    /// A topic without which nothing goes on, and why it can't be written to.
    #[must_use]
    pub fn blocked_on(&self) -> Option<&(String, Refusal)> {
        self.publisher.blocked_on.as_ref()
    }

    fn frame(
        &mut self,
        frame: Frame<'_>,
        now: Instant,
        offer: &mut impl FnMut(Ticket, &Record<'_>) -> Offer,
    ) -> Result<Option<Idle>, Halt> {
        let message = match frame {
            Frame::Keepalive { end } => {
                if self.transaction.is_none() {
                    self.landmark.map_or(Ok(()), |landmark| landmark.check_before(end))?;
                    self.received = self.received.max(end);
                    self.publisher.ledger.idle(end);
                }
                return Ok(None);
            }
            Frame::XLogData(bytes) => pgoutput::decode(bytes).map_err(|error| self.undecodable(error))?,
        };
        match message {
            Message::Begin { commit, at } => {
                self.transaction = Some(Transaction { commit, committed_at: at, events: 0 });
            }
            Message::Commit { end, .. } => {
                if self.transaction.take().is_none() {
                    return Err(self.out_of_place("a commit outside a transaction"));
                }
                self.landmark.map_or(Ok(()), |landmark| landmark.check_before(end))?;
                self.received = self.received.max(end);
                self.publisher.ledger.commit(end);
            }
            Message::Relation(relation) => return self.relation(&relation, now),
            Message::Insert { .. } | Message::Logical { transactional: true, .. } => {
                return self.event(&message, now, offer);
            }
            Message::Logical { prefix, .. } => {
                self.publisher.counters.stray_messages += u64::from(prefix == MESSAGE_PREFIX);
            }
            Message::Ignored => {}
        }
        Ok(None)
    }

    fn relation(&mut self, relation: &Relation<'_>, now: Instant) -> Result<Option<Idle>, Halt> {
        let configured =
            self.outboxes.iter().find(|outbox| outbox.namespace == relation.namespace && outbox.table == relation.name);
        let catalogue = &mut self.publisher.catalogue;
        let resolve = |outbox| Layout::resolve(outbox, relation, |oid| catalogue.column_type(oid, now));
        let layout = match configured.map(resolve).transpose() {
            Ok(layout) => layout,
            Err(Unresolved::Wait) => return Ok(Some(Idle::Answer)),
            Err(Unresolved::Misfit(error)) => return Err(error.into()),
        };
        // Its rows would be passed over as some other table's, and confirmed.
        if let (None, Some(Some(before))) = (&layout, self.layouts.get(&relation.oid)) {
            let now = format!("{}.{}", relation.namespace, relation.name);
            return Err(LayoutError::Renamed { table: before.table.clone(), now }.into());
        }
        self.layouts.insert(relation.oid, layout);
        Ok(None)
    }

    /// An insert or a logical message. Each counts in its transaction, also one that is no event, so that a position does
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
        let met = self.landmark.map(|landmark| landmark.is(position, transaction.committed_at)).transpose()?;
        self.landmark = self.landmark.filter(|_| met == Some(false));
        if position > self.publisher.accepted {
            if !self.publisher.has_room() {
                return Ok(Some(Idle::Window));
            }
            let committed_at = transaction.committed_at;
            let idle = match *message {
                Message::Insert { relation, row } => match self.layouts.get(&relation) {
                    None => return Err(self.out_of_place("a row of a table that was not described")),
                    Some(None) => None,
                    Some(Some(layout)) => {
                        let origin = Origin { position, committed_at, table: &layout.table };
                        let (event, refusal) = event::from_row(&row, layout);
                        self.publisher.publish(&self.encoder, origin, (&event, refusal), now, offer)?
                    }
                },
                Message::Logical { prefix: MESSAGE_PREFIX, content, .. } => {
                    let origin = Origin { position, committed_at, table: "logical message" };
                    let (event, refusal) = event::from_message(content);
                    self.publisher.publish(&self.encoder, origin, (&event, refusal), now, offer)?
                }
                _ => None,
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
