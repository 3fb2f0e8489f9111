//! The sink that writes to Kafka exactly once: in transactions that carry the relay's position.
//!
//! ```text
//!   send ... send | seal: position | all delivered | commit -> acknowledged
//!    open          sealing                           calling
//!         a record or the producer fails -> abort -> everything returned
//! ```
//!
//! An acknowledgement means that the record's transaction has committed, with the position at its end
//! ([`POSITIONS_TOPIC`]). An aborted transaction returns all of its records at once.
//!
//! # Why a reader of committed records never sees an event twice
//!
//! A transaction holds, together with those before it, every ticket up to its highest one ([`open_transaction`]), and
//! its position is that ticket's; what arrives while it is being committed waits for the next one ([`ahead`]). So the
//! last committed position tells what was committed, and a starting relay reads it after `init_transactions` has fenced
//! the predecessor and ended the transaction it left open. A commit whose answer is unknown is resolved the same way: a
//! new producer acquires the transactional id, which settles the old transaction, and the position then in Kafka tells
//! how. It is that of this transaction, or of the one before, or another relay has taken over.
//!
//! # What librdkafka does (2.12, read in its source)
//!
//! - Both fencing by another producer and the coordinator's timeout end in the same fatal error (`_FENCED`). A
//!   transaction older than its timeout is assumed to have timed out, unless another relay has moved the position in
//!   Kafka.
//! - `commit_transaction` waits in steps of 100 ms while a record is in flight, so it is called when none is.
//! - A commit is answered before its markers are written. A client that adds a partition to the next transaction
//!   before that is rejected, and librdkafka retries after 20 ms (`rd_kafka_txn_handle_AddPartitionsToTxn`), so there
//!   is a short pause in between.
//! - A failed record makes the transaction abortable; what else is queued fails with it. No gapless guarantee is
//!   needed.
//! - Records time out after half of `transaction.timeout.ms`, so a transaction must not hold more than the path
//!   carries by then ([`size`]).

mod producer_factory;
mod calls;
mod position_keys;
mod positions;
mod position_scan;
mod look;
mod resume;
mod recovery;
mod copies;
mod open_transaction;
mod ahead;
mod size;
mod probe;
mod verdicts;
mod abort;
mod sink;
mod forget_position;
mod skip;
mod batch_writer;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rdkafka::types::RDKafkaErrorCode;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::client::connection::Connection;
use super::client::context::LogGate;
use super::client::options::{ProducerOptions, TopicRules};
use super::client::producer_client::{ProducerClient, Returned};
use super::client::routes::Routes;
use super::delivery_loop::Room;
use super::refusal_isolation::{RefusalIsolation, Reports};
use super::topics::Topics;
use crate::relay::boundary::{Ancestry, OwnedRecord, PositionKeys, Ticket};
use crate::sink::boundary::Deliveries;
use crate::sink::error::{SinkError, TransactionsError};
use crate::sink::limits::MARKERS_PAUSE;
use crate::sink::stored_position::{Cluster, StoredPosition};
use calls::{Ended, Stop};
use copies::Copies;
use open_transaction::OpenTransaction;
use producer_factory::{ProducerFactory, Producers};
use recovery::{History, Recovered};
use verdicts::Verdicts;

/// One topic for all relays of a Kafka cluster; the key says whose a position is.
pub use crate::relay::route::destination::POSITIONS_TOPIC;
pub use batch_writer::{BatchError, BatchOutcome, BatchWriter};
pub(crate) use look::look_at_position;
pub use producer_factory::TransactionsOptions;
pub use resume::PositionError;
pub use size::TransactionSize;
pub use skip::{PositionSkip, SkipError, SkipStored};

/// The ticket of a position. The core never gets there: it counts up from 0.
const POSITION: Ticket = Ticket(u64::MAX);

/// Writes records to Kafka in transactions.
pub struct TransactionalSink {
    factory: ProducerFactory,
    stop: Stop,
    /// Whose positions these are.
    cluster: Option<Cluster>,
    ancestry: Ancestry,
    keys: PositionKeys,
    /// The producer; a blocking call has it to itself.
    client: Option<ProducerClient>,
    phase: Phase,
    /// The outcome of a call.
    answer: Option<Answer>,
    /// A call that nobody waits for any more. The next one starts when it has ended, so as not to be fenced by it.
    withdrawn: Option<JoinHandle<Answer>>,
    open: OpenTransaction,
    /// What is to follow in the next transaction.
    ahead: Copies,
    /// A commit is under way.
    is_committing: bool,
    /// No transaction is begun any more.
    is_closing: bool,
    /// Whether the transactional id has been acquired once.
    is_open: bool,
    /// When the last recovery started.
    recovering_since: Instant,
    /// No transaction is begun before this time.
    rest_until: Option<Instant>,
    /// The last committed position.
    stored: Option<StoredPosition>,
    /// That position belongs to an earlier slot. It is kept to detect whether another relay has written.
    is_disowned: bool,
    /// According to the database there is a position.
    is_expected: bool,
    /// The position of a transaction whose commit may have started.
    in_doubt: Option<StoredPosition>,
    failed: Vec<Returned>,
    /// Empty between two calls; kept for its memory.
    arrived: Vec<Ticket>,
    isolation: RefusalIsolation,
    verdicts: Verdicts,
    /// For the current producer.
    routes: Routes,
    /// An offer was `Full` because another record must be delivered first.
    awaited: bool,
    room: Room,
}

