//! What Kafka is known to refuse, so that it is not asked again for each record.
//!
//! Asking is expensive: a producer is replaced, or a transaction lost and its records sent again. So a topic that
//! accepts nothing from this client is remembered for much longer than that takes, and for longer each time. If Kafka
//! reports which operations it allows on a topic (KIP-430), its answer ends that: [`Topics`](super::Topics) asks when
//! the core asks for the topic again.
//!
//! A record that a topic refuses for being too old tells how far behind this machine's clock the topic accepts
//! records, and one that is too far ahead, up to which time. Neither clock has to be right for that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::relay::boundary::{Record, Refusal, RefusalCode, Timestamp};
use crate::sink::limits::{
    BEHIND_SLACK_MILLIS, CLOCKS_MILLIS, REFUSED_COST_MOST, REFUSED_COSTS, REFUSED_FIRST, REFUSED_MOST, REFUSED_TIMES,
};

/// The memory of one relay.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// Whether there is anything to remember.
    any: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    topics: HashMap<String, Refused>,
    times: HashMap<String, Untimely>,
}

#[derive(Debug)]
struct Refused {
    refusal: Refusal,
    since: Instant,
    until: Instant,
    wait: Duration,
    /// Kafka has reported that this client may not write there.
    is_denied: bool,
    /// Kafka has reported that it may, right after a refusal.
    is_disputed: bool,
}

/// What Kafka's answer means for a suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// This client may not write to the topic.
    Denied,
    /// Kafka reported that before and reports nothing now. Its answer no longer counts.
    Withdrawn,
    /// The topic may be tried, though not at once.
    Open,
}

/// Which times a topic refuses.
#[derive(Debug, Default)]
struct Untimely {
    /// From this time on, in milliseconds since the Unix epoch.
    ahead: Option<Limit>,
    /// From this age on, in milliseconds.
    behind: Option<Limit>,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    millis: i64,
    until: Instant,
}

impl Limit {
    fn refuses(self, millis: i64, now: Instant) -> bool {
        now < self.until && millis >= self.millis
    }
}

impl Refusals {
    /// Why Kafka would refuse a record, as far as known.
    pub(super) fn refusal(&self, record: &Record<'_>) -> Option<Refusal> {
        if self.any.load(Ordering::Relaxed) { self.known().refusal(record, Instant::now(), now_millis()) } else { None }
    }

    /// A topic accepts nothing from this client, which took this long to find out.
    pub(super) fn refuse_topic(&self, topic: &str, refusal: Refusal, cost: Duration) {
        self.known().refuse_topic(topic, refusal, cost, Instant::now());
        self.any.store(true, Ordering::Relaxed);
    }

    /// A topic has refused a record for its timestamp: why, in words.
    pub(super) fn refuse_time(&self, topic: &str, timestamp_millis: i64) -> Refusal {
        let refusal = self.known().refuse_time(topic, timestamp_millis, Instant::now(), now_millis());
        self.any.store(true, Ordering::Relaxed);
        refusal
    }

    /// Whether a topic has refused this client before and may still do so.
    pub(super) fn is_suspect(&self, topic: &str) -> bool {
        self.any.load(Ordering::Relaxed) && self.known().topics.contains_key(topic)
    }

