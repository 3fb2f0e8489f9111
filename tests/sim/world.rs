//! One run: a history, a relay, the steps, and the checks after each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use walpost::relay::HeaderStyle;
use walpost::relay::boundary::MessageKeys;
use walpost::relay::boundary::{
    Answer, Batch, ColumnType, Lsn, OnViolation, RefusalCode, Request, SchemaVersion, SchemaVersionId, Timestamp, Topic,
};
use walpost::relay::confirm::{Reached, StreamStart};
use walpost::relay::decode::outbox::Outbox;
use walpost::relay::resume::{self, Begun, LastStreamed, ResumePlan};
use walpost::relay::route::destination::TopicPattern;
use walpost::relay::{Core, Halt, Idle, OnRejected, Settings};

use crate::accidents::Accidents;
use crate::checks::id;
use crate::confirming::Confirming;
use crate::kafka::Kafka;
use crate::postgres::{CHECKED, HALTING, Kind, PLAIN, Postgres, UNCHECKABLE, WARNING};
use crate::transactions::Transactions;
use walpost::random::Random;

pub(crate) const TOPIC: &str = "orders";
pub(crate) const DEAD_LETTERS: &str = "outbox.dead-letter";
const STEPS_LIMIT: u64 = 200_000;

/// What may go wrong besides connections and Kafka.
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    pub(crate) crashes: bool,
    /// Records go to Kafka in transactions.
    pub(crate) exactly_once: bool,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    pub(crate) postgres: Postgres,
    pub(crate) kafka: Kafka,
    /// Replaces the other Kafka with exactly-once delivery.
    pub(crate) transactions: Option<Transactions>,
    relay: Core,
    /// The slot's confirmed LSN.
    pub(crate) confirming: Confirming,
    /// The server that this process has streamed from.
    pub(crate) last: Option<LastStreamed>,
    pub(crate) accidents: Accidents,
    /// Whether this process has read the stored position from Kafka.
    is_open: bool,
    /// How often the initial backfill was read.
    pub(crate) backfills: u64,
    /// What was in Kafka already when everything was to be published again.
    pub(crate) unclaimed: BTreeSet<u64>,
    /// Rows of transactions that a promoted standby or a restored server does not have.
    pub(crate) gone: BTreeSet<u64>,
    settings: Settings,
    request: Option<Request>,
    wants_input: bool,
    now: Instant,
    pub(crate) crashes: u64,
    /// All commits up to here were found in Kafka, where nothing is lost.
    pub(crate) checked: Lsn,
    /// From here on nothing fails any more.
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
            last: None,
            accidents: Accidents::default(),
            is_open: false,
            backfills: 0,
            unclaimed: BTreeSet::new(),
            gone: BTreeSet::new(),
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

    /// Runs to the end and returns the number of steps.
    pub(crate) fn run(mut self) -> u64 {
        let stormy = self.random.below(3_000);
        for step in 0.. {
            assert!(step < STEPS_LIMIT, "the relay does not finish: {:?}", self.relay);
            self.calm = step > stormy;
            self.step();
            self.check();
            if self.calm && !self.accidents.is_open() && self.postgres.confirmed() == self.postgres.server.wal_end {
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
            94..=95 => self.postgres.receive_status_update(),
            _ => self.inject_fault(),
        }
        self.poll();
    }

    fn reached(&self) -> Reached {
        let stored = self.transactions.as_ref().map(Transactions::bound);
        Reached { settled: self.relay.flush(), stored }
    }

    fn inject_fault(&mut self) {
        if self.calm {
            return self.kafka.end_outage();
        }
        match self.random.below(100) {
            0..=9 if self.faults.crashes => {
                self.settings.on_rejected = OnRejected::DeadLetter;
                if self.random.chance(50) {
                    let reached = self.reached();
                    self.confirming.stop(reached, self.last.as_ref(), &mut self.postgres, &mut self.random);
                }
                self.crash();
            }
            10..=19 if self.faults.crashes && !self.postgres.is_connected() => self.cause_accident(),
            0..=39 if self.postgres.is_connected() => {
                let received = self.relay.received();
                self.confirming.gate.handle_lost(received >= self.postgres.made_at);
                self.postgres.disconnect(&mut self.random);
                self.relay.handle_disconnected();
                self.wants_input = false;
                if self.faults.crashes && self.random.chance(20) {
                    self.cause_accident();
                }
            }
            40..=69 => self.kafka.end_outage(),
            _ if self.kafka.outage.is_none() && self.random.chance(30) => {
                let topic = if self.random.chance(70) { TOPIC } else { DEAD_LETTERS };
                self.kafka.outage = Some(topic.to_owned());
            }
            _ => {}
        }
    }

    pub(crate) fn crash(&mut self) {
        self.crashes += 1;
        self.last = None;
        // Only a running process can detect some of it.
        self.repair();
        self.confirming.crash(&mut self.postgres, &mut self.random);
        self.postgres.disconnect(&mut self.random);
        self.kafka.crash_relay(&mut self.random);
        if let Some(transactions) = &mut self.transactions {
            transactions.crash_relay(&mut self.random);
        }
        self.relay = Core::new(self.settings.clone());
        self.is_open = false;
        self.request = None;
        self.wants_input = false;
    }

    /// The relay has stopped before a row because of its contract, and is restarted in the worst way: without anything that was in flight,
    /// and past such rows.
    fn start_after(&mut self, halt: &Halt) {
        if let Halt::Displaced { .. } = halt {
            return self.handle_displaced_position(halt);
        }
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
        let known = self.postgres.known(self.confirming.gate.resume(), self.last.clone());
        let plan = match resume::plan(&known) {
            Ok(plan) => plan,
            Err(gap) => return self.handle_gap(&gap),
        };
        self.accidents.continued_undetected();
        let (start, backfill_end) = match plan {
            ResumePlan::MakeAnew { .. } if self.postgres.make_slot(&mut self.random).is_none() => return self.crash(),
            ResumePlan::MakeAnew { .. } => (self.postgres.made_at, Some(self.postgres.made_at)),
            ResumePlan::BackfillAgain { start } => (start, Some(start)),
            ResumePlan::At { start, backfill_end } => {
                if backfill_end.is_none() {
                    self.postgres.keep_slot();
                }
                (start, backfill_end)
            }
        };
        let (system_identifier, timeline) = (known.server.system_identifier.clone(), known.server.timeline);
        self.last = Some(LastStreamed { system_identifier, timeline });
        let first = self.confirming.gate.handle_up(start, backfill_end);
        self.postgres.connect(start, first == StreamStart::FirstRows, &mut self.random);
        if first == StreamStart::FirstRows {
            self.relay.handle_first_rows(None);
            self.backfills += 1;
            self.allow_repeats();
        }
        let start = if backfill_end.is_some() { Lsn(0) } else { start };
        self.relay.handle_connected(start);
        if let Some(transactions) = self.transactions.as_mut().filter(|_| !self.is_open) {
            let noted = self.postgres.row.as_ref().and_then(|row| row.position);
            let begun = Begun { server: known.server, start, noted, first };
            match resume::skip_to(&transactions.stored(), &begun) {
                Err(gap) => return self.handle_position_gap(&gap),
                Ok(skipped) => {
                    transactions.open(&begun.server, first);
                    skipped.into_iter().for_each(|checkpoint| self.relay.handle_stored(&checkpoint));
                }
            }
            self.is_open = true;
        }
        self.wants_input = false;
    }

    /// Everything that is in Kafka by now may be repeated once.
    pub(crate) fn allow_repeats(&mut self) {
        self.unclaimed = self.log().values().flatten().map(id).collect();
    }

    fn answer(&mut self) {
        let answer = match self.request.take() {
            None => return,
            Some(Request::SchemaVersion(id)) => {
                let found = registered(&id);
                Answer::SchemaVersion(id, found)
            }
            Some(Request::Topic(wanted)) => Answer::Topic(wanted.name, Ok(Topic { max_message_bytes: 1_000_000 })),
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

    /// The checks after every step.
    fn check(&mut self) {
        let owed = self.relay.owed();
        assert!(owed.records <= self.settings.max_in_flight, "{} records in flight", owed.records);
        let (confirmed, made_at) = (self.postgres.confirmed(), self.postgres.made_at);
        let is_backfilled = self.postgres.is_backfilled();
        let flush = self.relay.flush();
        // An accident of the slot is detected when the relay has looked at it.
        if self.accidents.is_open() {
            return;
        }
        let stands = if is_backfilled { confirmed.max(made_at) } else { Lsn(0) };
        assert!(flush >= stands || self.crashes > 0, "the flush LSN fell behind the slot");
        assert!(is_backfilled || confirmed <= made_at, "the slot was moved before its backfill was noted");
        let stored = self.transactions.as_ref().filter(|_| self.is_open).and_then(Transactions::stored_flush);
        assert!(
            stored.is_none_or(|stored| stands <= stored),
            "the slot stands at {stands}, past the stored {stored:?}"
        );
        let flush = flush.max(stands);
        if flush > self.checked {
            self.check_nothing_lost(flush);
            self.checked = flush;
        }
    }
}

/// The registered schema versions.
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
