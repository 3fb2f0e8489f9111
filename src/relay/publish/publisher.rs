//! From an event to a record in Kafka, or a dead letter: the only way out of the core.

use std::collections::VecDeque;
use std::time::Instant;

use super::dropped::ReportedDrops;
use super::encode::{self, Encoder, RowHeaders, Stamps};
use crate::relay::boundary::Wait;
use crate::relay::boundary::{
    ContractNumber, Failure, NamedBy, OwnedRecord, Position, Record, Refusal, RefusalCode, Ticket, Timestamp,
    TopicSettings, Verdict,
};
use crate::relay::decode::event::{Event, Withheld};
use crate::relay::delivery::ledger::{Ledger, Owed, RecordKind, Settled};
use crate::relay::delivery::retry_queue::RetryQueue;
use crate::relay::halt::{Halt, Idle};
use crate::relay::limits::{NOTICES_MAX, SPAN_WINDOWS};
use crate::relay::publish::check::{self, Fate, KnownEvent, NotPublishable, too_large};
use crate::relay::report::{Counters, Disposition, Notice};
use crate::relay::route::destination::{Destinations, dead_letter_settings};
use crate::relay::route::metadata_cache::MetadataCache;
use crate::relay::route::payload::Checks;
use crate::relay::settings::Settings;

/// A sink's answer to an offered record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is queued; a delivery or a failure will follow.
    Taken,
    /// There is no room. Nothing was taken; the same record must be offered again later.
    Full,
    /// This record can never be accepted.
    Refused(Refusal),
}

/// Who refused an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RefusedBy {
    /// What is known of its contract and topic.
    Core,
    /// Kafka, or the sink, which knows what Kafka would answer.
    Kafka,
}

/// Where an event comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventOrigin<'a> {
    pub(crate) position: Position,
    pub(crate) committed_at: Timestamp,
    pub(crate) table: &'a str,
}

/// Takes events in stream order and owes them to Kafka.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) settings: Settings,
    pub(crate) metadata: MetadataCache,
    pub(crate) checks: Checks,
    pub(crate) ledger: Ledger,
    /// How much may be in flight now.
    pub(crate) window: Owed,
    retries: RetryQueue,
    /// The last event taken. What arrives up to here after a reconnection is skipped.
    pub(crate) accepted: Position,
    /// When its transaction committed, if known.
    pub(crate) accepted_at: Option<Timestamp>,
    pub(crate) counters: Counters,
    pub(crate) notices: VecDeque<Notice>,
    pub(crate) dropped: ReportedDrops,
    pub(crate) destinations: Destinations,
    halt: Option<Halt>,
    /// The topic that blocks publishing, and why it is not writable.
    pub(crate) blocked_on: Option<(String, Refusal)>,
}