    /// Kafka reports whether this client may write to a suspect topic, or reports nothing.
    pub(super) fn judge(&self, topic: &str, may_write: Option<bool>) -> Judgement {
        self.known().judge(topic, may_write, Instant::now())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn refusal(&mut self, record: &Record<'_>, now: Instant, now_millis: i64) -> Option<Refusal> {
        if let Some(refused) = self.topics.get(record.topic).filter(|refused| refused.is_denied || now < refused.until)
        {
            return Some(refused.refusal.clone());
        }
        let untimely = self.times.get(record.topic)?;
        let time = match record.timestamp_millis {
            Record::NO_TIME => return None,
            Record::TIME_OF_SENDING => now_millis,
            time => time,
        };
        let ahead = time.saturating_sub(now_millis);
        let is_refused = untimely.ahead.is_some_and(|limit| limit.refuses(time, now))
            || untimely.behind.is_some_and(|limit| limit.refuses(ahead.saturating_neg(), now));
        is_refused.then(|| untimely_refusal(record.topic, time, ahead))
    }

    fn refuse_topic(&mut self, topic: &str, refusal: Refusal, cost: Duration, now: Instant) {
        // A topic that has not refused for as long as it was remembered starts afresh.
        self.topics.retain(|_, refused| refused.is_denied || now < refused.until + refused.wait);
        let before = self.topics.get(topic);
        let wait = before
            .map_or(REFUSED_FIRST, |refused| (refused.wait * 2).min(REFUSED_MOST))
            .max(cost.min(REFUSED_COST_MOST) * REFUSED_COSTS);
        let is_denied = before.is_some_and(|refused| refused.is_denied);
        let refused = Refused { refusal, since: now, until: now + wait, wait, is_denied, is_disputed: false };
        self.topics.insert(topic.to_owned(), refused);
    }

    fn judge(&mut self, topic: &str, may_write: Option<bool>, now: Instant) -> Judgement {
        let Some(refused) = self.topics.get_mut(topic) else {
            return if may_write == Some(false) { Judgement::Denied } else { Judgement::Open };
        };
        let was_denied = refused.is_denied;
        refused.is_denied = may_write == Some(false);
        match may_write {
            Some(false) => return Judgement::Denied,
            None if was_denied => return Judgement::Withdrawn,
            None => {}
            // The reason was something else.
            Some(true) if refused.refusal.code != RefusalCode::NotAuthorized => {}
            // Believing that would mean trying the same record for ever.
            Some(true) if !was_denied && now < refused.since + REFUSED_FIRST => refused.is_disputed = true,
            Some(true) if refused.is_disputed => {}
            // It is allowed now.
            Some(true) => drop(self.topics.remove(topic)),
        }
        Judgement::Open
    }

    fn refuse_time(&mut self, topic: &str, time: i64, now: Instant, now_millis: i64) -> Refusal {
        let holds = |limit: Option<Limit>| limit.is_some_and(|limit| now < limit.until);
        self.times.retain(|_, untimely| holds(untimely.ahead) || holds(untimely.behind));
        let time = if time == Record::TIME_OF_SENDING { now_millis } else { time };
        let ahead = time.saturating_sub(now_millis);
        let untimely = self.times.entry(topic.to_owned()).or_default();
        let (limit, refused, slack) = match ahead {
            1.. => (&mut untimely.ahead, time, 0),
            _ => (&mut untimely.behind, ahead.saturating_neg(), BEHIND_SLACK_MILLIS),
        };
        // One that the limit already refuses was in flight, and adds nothing new.
        if !limit.is_some_and(|limit| limit.refuses(refused, now)) {
            let millis = (refused - slack).max(refused / 2);
            *limit = Some(Limit { millis, until: now + REFUSED_TIMES });
        }
        untimely_refusal(topic, time, ahead)
    }
}

fn untimely_refusal(topic: &str, time: i64, ahead: i64) -> Refusal {
    let (time, away) = (Timestamp(time.saturating_mul(1_000)), ahead.unsigned_abs());
    let advice = match ahead {
        _ if away < CLOCKS_MILLIS => {
            "compare the brokers' clocks with the relay's, and check the topic's message.timestamp.before.max.ms and after.max.ms"
        }
        1.. => {
            "fix the clock of the database server or the code that set this timestamp, or raise the topic's message.timestamp.after.max.ms"
        }
        _ => "raise the topic's message.timestamp.before.max.ms, or fix the clock of the database server",
    };
    let (span, side) = (span(away), if ahead > 0 { "ahead of" } else { "behind" });
    let detail = format!(
        "topic {topic} rejects the record's timestamp {time}, {span} {side} the relay's clock: {advice}; then redrive"
    );
    Refusal { code: RefusalCode::ContractViolation, detail }
}

/// A duration to the second, or to the day if it is long.
fn span(millis: u64) -> String {
    let seconds = millis / 1_000;
    let (days, hours, minutes, seconds) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (1.., ..) => format!("{days} d"),
        (0, 1.., _) => format!("{hours} h {minutes} min"),
        (0, 0, 1..) => format!("{minutes} min {seconds} s"),
        (0, 0, 0) => format!("{seconds}.{:03} s", millis % 1_000),
    }
}