enum Phase {
    /// No producer.
    Closed,
    /// No transaction.
    Idle,
    /// Records are taken.
    Open,
    /// The position is in flight, the last record of its transaction.
    Sealing,
    /// librdkafka is executing a blocking call.
    Calling(JoinHandle<Answer>),
    /// The transaction is aborted, and the last reports are still to come.
    Aborted,
}

enum Answer {
    Committed(Box<ProducerClient>, Ended),
    Aborted(Box<ProducerClient>, Ended),
    Recovered(Box<Result<Recovered, SinkError>>),
}

impl TransactionalSink {
    /// A sink that has not contacted Kafka yet.
    #[must_use]
    pub fn new(
        options: ProducerOptions,
        identity: TransactionsOptions,
        rules: TopicRules,
        connection: Arc<Connection>,
        topics: Arc<Topics>,
    ) -> Self {
        let (window, now) = (options.window, Instant::now());
        let transactional_id = identity.transactional_id();
        let producers = Producers { options, transactional_id, rules, connection, log: LogGate::default() };
        let open = OpenTransaction::new(window, producers.transaction_timeout(), now);
        Self {
            factory: ProducerFactory { producers, identity, topics },
            stop: Stop::default(),
            cluster: None,
            ancestry: Ancestry::default(),
            keys: PositionKeys::default(),
            client: None,
            phase: Phase::Closed,
            answer: None,
            withdrawn: None,
            open,
            ahead: Copies::default(),
            is_committing: false,
            is_closing: false,
            is_open: false,
            recovering_since: now,
            rest_until: None,
            stored: None,
            is_disowned: false,
            is_expected: false,
            in_doubt: None,
            failed: Vec::new(),
            arrived: Vec::new(),
            isolation: RefusalIsolation::default(),
            verdicts: Verdicts::default(),
            routes: Routes::default(),
            awaited: false,
            room: Room::default(),
        }
    }

