//! The simulator's Kafka with transactions: readers see committed records, a transaction carries a checkpoint, and the outcome of a
//! commit may be unknown when the relay crashes. A transaction with more records than the path can carry in time is aborted, and
//! every record is returned.

use std::collections::BTreeMap;
use std::time::Duration;

use walpost::relay::boundary::{Checkpoint, Failure, Lsn, OwnedRecord, Record, Refusal, RefusalCode, Ticket, Verdict};
use walpost::relay::confirm::StreamStart;
use walpost::relay::resume::{LastStreamed, Server, Stored, StoredAt, flush_on};
use walpost::relay::{Core, Offer};
use walpost::sink::TransactionSize;

use crate::kafka::is_poisoned;
use walpost::random::Random;

/// `transaction.timeout.ms`.
const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct Transactions {
    /// What readers of committed records read.
    pub(crate) log: BTreeMap<String, Vec<OwnedRecord>>,
    /// The positions topic, as readers of committed records see it.
    stored: Option<StoredAt>,
    /// What existed before.
    before: Option<StoredAt>,
    /// What the relay knows of it.
    known: Checkpoint,
    /// The stream that a position belongs to.
    origin: Option<LastStreamed>,
    open: Vec<(Ticket, OwnedRecord)>,
    /// The end of the open transaction is in flight.
    sealed: Option<Checkpoint>,
    /// Every ticket below this was committed.
    committed_below: u64,
    acknowledged: Vec<Ticket>,
    failed: Vec<Failure>,
    /// Records that caused an abort, and are offered again.
    guilty: BTreeMap<Ticket, Refusal>,
    size: TransactionSize,
    /// How many records the path carries in the time limit of a record.
    carries: usize,
}