/// The current time in milliseconds since the Unix epoch.
pub(super) fn now_millis() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since_epoch.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const HOUR: i64 = 3_600_000;

    fn record(timestamp_millis: i64) -> Record<'static> {
        Record { topic: "t", key: None, value: None, headers: &[], timestamp_millis }
    }

    fn denied() -> Refusal {
        Refusal { code: RefusalCode::NotAuthorized, detail: "no".to_owned() }
    }

    #[test]
    fn case_26_a_refusing_topic_is_remembered_longer_each_time_and_longer_than_it_costs() {
        let (mut known, mut now) = (Known::default(), Instant::now());
        for wait in [10, 20, 40, 80, 120, 120] {
            known.refuse_topic("t", denied(), Duration::ZERO, now);
            let until = now + Duration::from_secs(wait);
            assert!(known.refusal(&record(NOW), until - Duration::from_millis(1), NOW).is_some(), "{wait}");
            assert!(known.refusal(&record(NOW), until, NOW).is_none(), "{wait}");
            now = until;
        }
        known.refuse_topic("t", denied(), Duration::from_secs(15), now);
        assert!(known.refusal(&record(NOW), now + Duration::from_secs(299), NOW).is_some());
        assert!(known.refusal(&record(NOW), now + Duration::from_secs(300), NOW).is_none());
        known.refuse_topic("t", denied(), Duration::from_secs(600), now);
        assert!(known.refusal(&record(NOW), now + Duration::from_secs(300), NOW).is_none(), "brokers were away");
        let later = now + Duration::from_secs(600);
        known.refuse_topic("t", denied(), Duration::ZERO, later);
        assert!(known.refusal(&record(NOW), later + REFUSED_FIRST, NOW).is_none(), "long enough without a refusal");
    }

    #[test]
    fn kafkas_answer_about_a_topic_holds_until_it_changes() {
        let refusals = Refusals::default();
        refusals.judge("t", Some(true));
        assert!(!refusals.is_suspect("t"));
        refusals.refuse_topic("t", denied(), Duration::ZERO);
        assert_eq!(refusals.judge("t", Some(false)), Judgement::Denied);
        let long = Instant::now() + REFUSED_MOST * 10;
        assert!(refusals.known().refusal(&record(NOW), long, NOW).is_some());
        assert_eq!(refusals.judge("t", Some(true)), Judgement::Open);
        assert!(!refusals.is_suspect("t"));
        assert_eq!(refusals.refusal(&record(NOW)), None);
    }

    #[test]
    fn a_denial_ends_when_kafka_no_longer_reports_the_topic() {
        let (mut known, now) = (Known::default(), Instant::now());
        known.refuse_topic("t", denied(), Duration::ZERO, now);
        assert_eq!(known.judge("t", Some(false), now), Judgement::Denied);
        assert_eq!(known.judge("t", None, now), Judgement::Withdrawn, "it is asked again");
        assert!(known.refusal(&record(NOW), now, NOW).is_some());
        assert!(known.refusal(&record(NOW), now + REFUSED_FIRST, NOW).is_none(), "the topic is tried");
        assert_eq!(known.judge("t", None, now), Judgement::Open, "Kafka's silence blocks nothing");
        assert_eq!(known.judge("t", Some(false), now), Judgement::Denied);
    }

    #[test]
    fn an_allowed_topic_is_trusted_unless_it_has_just_refused() {
        let (mut known, now) = (Known::default(), Instant::now());
        let cost = Duration::from_secs(15);
        known.refuse_topic("t", denied(), cost, now);
        known.judge("t", Some(true), now + REFUSED_FIRST);
        assert!(known.refusal(&record(NOW), now + REFUSED_FIRST, NOW).is_none(), "it was asked later");

        known.refuse_topic("t", denied(), cost, now);
        known.judge("t", Some(true), now);
        known.judge("t", Some(true), now + REFUSED_FIRST);
        assert!(
            known.refusal(&record(NOW), now + REFUSED_FIRST, NOW).is_some(),
            "it would be tried and refused for ever"
        );
        assert!(known.refusal(&record(NOW), now + cost * REFUSED_COSTS, NOW).is_none());

        let illegal = Refusal { code: RefusalCode::UnknownTopic, detail: "no".to_owned() };
        known.refuse_topic("u", illegal, cost, now);
        known.judge("u", Some(true), now + REFUSED_FIRST);
        assert!(
            known.refusal(&Record { topic: "u", ..record(NOW) }, now + REFUSED_FIRST, NOW).is_some(),
            "not for its rights"
        );
    }

    #[test]
    fn case_34_a_time_that_was_refused_refuses_what_is_as_far_from_the_present() {
        let (mut known, now) = (Known::default(), Instant::now());
        let refusal = known.refuse_time("t", NOW + 3 * HOUR / 2, now, NOW);
        assert_eq!(
            refusal.detail,
            "topic t rejects the record's timestamp 2027-01-15T09:30:00.000000Z, 1 h 30 min ahead of the relay's clock: fix the clock of \
             the database server or the code that set this timestamp, or raise the topic's message.timestamp.after.max.ms; then redrive"
        );
        let mut is_refused = |time, seconds| {
            let (later, millis) =
                (now + Duration::from_secs(seconds), NOW + 1_000 * i64::try_from(seconds).expect("few"));
            known.refusal(&record(time), later, millis).is_some()
        };
        assert!(is_refused(NOW + 3 * HOUR / 2, 59) && is_refused(i64::MAX, 0), "the same record, and any later one");
        assert!(!is_refused(NOW + 3 * HOUR / 2 - 1, 0) && !is_refused(NOW - 9 * HOUR, 0));
        assert!(!is_refused(Record::TIME_OF_SENDING, 0) && !is_refused(Record::NO_TIME, 0));
        assert!(!is_refused(NOW + 3 * HOUR / 2, 60), "it is tried again");
    }

    #[test]
    fn case_34_a_record_that_was_too_old_refuses_older_ones_and_none_that_is_clearly_younger() {
        let (mut known, now) = (Known::default(), Instant::now());
        let oldest = NOW - HOUR;
        known.refuse_time("t", oldest - 1_000, now, NOW);
        assert!(known.refusal(&record(oldest - 1_000), now, NOW).is_some());
        assert!(known.refusal(&record(1), now, NOW).is_some());
        assert!(known.refusal(&record(oldest + 1), now, NOW).is_none());
        let later = now + Duration::from_secs(30);
        assert!(known.refusal(&record(oldest + 1), later, NOW + 30_000).is_some(), "it is too old by now");
        assert!(known.refusal(&record(oldest + 30_001), later, NOW + 30_000).is_none());
        // Refusals on one side extend nothing on the other, nor do those of records that were in flight.
        known.refuse_time("t", NOW + HOUR, now, NOW);
        known.refuse_time("t", NOW + 2 * HOUR, later, NOW);
        known.refuse_time("t", NOW - HOUR / 2, later, NOW);
        assert!(known.refusal(&record(NOW + 2 * HOUR), now + REFUSED_TIMES, NOW).is_none());
        assert!(known.refusal(&record(NOW - HOUR / 2), now + REFUSED_TIMES, NOW).is_some());
    }

    #[test]
    fn case_34_no_time_overflows() {
        let now = Instant::now();
        for (time, word) in [(i64::MAX, "ahead"), (i64::MIN, "behind"), (NOW, "behind")] {
            let mut known = Known::default();
            assert!(known.refuse_time("t", time, now, NOW).detail.contains(word), "{time}");
            assert!(known.refusal(&record(time), now, NOW).is_some(), "{time}");
        }
    }

    #[test]
    fn if_the_current_time_is_refused_only_records_without_timestamp_are_accepted() {
        let (mut known, now) = (Known::default(), Instant::now());
        let refusal = known.refuse_time("t", Record::TIME_OF_SENDING, now, NOW);
        assert!(refusal.detail.contains("compare the brokers' clocks"), "{}", refusal.detail);
        assert!(known.refusal(&record(Record::TIME_OF_SENDING), now, NOW).is_some());
        assert!(known.refusal(&record(Record::NO_TIME), now, NOW).is_none());
    }
}
