//! One run: a history, a relay, the steps between, and what must hold after each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use walpost::relay::boundary::MessageKeys;
use walpost::relay::boundary::{
    Answer, Batch, ColumnType, Lsn, OnViolation, OwnedRecord, RefusalCode, Request, SchemaVersion, SchemaVersionId,
    Timestamp, Topic,
};
use walpost::relay::confirm::{Reached, Resume, StreamStart};
use walpost::relay::decode::outbox::Outbox;
use walpost::relay::publish::encode::HeaderStyle;
use walpost::relay::route::destination::TopicPattern;
use walpost::relay::{Core, Halt, Idle, OnRejected, Settings};

use crate::confirming::Confirming;
use crate::kafka::Kafka;
use crate::postgres::{CHECKED, HALTING, Kind, PLAIN, Postgres, UNCHECKABLE, WARNING};
use crate::random::Random;
use crate::transactions::Transactions;

const TOPIC: &str = "orders";
const DEAD_LETTERS: &str = "outbox.dead-letter";
const STEPS_LIMIT: u64 = 200_000;

/// What may go wrong besides connections and Kafka.
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    pub(crate) crashes: bool,
    /// Records go to Kafka in transactions.
    pub(crate) exactly_once: bool,
}

pub(crate) struct World {
    random: Random,
    faults: Faults,
    postgres: Postgres,
    kafka: Kafka,
    /// In place of the other Kafka, with exactly-once delivery.
    transactions: Option<Transactions>,
    relay: Core,
    /// How far the slot is confirmed.
    confirming: Confirming,
    /// This process has asked Kafka what is stored there.
    is_open: bool,
    /// How often the rows from before the slot have been read.
    backfills: u64,
    /// What was in Kafka already when they were read again.
    unclaimed: BTreeSet<u64>,
    settings: Settings,
    request: Option<Request>,
    wants_input: bool,
    now: Instant,
    crashes: u64,
    /// All commits up to here were found in Kafka, where nothing vanishes.
    checked: Lsn,
    /// From here on nothing goes wrong any more.
    calm: bool,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let mut random = Random::new(seed);
        let settings = Settings {
            outboxes: vec![Outbox::walpost("outbox", "event")],
            header_style: HeaderStyle::CloudEvents,
            source: "/shop".to_owned(),
            schema_base: "urn:walpost:schema:".to_owned(),
            relay: "simulated".to_owned(),
            on_rejected: OnRejected::DeadLetter,
            dead_letter_topic: DEAD_LETTERS.to_owned(),
            topics: vec![TopicPattern::any()],
            max_in_flight: random.index(30) + 1,
            max_in_flight_bytes: random.index(5_000) + 1,
        };
        Self {
            postgres: Postgres::new(faults.crashes, &mut random),
            kafka: Kafka::new(&mut random),
            transactions: faults.exactly_once.then(|| Transactions::new(&mut random)),
            relay: Core::new(settings.clone()),
            confirming: Confirming::new(),
            is_open: false,
            backfills: 0,
            unclaimed: BTreeSet::new(),
            random,
            faults,
            settings,
            request: None,
            wants_input: false,
            now: Instant::now(),
            crashes: 0,
            checked: Lsn(0),
            calm: false,
        }
    }

    /// Runs to the end and gives the number of steps.
    pub(crate) fn run(mut self) -> u64 {
        let stormy = self.random.below(3_000);
        for step in 0.. {
            assert!(step < STEPS_LIMIT, "the relay does not come to an end: {:?}", self.relay);
            self.calm = step > stormy;
            self.step();
            self.check();
            if self.calm && self.postgres.confirmed == self.postgres.wal_end {
                self.check_end();
                return step;
            }
        }
        unreachable!("the loop has no end of its own")
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..=24 => self.read(),
            25..=49 => match &mut self.transactions {
                Some(transactions) => transactions.work(self.calm, &mut self.random),
                None => self.kafka.work(&mut self.random),
            },
            50..=69 => {
                let tickets = self.transactions.as_mut().map(Transactions::acknowledged).unwrap_or_default();
                for ticket in tickets {
                    self.relay.handle_acknowledged(ticket);
                }
                if let Some(ticket) = self.kafka.acknowledge(&mut self.random) {
                    self.relay.handle_acknowledged(ticket);
                }
            }
            70..=76 => {
                let aborted = self.transactions.as_mut().map(Transactions::failures).unwrap_or_default();
                for failure in aborted.into_iter().chain(self.kafka.failures(&mut self.random)) {
                    self.relay.handle_failure(failure, self.now);
                }
            }
            77..=83 => self.answer(),
            84..=89 => self.now += Duration::from_millis(self.random.below(3_000)),
            90..=91 => {
                let (reached, received) = (self.reached(), self.relay.received());
                self.confirming.turn(reached, received, &mut self.postgres, &mut self.random);
            }
            92..=93 => self.confirming.written(self.calm, &mut self.postgres, &mut self.random),
            94..=95 => self.postgres.hear(),
            _ => self.trouble(),
        }
        self.poll();
    }

    fn reached(&self) -> Reached {
        let stored = self.transactions.as_ref().map(Transactions::bound);
        Reached { settled: self.relay.flush(), stored }
    }

    fn trouble(&mut self) {
        if self.calm {
            return self.kafka.end_outage();
        }
        match self.random.below(100) {
            0..=9 if self.faults.crashes => {
                self.settings.on_rejected = OnRejected::DeadLetter;
                if self.random.chance(50) {
                    let reached = self.reached();
                    self.confirming.stop(reached, &mut self.postgres, &mut self.random);
                }
                self.crash();
            }
            0..=39 if self.postgres.is_connected() => {
                let received = self.relay.received();
                self.confirming.gate.handle_lost(received >= self.postgres.made_at);
                self.postgres.disconnect(&mut self.random);
                self.relay.handle_disconnected();
                self.wants_input = false;
            }
            40..=69 => self.kafka.end_outage(),
            _ if self.kafka.outage.is_none() && self.random.chance(30) => {
                let topic = if self.random.chance(70) { TOPIC } else { DEAD_LETTERS };
                self.kafka.outage = Some(topic.to_owned());
            }
            _ => {}
        }
    }

    fn crash(&mut self) {
        self.crashes += 1;
        self.confirming.crash(&mut self.postgres, &mut self.random);
        self.postgres.disconnect(&mut self.random);
        self.kafka.lose_the_relay(&mut self.random);
        if let Some(transactions) = &mut self.transactions {
            transactions.lose_the_relay(&mut self.random);
        }
        self.relay = Core::new(self.settings.clone());
        self.is_open = false;
        self.request = None;
        self.wants_input = false;
    }

    /// The relay has ended before a row that its contract stops it at, and is started again in the worst way: with nothing
    /// of what was in flight, and past such rows.
    fn start_after(&mut self, halt: &Halt) {
        let Halt::Refused { position: Some(position), refusal, .. } = halt else { panic!("{halt}") };
        let transaction = self.postgres.history.iter().find(|transaction| transaction.commit == position.commit);
        let place = usize::try_from(position.ordinal - 1).expect("a place in a transaction");
        let row = &transaction.expect("a halt names a transaction").rows[place];
        assert_eq!((row.kind, refusal.code), (Kind::Halting, RefusalCode::ContractViolation), "{halt}");
        assert_eq!(self.settings.on_rejected, OnRejected::DeadLetter, "{halt}");
        self.settings.on_rejected = OnRejected::DeadLetterAlways;
        self.crash();
    }

    fn read(&mut self) {
        if !self.postgres.is_connected() {
            if !self.confirming.is_noting_backfill() {
                self.connect();
            }
        } else if self.wants_input {
            self.relay.handle_batch(Batch { bytes: self.postgres.send(&mut self.random).into() });
            self.wants_input = false;
        }
    }

    fn connect(&mut self) {
        let (resume, made_at) = (self.confirming.gate.resume(), self.postgres.made_at);
        let (start, backfill_end) = match resume {
            _ if !self.postgres.relay.is_backfilled => (Lsn(0), Some(made_at)),
            Some(Resume::Confirmed(lsn)) => (lsn.max(self.postgres.confirmed), None),
            _ => (self.postgres.confirmed, None),
        };
        let first = self.confirming.gate.handle_up(start, backfill_end);
        self.postgres.connect(start.max(self.postgres.confirmed), first == StreamStart::FirstRows, &mut self.random);
        if first == StreamStart::FirstRows {
            self.relay.handle_first_rows(None);
            self.backfills += 1;
            self.unclaimed = self.log().values().flatten().map(id).collect();
        }
        self.relay.handle_connected(start);
        if let Some(transactions) = self.transactions.as_mut().filter(|_| !self.is_open) {
            match (first, transactions.stored()) {
                (StreamStart::FirstRows, _) => transactions.disown(),
                (StreamStart::Continued, stored) => self.relay.handle_stored(&stored.unwrap_or_default()),
            }
            self.is_open = true;
        }
        self.wants_input = false;
    }

    fn answer(&mut self) {
        let answer = match self.request.take() {
            None => return,
            Some(Request::SchemaVersion(id)) => {
                let found = registered(&id);
                Answer::SchemaVersion(id, found)
            }
            Some(Request::Topic { name, .. }) => Answer::Topic(name, Ok(Topic { max_message_bytes: 1_000_000 })),
            Some(Request::MessageKeys) => {
                Answer::MessageKeys(MessageKeys { read_at: Timestamp(i64::MAX), ..MessageKeys::default() })
            }
            Some(Request::Type(oid)) => {
                Answer::Type(oid, Some(ColumnType { name: "public.citext".to_owned(), sent_as: Some(25) }))
            }
        };
        self.relay.handle_answer(answer, self.now);
    }

    fn poll(&mut self) {
        let (kafka, transactions, random) = (&mut self.kafka, &mut self.transactions, &mut self.random);
        let idle = self.relay.poll(self.now, |ticket, record| match transactions {
            Some(transactions) => transactions.offer(ticket, record, random),
            None => kafka.offer(ticket, record, random),
        });
        if let Some(transactions) = transactions {
            transactions.seal(&self.relay, random);
        }
        let idle = match idle {
            Ok(idle) => idle,
            Err(halt) => return self.start_after(&halt),
        };
        self.wants_input = idle == Idle::Input;
        self.request = self.relay.poll_request().or(self.request.take());
    }

    /// What must hold after every step.
    fn check(&mut self) {
        let owed = self.relay.owed();
        assert!(owed.records <= self.settings.max_in_flight, "{} records in flight", owed.records);
        let Postgres { confirmed, made_at, relay, .. } = self.postgres;
        let stands = if relay.is_backfilled { confirmed.max(made_at) } else { Lsn(0) };
        let flush = self.relay.flush();
        assert!(flush >= stands || self.crashes > 0, "the flush LSN fell behind the slot");
        let stored = self.transactions.as_ref().map(|transactions| transactions.stored().unwrap_or_default().flush);
        assert!(
            stored.is_none_or(|stored| stands <= stored),
            "the slot stands at {stands}, past the stored {stored:?}"
        );
        assert!(relay.is_backfilled || confirmed == made_at, "the slot was moved before its backfill was noted");
        let flush = flush.max(stands);
        if flush > self.checked {
            self.check_nothing_lost(flush);
            self.checked = flush;
        }
    }

    /// Invariant 1: everything before the flush LSN is in Kafka.
    fn check_nothing_lost(&self, flush: Lsn) {
        let published = self.published();
        for transaction in self.postgres.history.iter().filter(|transaction| transaction.end <= flush) {
            for row in transaction.rows.iter().filter(|row| row.is_event()) {
                let topic = if row.is_refused() { DEAD_LETTERS } else { TOPIC };
                let found = published.get(topic).is_some_and(|ids| ids.contains(&row.number));
                assert!(found, "{flush} is confirmed, and {row:?} of {} is not in {topic}", transaction.end);
            }
        }
    }

    /// Whether a row was committed before the slot was made.
    fn is_from_before(&self, number: u64) -> bool {
        let before = self.postgres.history.iter().take_while(|transaction| transaction.end <= self.postgres.made_at);
        before.flat_map(|transaction| &transaction.rows).any(|row| row.number == number)
    }

    /// Rows from before the slot have no place that a later attempt finds again, nor has what was published after them before that
    /// was noted.
    fn without_second_backfills(&self, numbers: Vec<u64>) -> Vec<u64> {
        let mut seen = BTreeSet::new();
        let is_repeated = |number| self.is_from_before(number) || self.unclaimed.contains(&number);
        let mut is_twice = |number| self.backfills > 1 && is_repeated(number) && !seen.insert(number);
        numbers.into_iter().filter(|number| !is_twice(*number)).collect()
    }

    /// What readers read.
    fn log(&self) -> &BTreeMap<String, Vec<OwnedRecord>> {
        self.transactions.as_ref().map_or(&self.kafka.log, |transactions| &transactions.log)
    }

    fn published(&self) -> BTreeMap<&str, BTreeSet<u64>> {
        let ids = |records: &Vec<OwnedRecord>| records.iter().map(id).collect();
        self.log().iter().map(|(topic, records)| (topic.as_str(), ids(records))).collect()
    }

    /// What must hold when everything has come to rest: the slot stands at the end of the log (invariant 6), each event is
    /// where it belongs, in order, and twice only after a crash.
    fn check_end(&self) {
        self.check_nothing_lost(self.postgres.wal_end);
        let events =
            || self.postgres.history.iter().flat_map(|transaction| &transaction.rows).filter(|row| row.is_event());
        let expected: Vec<u64> = events().filter(|row| !row.is_refused()).map(|row| row.number).collect();
        let records = self.log().get(TOPIC).map_or(&[][..], Vec::as_slice);
        let ids: Vec<u64> = records.iter().map(id).collect();
        let mut seen = BTreeSet::new();
        let first: Vec<u64> = ids.iter().copied().filter(|number| seen.insert(*number)).collect();
        assert_eq!(first, expected, "first deliveries are in commit order, and nothing else is there");

        let mut letters: Vec<u64> = self.log().get(DEAD_LETTERS).into_iter().flatten().map(id).collect();
        if self.crashes == 0 || self.faults.exactly_once {
            assert_eq!(self.without_second_backfills(ids), expected, "published twice");
            letters = self.without_second_backfills(letters);
            letters.sort_unstable();
        } else {
            letters.sort_unstable();
            letters.dedup();
        }
        let refused: Vec<u64> = events().filter(|row| row.is_refused()).map(|row| row.number).collect();
        assert_eq!(letters, refused, "each refused event is one dead letter, and nothing else is");

        let is_marked = |record: &&OwnedRecord| record.headers.iter().any(|(name, _)| name == "outbox-violation");
        let marked: BTreeSet<u64> = records.iter().filter(is_marked).map(id).collect();
        let warned: BTreeSet<u64> = events().filter(|row| row.kind == Kind::Warned).map(|row| row.number).collect();
        assert_eq!(marked, warned, "just what breaks its contract and is published all the same says so");
    }
}

/// What is registered.
fn registered(id: &SchemaVersionId) -> Option<SchemaVersion> {
    let (schema, on_violation) = match &*id.name {
        PLAIN => (None, None),
        CHECKED => (Some(r#"{"type": "integer"}"#), None),
        WARNING => (Some(r#"{"type": "integer"}"#), Some(OnViolation::Warn)),
        HALTING => (Some(r#"{"type": "integer"}"#), Some(OnViolation::Halt)),
        UNCHECKABLE => (Some(r##"{"$ref": "#"}"##), Some(OnViolation::DeadLetter)),
        _ => return None,
    };
    let plain = SchemaVersion::plain(id.clone(), Some(Arc::from(TOPIC)));
    Some(SchemaVersion { schema: schema.map(Arc::from), on_violation, ..plain })
}

fn id(record: &OwnedRecord) -> u64 {
    let (_, value) = record.headers.iter().find(|(name, _)| name == "ce_id").expect("each record has an id");
    let text = std::str::from_utf8(value.as_deref().expect("the id is no null")).expect("the id is text");
    text.parse().expect("the id is the row's number")
}
