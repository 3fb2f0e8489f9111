//! A Kafka of the simulator that is written to in transactions: readers see what was committed, a transaction carries a
//! checkpoint, and what became of a commit may be unknown when the relay dies.

use std::collections::BTreeMap;

use walpost::relay::boundary::{Checkpoint, Failure, Lsn, OwnedRecord, Record, Refusal, RefusalCode, Ticket, Verdict};
use walpost::relay::{Core, Offer};

use crate::kafka::is_poisoned;
use crate::random::Random;

#[derive(Default)]
pub(crate) struct Transactions {
    /// What readers of committed records read.
    pub(crate) log: BTreeMap<String, Vec<OwnedRecord>>,
    /// The topic of positions, as readers of committed records see it.
    stored: Option<Checkpoint>,
    /// What the relay knows of it.
    known: Checkpoint,
    open: Vec<(Ticket, OwnedRecord)>,
    /// The end of the open transaction is under way.
    sealed: Option<Checkpoint>,
    /// Every ticket below was committed.
    committed_below: u64,
    acknowledged: Vec<Ticket>,
    failed: Vec<Failure>,
    capacity: usize,
}

impl Transactions {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self { capacity: random.index(40) + 1, ..Self::default() }
    }

    pub(crate) fn offer(&mut self, ticket: Ticket, record: &Record<'_>, random: &mut Random) -> Offer {
        if self.sealed.is_some() || !self.failed.is_empty() || random.chance(5) {
            return Offer::Full;
        }
        self.open.push((ticket, OwnedRecord::copy(record)));
        Offer::Taken
    }

    /// The driver's part: seals the transaction when there is enough in it, or stores a position alone.
    pub(crate) fn seal(&mut self, core: &Core, random: &mut Random) {
        if self.sealed.is_some() || !self.failed.is_empty() || !self.acknowledged.is_empty() {
            return;
        }
        let highest = self.open.iter().map(|(ticket, _)| *ticket).max();
        let whole = highest.filter(|highest| highest.0 + 1 - self.committed_below == self.open.len() as u64);
        match whole {
            Some(last) if self.open.len() >= self.capacity || random.chance(10) => {
                self.sealed = Some(core.checkpoint(last));
            }
            None if self.open.is_empty() && random.chance(5) => {
                self.sealed = core.settled().filter(|settled| settled.flush > self.known.flush);
            }
            _ => {}
        }
    }

    /// Something happens at the broker.
    pub(crate) fn work(&mut self, calm: bool, random: &mut Random) {
        if self.open.iter().any(|(_, record)| is_poisoned(record)) && random.chance(30) {
            return self.abort();
        }
        match self.sealed {
            _ if !calm && random.chance(2) && !self.open.is_empty() => self.abort(),
            Some(checkpoint) if !self.open.iter().any(|(_, record)| is_poisoned(record)) => {
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
        self.stored = Some(checkpoint);
        self.sealed = None;
    }

    /// One poisoned record is named, everything else comes back.
    fn abort(&mut self) {
        self.sealed = None;
        let guilty = self.open.iter().find(|(_, record)| is_poisoned(record)).map(|(ticket, _)| *ticket);
        self.failed = self
            .open
            .drain(..)
            .map(|(ticket, record)| {
                let refusal = Refusal { code: RefusalCode::TooLarge, detail: "poison".to_owned() };
                let verdict = if guilty == Some(ticket) {
                    Verdict::Refused(refusal)
                } else {
                    Verdict::Returned("aborted".to_owned())
                };
                Failure { ticket, record, verdict }
            })
            .collect();
        self.failed.sort_unstable_by_key(|failure| failure.ticket);
    }

    /// The acknowledgements of a committed transaction, all that there are.
    pub(crate) fn acknowledged(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.acknowledged)
    }

    /// The records of an aborted transaction, all that there are.
    pub(crate) fn failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failed)
    }

    /// The relay dies. A commit that is under way may still succeed; what is open is aborted by the next one.
    pub(crate) fn lose_the_relay(&mut self, random: &mut Random) {
        if let Some(checkpoint) = self.sealed.take()
            && random.chance(50)
            && !self.open.iter().any(|(_, record)| is_poisoned(record))
        {
            self.commit(checkpoint);
        }
        self.open.clear();
        self.acknowledged.clear();
        self.failed.clear();
        self.committed_below = 0;
        self.known = self.stored.unwrap_or_default();
    }

    /// Where a relay begins whose slot stands at `confirmed`.
    pub(crate) fn resume(&self, confirmed: Lsn) -> Checkpoint {
        let stored = self.stored.unwrap_or_default();
        assert!(confirmed <= stored.flush, "the slot was confirmed to {confirmed}, past the stored {}", stored.flush);
        stored
    }

    /// What may be confirmed to the slot.
    pub(crate) const fn bound(&self) -> Lsn {
        self.known.flush
    }
}