impl Publisher {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            metadata: MetadataCache::new(settings.schema_base.clone()),
            destinations: Destinations::new(&settings.dead_letter_topic, &settings.topics),
            window: Owed { records: settings.max_in_flight, bytes: settings.max_in_flight_bytes },
            settings,
            checks: Checks::default(),
            ledger: Ledger::default(),
            retries: RetryQueue::default(),
            accepted: Position::default(),
            accepted_at: None,
            counters: Counters::default(),
            notices: VecDeque::new(),
            dropped: ReportedDrops::default(),
            halt: None,
            blocked_on: None,
        }
    }

    pub(crate) fn handle_acknowledged(&mut self, ticket: Ticket) -> Settled {
        self.retries.calm(ticket);
        self.counters.acknowledged += 1;
        // That a topic exists does not mean that it is writable; a record that got through does, for what is in front
        // of it. If another topic still blocks, the next poll or failure reports it.
        self.blocked_on = None;
        self.ledger.settle(ticket)
    }

    pub(crate) fn handle_failure(&mut self, failure: Failure, now: Instant) {
        let Failure { ticket, mut record, verdict } = failure;
        let is_dead_letter = record.topic == self.settings.dead_letter_topic;
        match verdict {
            Verdict::Returned(_) => {
                self.metadata.forget_topic(&record.topic);
                self.give_back(ticket, record, now);
            }
            Verdict::Along => self.give_back(ticket, record, now),
            Verdict::Refused(Refusal { code: RefusalCode::TooLarge, .. })
                if is_dead_letter && encode::shrink(&mut record) =>
            {
                self.retries.push_dead_letter(ticket, record);
            }
            // Perhaps because of its timestamp.
            Verdict::Refused(Refusal { code: RefusalCode::ContractViolation, .. })
                if is_dead_letter && encode::restamp(&mut record) =>
            {
                self.retries.push_dead_letter(ticket, record);
            }
            // A dead letter that can't be written is never given up: it waits for its topic.
            Verdict::Refused(refusal) if is_dead_letter => {
                self.blocked_on = Some((record.topic.clone(), refusal));
                self.metadata.forget_topic(&record.topic);
                self.give_back(ticket, record, now);
            }
            Verdict::Refused(refusal) => self.refuse_delivered(ticket, record, refusal),
        }
    }

    fn give_back(&mut self, ticket: Ticket, record: OwnedRecord, now: Instant) {
        self.counters.returned += 1;
        self.retries.give_back(ticket, record, now);
    }

    /// The broker refused a record that had been sent.
    fn refuse_delivered(&mut self, ticket: Ticket, record: OwnedRecord, refusal: Refusal) {
        self.metadata.forget_topic(&record.topic);
        let position = position_of(&record);
        match self.settings.on_rejected.fate() {
            Fate::Halt => self.halt = Some(Halt::Refused { position, table: None, refusal }),
            Fate::DeadLetter => {
                self.ledger.reclassify(ticket, RecordKind::DeadLetter);
                self.note(position, None, &refusal, Disposition::DeadLetter);
                let dead_letter = self.dead_letter(record, &refusal, RefusedBy::Kafka);
                self.retries.push_dead_letter(ticket, dead_letter);
            }
        }
    }

    fn dead_letter(&self, record: OwnedRecord, refusal: &Refusal, by: RefusedBy) -> OwnedRecord {
        let mut dead_letter = encode::dead_letter(record, &self.settings.dead_letter_topic, refusal);
        // The cause may be its timestamp, which the dead-letter topic would reject, too.
        if by == RefusedBy::Kafka && refusal.code == RefusalCode::ContractViolation {
            encode::restamp(&mut dead_letter);
        }
        dead_letter
    }

    fn note(&mut self, position: Option<Position>, table: Option<&str>, refusal: &Refusal, outcome: Disposition) {
        match outcome {
            Disposition::DeadLetter => self.counters.dead_letters[refusal.code as usize] += 1,
            Disposition::Published => self.counters.violations += 1,
        }
        if self.notices.len() < NOTICES_MAX {
            let table = table.map(str::to_owned);
            self.notices.push_back(Notice { position, table, refusal: refusal.clone(), outcome });
        }
    }

    /// When there is something to do without any input.
    pub(crate) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let blocked = self.blocked_on.as_ref().and_then(|(topic, _)| self.metadata.topic_asked_again_at(topic));
        [self.retries.wake_at(now), blocked.filter(|at| *at > now)].into_iter().flatten().min()
    }

    /// Sends returned records and dead letters. `None` when new events may be sent.
    pub(crate) fn resend(
        &mut self,
        now: Instant,
        offer: &mut impl FnMut(Ticket, &Record<'_>) -> Offer,
    ) -> Result<Option<Idle>, Halt> {
        if let Some(halt) = self.halt.clone() {
            return Err(halt);
        }
        while !self.retries.is_empty() {
            let at_kafka = self.ledger.owed().records - self.retries.len();
            let Some((ticket, record)) = self.retries.next(at_kafka, now) else {
                return Ok(Some(Idle::Returned));
            };
            // The topic itself may be missing. The cache remembers its settings.
            let is_dead_letter = record.topic == self.settings.dead_letter_topic;
            let settings = if is_dead_letter { dead_letter_settings } else { TopicSettings::default };
            match self.metadata.topic(&record.topic, settings, NamedBy::Owner, now) {
                Err(Wait) => return Ok(Some(Idle::Answer)),
                // A topic that the relay may not write to decides the record's fate; a missing topic is an outage.
                Ok(Err(refusal)) if refusal.code == RefusalCode::NotAuthorized && !is_dead_letter => {
                    if let Some(record) = self.retries.take(ticket) {
                        self.refuse_delivered(ticket, record, refusal);
                    }
                    continue;
                }
                Ok(Err(refusal)) => {
                    self.metadata.ask_soon(&record.topic, now);
                    self.blocked_on = Some((record.topic.clone(), refusal));
                    return Ok(Some(Idle::Returned));
                }
                Ok(Ok(_)) => {}
            }
            let answer = offer(ticket, &record.borrow(&record.header_list()));
            if answer == Offer::Full {
                return Ok(Some(Idle::Sink));
            }
            let record = self.retries.take(ticket);
            if let (Offer::Refused(refusal), Some(record)) = (answer, record) {
                self.handle_failure(Failure { ticket, record, verdict: Verdict::Refused(refusal) }, now);
            }
        }
        Ok(None)
    }

    /// Publishes one event. `None` if it was taken; otherwise nothing happened and the same event must be passed
    /// again.
    pub(crate) fn publish(
        &mut self,
        encoder: &Encoder,
        origin: EventOrigin<'_>,
        (event, refusal): (&Event<'_>, Option<Refusal>),
        now: Instant,
        offer: &mut impl FnMut(Ticket, &Record<'_>) -> Offer,
    ) -> Result<Option<Idle>, Halt> {
        // Read before anything is refused: a dead letter has them too.
        let (row_headers, malformed) = match RowHeaders::parse(event.headers.as_deref()) {
            Ok(headers) => (headers, None),
            Err(refusal) => (RowHeaders::unparsed(event.headers.as_deref()), Some(refusal)),
        };
        let fate = self.settings.on_rejected.fate();
        let mut known = KnownEvent::new(row_headers);
        let checked = match refusal.or(malformed) {
            Some(refusal) => Err(NotPublishable::Refused(refusal, fate)),
            None => {
                self.checks.begin(origin.position);
                let Self { metadata, checks, destinations, settings, .. } = self;
                check::check(metadata, checks, destinations, settings.on_rejected, event, &mut known, now)
            }
        };
        if let Err(NotPublishable::Wait) = checked {
            return Ok(Some(Idle::Answer));
        }
        let stamps = Stamps::new(origin.position, event.created_at.unwrap_or(origin.committed_at));
        let headers = encoder.headers(event, known.row_headers(), known.contract_headers(event), &stamps);
        let record = Record {
            topic: known.topic(event).unwrap_or_default(),
            key: event.key.as_deref(),
            value: event.payload.as_deref(),
            headers: &headers.list,
            timestamp_millis: event.record_time(origin.committed_at).millis(),
        };
        if headers.has_dropped {
            let names = headers.dropped(event, known.row_headers());
            self.dropped.tell(origin.table, known.number(), || known.schema_version(), names);
        }
        let size = encode::size(&record);
        let kind = if known.violation().is_some() { RecordKind::Violating } else { RecordKind::Record };
        let (refusal, fate, by) = match checked {
            Err(NotPublishable::Refused(refusal, fate)) => (refusal, fate, RefusedBy::Core),
            Err(NotPublishable::Wait) => return Ok(Some(Idle::Answer)),
            Ok(limit) if encode::size_in_batch(size, record.headers.len()) > limit => {
                (too_large(&record, size, limit), fate, RefusedBy::Core)
            }
            Ok(_) => match self.offer(&record, size, origin, (known.number(), kind), offer) {
                Offer::Taken => {
                    self.note_violation(origin, known.violation());
                    return Ok(None);
                }
                Offer::Full => return Ok(Some(Idle::Sink)),
                Offer::Refused(refusal) => {
                    if refusal.code == RefusalCode::NotAuthorized {
                        self.metadata.doubt_topic(record.topic, now);
                    }
                    (refusal, fate, RefusedBy::Kafka)
                }
            },
        };
        if fate == Fate::Halt {
            let table = Some(origin.table.to_owned());
            return Err(Halt::Refused { position: Some(origin.position), table, refusal });
        }
        let omitted = event.withheld.as_ref().map(Withheld::omitted);
        self.publish_dead_letter((record, omitted), origin, (known.number(), &refusal, by), now, offer)
    }

    /// An event that violates its contract was published.
    fn note_violation(&mut self, origin: EventOrigin<'_>, violation: Option<&str>) {
        if let Some(violation) = violation {
            let refusal = Refusal { code: RefusalCode::ContractViolation, detail: violation.to_owned() };
            self.note(Some(origin.position), Some(origin.table), &refusal, Disposition::Published);
        }
    }

    /// Offers a record of `size` bytes, and opens its ticket if it is accepted.
    fn offer(
        &mut self,
        record: &Record<'_>,
        size: usize,
        origin: EventOrigin<'_>,
        (contract, kind): (ContractNumber, RecordKind),
        offer: &mut impl FnMut(Ticket, &Record<'_>) -> Offer,
    ) -> Offer {
        let answer = offer(self.ledger.next_ticket(), record);
        if answer == Offer::Taken {
            self.ledger.issue(size, origin.committed_at, origin.position, (contract, kind));
            self.accepted = origin.position;
            self.accepted_at = Some(origin.committed_at);
            self.counters.published += 1;
        }
        answer
    }

    fn publish_dead_letter(
        &mut self,
        (record, mut omitted): (Record<'_>, Option<usize>),
        origin: EventOrigin<'_>,
        (contract, refusal, by): (ContractNumber, &Refusal, RefusedBy),
        now: Instant,
        offer: &mut impl FnMut(Ticket, &Record<'_>) -> Offer,
    ) -> Result<Option<Idle>, Halt> {
        let topic =
            match self.metadata.topic(&self.settings.dead_letter_topic, dead_letter_settings, NamedBy::Owner, now) {
                Err(Wait) => return Ok(Some(Idle::Answer)),
                Ok(Ok(topic)) => topic,
                Ok(Err(why)) => {
                    self.metadata.ask_soon(&self.settings.dead_letter_topic, now);
                    self.blocked_on = Some((self.settings.dead_letter_topic.clone(), why));
                    return Ok(Some(Idle::Returned));
                }
            };
        self.blocked_on = None;
        // A value that the topic does not accept either is not copied.
        let large = record.value.map(<[u8]>::len).filter(|bytes| *bytes > topic.max_message_bytes);
        omitted = large.or(omitted);
        let value = record.value.filter(|_| large.is_none());
        let mut dead_letter = self.dead_letter(OwnedRecord::copy(&Record { value, ..record }), refusal, by);
        if let Some(bytes) = omitted {
            encode::omit(&mut dead_letter, bytes);
        }
        let mut size = dead_letter.size();
        while encode::size_in_batch(size, dead_letter.headers.len()) > topic.max_message_bytes
            && encode::shrink(&mut dead_letter)
        {
            size = dead_letter.size();
        }
        let kind = (contract, RecordKind::DeadLetter);
        let mut answer = self.offer(&dead_letter.borrow(&dead_letter.header_list()), size, origin, kind, offer);
        // Perhaps because of its timestamp.
        while matches!(&answer, Offer::Refused(why) if why.code == RefusalCode::ContractViolation)
            && encode::restamp(&mut dead_letter)
        {
            size = dead_letter.size();
            answer = self.offer(&dead_letter.borrow(&dead_letter.header_list()), size, origin, kind, offer);
        }
        Ok(match answer {
            Offer::Full => Some(Idle::Sink),
            Offer::Taken => {
                self.note(Some(origin.position), Some(origin.table), refusal, Disposition::DeadLetter);
                None
            }
            Offer::Refused(why) => {
                self.metadata.forget_topic(&dead_letter.topic);
                self.blocked_on = Some((dead_letter.topic, why));
                Some(Idle::Returned)
            }
        })
    }

    /// Whether a record may be sent: there is room in the window, or nothing is in flight (a record larger than the
    /// whole window passes alone).
    pub(crate) fn has_room(&self) -> bool {
        let (owed, window) = (self.ledger.owed(), self.window);
        let span_limit = self.settings.max_in_flight.saturating_mul(SPAN_WINDOWS).max(window.records);
        let records = owed.records < window.records && self.ledger.span() < span_limit;
        owed.records == 0 || (records && owed.bytes < window.bytes)
    }
}

/// The position in a record's own header.
fn position_of(record: &OwnedRecord) -> Option<Position> {
    let (_, value) = record.headers.iter().find(|(name, _)| name == encode::names::POSITION)?;
    std::str::from_utf8(value.as_deref()?).ok()?.parse().ok()
}