    /// Number of records taken and not yet answered.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.open.len() + self.ahead.len()
    }

    /// Takes reports, and acts on them.
    fn collect(&mut self, into: &mut Deliveries) -> Result<(), SinkError> {
        if let Some(answer) = self.answer.take() {
            self.handle(answer, into)?;
        }
        let Some(client) = &mut self.client else { return Ok(()) };
        client.take(&mut self.arrived, &mut self.failed);
        let on_their_way = client.outstanding();
        self.isolation.delivered(&self.arrived);
        if self.awaited && !self.arrived.is_empty() {
            self.awaited = false;
            self.room.is_back = true;
        }
        self.arrived.clear();
        let inbox = Arc::clone(client.inbox());
        match self.phase {
            Phase::Idle | Phase::Open | Phase::Sealing if inbox.is_broken() => self.break_off(),
            Phase::Idle if self.must_renew() => self.recover(),
            Phase::Sealing if on_their_way == 0 => {
                self.is_committing = true;
                self.call(|client, stopped| {
                    let ended = calls::commit(&client, &stopped);
                    Answer::Committed(Box::new(client), ended)
                });
                Ok(())
            }
            // What is missing is not sent through this producer.
            Phase::Open if self.must_renew() && self.open.whole().is_none() => {
                inbox.break_off();
                Ok(())
            }
            Phase::Open if self.open.age(Instant::now()) > self.factory.producers.transaction_timeout() / 3 * 2 => {
                // What is missing does not arrive; the coordinator would soon end it, as if another relay had.
                inbox.break_off();
                Ok(())
            }
            Phase::Aborted if on_their_way == 0 => {
                inbox.recover();
                self.give_back(Reports::All, into);
                self.rest();
                Ok(())
            }
            _ => Ok(()),
        }?;
        if matches!(self.phase, Phase::Idle | Phase::Open) && !inbox.is_broken() {
            self.send_gathered();
        }
        self.factory.producers.connection.set_outstanding(self.outstanding());
        Ok(())
    }

    /// Runs a blocking call of librdkafka on a separate thread.
    fn call(&mut self, work: impl FnOnce(ProducerClient, Stopped) -> Answer + Send + 'static) {
        let client = self.client.take().expect("a call begins when no other is under way");
        let stopped: Stopped = Box::new(self.stop.flag());
        self.phase = Phase::Calling(tokio::task::spawn_blocking(move || work(client, stopped)));
    }

    /// Makes a new producer take over from the current one, or from a predecessor's.
    fn recover(&mut self) -> Result<(), SinkError> {
        self.recover_with(Vec::new())
    }

    /// The same; also finds which of these records' topics accept nothing from this client.
    fn recover_with(&mut self, probes: Vec<OwnedRecord>) -> Result<(), SinkError> {
        let Some(cluster) = self.cluster.clone() else { return Ok(()) };
        self.recovering_since = Instant::now();
        if let Some(client) = self.client.take() {
            client.retire();
        }
        let (factory, stopped) = (self.factory.clone(), self.stop.flag());
        let (ancestry, keys, known) = (self.ancestry.clone(), self.keys.clone(), self.known_positions());
        let is_expected = self.is_expected && known.is_none();
        let history = History { cluster, ancestry, is_new: self.is_disowned, is_expected, keys };
        let withdrawn = self.withdrawn.take();
        let task = async move {
            if let Some(withdrawn) = withdrawn
                && let Ok(Answer::Recovered(recovered)) = withdrawn.await
            {
                retire(*recovered);
            }
            Answer::Recovered(Box::new(factory.recover(history, known, probes, stopped).await))
        };
        self.phase = Phase::Calling(tokio::spawn(task));
        Ok(())
    }

    /// What may be in Kafka if no other relay has taken over; `None` if this is the first look.
    fn known_positions(&self) -> Option<[Option<StoredPosition>; 2]> {
        self.is_open.then(|| [self.stored.clone(), self.in_doubt.clone()])
    }

    fn handle(&mut self, answer: Answer, into: &mut Deliveries) -> Result<(), SinkError> {
        match answer {
            Answer::Committed(client, ended) => {
                self.client = Some(*client);
                self.is_committing = false;
                match ended {
                    Ended::Done => self.handle_committed(into),
                    failed => self.handle_failed_call(failed)?,
                }
            }
            Answer::Aborted(client, ended) => {
                self.client = Some(*client);
                match ended {
                    Ended::Done => {
                        self.in_doubt = None;
                        self.phase = Phase::Aborted;
                    }
                    failed => self.handle_failed_call(failed)?,
                }
            }
            Answer::Recovered(recovered) => self.handle_recovered((*recovered)?, into),
        }
        Ok(())
    }

    fn handle_committed(&mut self, into: &mut Deliveries) {
        let first = into.acked.len();
        self.open.commit(&mut into.acked, Instant::now());
        self.isolation.delivered(&into.acked[first..]);
        self.verdicts.committed(&into.acked[first..]);
        self.stored = self.in_doubt.take();
        self.is_disowned = false;
        self.rest_until = Some(Instant::now() + MARKERS_PAUSE);
        self.rest();
    }

    /// A call failed, or librdkafka reports that the producer has: a new one will find out what happened to the
    /// transaction.
    fn handle_failed_call(&mut self, ended: Ended) -> Result<(), SinkError> {
        let is_idle = matches!(self.phase, Phase::Idle);
        match ended {
            // The client can't tell another relay from a timeout, but a young transaction has not timed out.
            Ended::Fenced(_)
                if is_idle || self.open.age(Instant::now()) < self.factory.producers.transaction_timeout() =>
            {
                return Err(self.fenced());
            }
            Ended::Stopped => {
                self.phase = Phase::Closed;
                return Ok(());
            }
            Ended::Fatal(RDKafkaErrorCode::TransactionalIdAuthorizationFailed, _) => {
                return Err(TransactionsError::NotAuthorized { id: self.factory.identity.transactional_id() }.into());
            }
            Ended::Done => {}
            Ended::Fenced(reason) | Ended::Lost(reason) | Ended::Fatal(_, reason) => {
                tracing::warn!(reason, records = self.open.len(), "kafka producer failed; replacing it");
                self.factory.producers.connection.count_restart();
            }
        }
        self.recover()
    }

    /// Nothing is open.
    fn rest(&mut self) {
        self.phase = Phase::Idle;
        self.room.is_back = true;
    }

    /// Whether batches are too large for a topic that has come into use.
    fn must_renew(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.batch_bytes() > self.factory.producers.rules.batch_bytes())
    }

    fn fenced(&self) -> SinkError {
        TransactionsError::Fenced { id: self.factory.identity.transactional_id() }.into()
    }

    /// When the open transaction is to end, if it can.
    fn due(&self) -> Option<Instant> {
        (matches!(self.phase, Phase::Open) && self.open.whole().is_some()).then(|| self.open.due())
    }
}

/// A producer that is no longer needed.
fn retire(recovered: Result<Recovered, SinkError>) {
    if let Ok(Recovered { client, .. }) = recovered {
        client.retire();
    }
}

/// Whether a blocking call must end.
type Stopped = Box<dyn Fn() -> bool + Send>;