impl Transactions {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            log: BTreeMap::new(),
            stored: None,
            before: None,
            known: Checkpoint::default(),
            origin: None,
            open: Vec::new(),
            sealed: None,
            committed_below: 0,
            acknowledged: Vec::new(),
            failed: Vec::new(),
            guilty: BTreeMap::new(),
            size: TransactionSize::new(random.index(40) + 1, usize::MAX, TIMEOUT),
            carries: random.index(40) + 1,
        }
    }

    pub(crate) fn offer(&mut self, ticket: Ticket, record: &Record<'_>, random: &mut Random) -> Offer {
        let is_full = self.size.is_reached(self.open.len(), 0) && self.whole().is_some();
        if self.sealed.is_some() || !self.failed.is_empty() || is_full || random.chance(5) {
            return Offer::Full;
        }
        if let Some(refusal) = self.guilty.remove(&ticket) {
            return Offer::Refused(refusal);
        }
        self.open.push((ticket, OwnedRecord::copy(record)));
        Offer::Taken
    }

    /// The driver's part: seals the transaction when it has enough records, or stores a position alone.
    pub(crate) fn seal(&mut self, core: &Core, random: &mut Random) {
        if self.origin.is_none() || self.sealed.is_some() || !self.failed.is_empty() || !self.acknowledged.is_empty() {
            return;
        }
        match self.whole() {
            Some(last) if self.size.is_reached(self.open.len(), 0) || random.chance(10) => {
                self.sealed = Some(core.checkpoint(last));
            }
            None if self.open.is_empty() && random.chance(5) => {
                self.sealed = core.settled().filter(|settled| settled.flush > self.known.flush);
            }
            _ => {}
        }
    }

    /// The last ticket of the open transaction, if every one from the last committed to it is in it. A dead letter that was in flight when
    /// earlier records were returned is in it before them.
    fn whole(&self) -> Option<Ticket> {
        let highest = self.open.iter().map(|(ticket, _)| *ticket).max()?;
        (highest.0 + 1 - self.committed_below == self.open.len() as u64).then_some(highest)
    }

    /// A step of the broker.
    pub(crate) fn work(&mut self, calm: bool, random: &mut Random) {
        if self.open.iter().any(|(_, record)| is_poisoned(record)) && random.chance(30) {
            return self.abort(Duration::ZERO);
        }
        let records = self.open.len();
        match self.sealed {
            _ if !calm && random.chance(2) && records > 0 => self.abort(Duration::ZERO),
            Some(_) if records > self.carries => self.abort(TIMEOUT / 2),
            Some(checkpoint) if !self.open.iter().any(|(_, record)| is_poisoned(record)) => {
                let took =
                    TIMEOUT / 2 * u32::try_from(records).expect("few") / u32::try_from(self.carries).expect("few");
                self.size.committed(records, 0, took);
                self.commit(checkpoint);
                self.known = checkpoint;
            }
            _ => {}
        }
    }

    fn commit(&mut self, checkpoint: Checkpoint) {
        let highest = self.open.iter().map(|(ticket, _)| ticket.0).max();
        self.committed_below = highest.map_or(self.committed_below, |highest| highest + 1);
        for (ticket, record) in self.open.drain(..) {
            self.log.entry(record.topic.clone()).or_default().push(record);
            self.acknowledged.push(ticket);
        }
        if let Some(LastStreamed { system_identifier, timeline }) = self.origin.clone() {
            self.before = self.stored.replace(StoredAt { system_identifier, timeline, checkpoint });
        }
        self.sealed = None;
    }

    /// Everything is returned. One poisoned record is to blame, and refused when it is offered again.
    fn abort(&mut self, age: Duration) {
        self.sealed = None;
        self.size.aborted(self.open.len(), 0, age);
        if let Some((ticket, _)) = self.open.iter().find(|(_, record)| is_poisoned(record)) {
            self.guilty.insert(*ticket, Refusal { code: RefusalCode::TooLarge, detail: "poison".to_owned() });
        }
        let verdict = |record: &OwnedRecord| match record.headers.len() % 2 {
            0 => Verdict::Along,
            _ => Verdict::Returned("aborted".to_owned()),
        };
        self.failed =
            self.open.drain(..).map(|(ticket, record)| Failure { ticket, verdict: verdict(&record), record }).collect();
        self.failed.sort_unstable_by_key(|failure| failure.ticket);
    }

    /// The acknowledgements of a committed transaction, all of them.
    pub(crate) fn acknowledged(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.acknowledged)
    }

    /// The records of an aborted transaction, all of them.
    pub(crate) fn failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failed)
    }

    /// The relay crashes. A commit in flight may still succeed; an open transaction is aborted by the next relay.
    pub(crate) fn crash_relay(&mut self, random: &mut Random) {
        if let Some(checkpoint) = self.sealed.take()
            && random.chance(50)
            && !self.open.iter().any(|(_, record)| is_poisoned(record))
        {
            self.commit(checkpoint);
        }
        self.open.clear();
        self.acknowledged.clear();
        self.failed.clear();
        self.guilty.clear();
        self.committed_below = 0;
        self.known = Checkpoint::default();
        self.origin = None;
    }

    /// The latest position in the positions topic.
    pub(crate) fn stored(&self) -> Stored {
        self.stored.clone().map_or(Stored::Nothing, Stored::At)
    }

    /// Its position.
    pub(crate) fn stored_flush(&self) -> Option<Lsn> {
        self.stored.as_ref().map(|stored| stored.checkpoint.flush)
    }

    /// Whether that, or its event, is not before a position.
    pub(crate) fn reaches(&self, noted: Lsn) -> bool {
        let checkpoint = self.stored.as_ref().map(|stored| stored.checkpoint).unwrap_or_default();
        checkpoint.flush >= noted || checkpoint.position.commit >= noted
    }

    /// A relay takes over, on this server. If it publishes the rows from before the slot, the stored position is not of them.
    pub(crate) fn open(&mut self, server: &Server, first: StreamStart) {
        let (system_identifier, timeline) = (server.system_identifier.clone(), server.timeline);
        self.origin = Some(LastStreamed { system_identifier, timeline });
        self.known = match &self.stored {
            Some(stored) if first == StreamStart::Continued => {
                let flush = flush_on(&server.ancestry, stored.timeline, stored.checkpoint.flush);
                Checkpoint { flush, ..stored.checkpoint }
            }
            _ => Checkpoint::default(),
        };
    }

    /// The operator resets the position, or Kafka has lost it.
    pub(crate) fn forget(&mut self) {
        self.stored = None;
    }

    /// Kafka has lost the last position.
    pub(crate) fn rewind(&mut self) {
        self.stored = self.before.clone();
    }

    /// What may be confirmed to the slot.
    pub(crate) const fn bound(&self) -> Lsn {
        self.known.flush
    }
}
