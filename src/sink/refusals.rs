//! What Kafka is known to refuse, so that it is not asked again for each record.
//!
//! To ask is dear: a producer is replaced, or a transaction lost and its records sent again. So a topic that takes nothing from this
//! client is remembered for far longer than that costs, and for longer each time. Where Kafka says which operations it allows on a topic
//! (KIP-430), its word ends that: [`Topics`](super::Topics) asks it when the core asks for the topic again.
//!
//! A record whose time a topic refuses says how far ahead or behind, by this machine's clock, the topic takes no more. Neither clock
//! need be right for that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::relay::boundary::{Record, Refusal, RefusalCode, Timestamp};

/// How long a topic's refusal is remembered for the first time; at least so many times what it has cost.
const FIRST: Duration = Duration::from_secs(10);
const COSTS: u32 = 20;
/// How long at most, unless it costs more.
const MOST: Duration = Duration::from_secs(120);
/// How long it is remembered which times a topic refuses.
const TIMES: Duration = Duration::from_secs(60);
/// Records so much closer to the present than one that was refused are taken to be refused too. While it is remembered, a record of a
/// fixed time comes closer by as much.
const TIME_SLACK_MILLIS: i64 = 60_000;

/// The memory of one relay.
#[derive(Debug, Default)]
pub(super) struct Refusals {
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
    until: Instant,
    wait: Duration,
    /// Kafka has said that it does not allow this client to write there.
    is_denied: bool,
}

/// Which times a topic refuses, by how far from the present they are in milliseconds.
#[derive(Debug)]
struct Untimely {
    until: Instant,
    ahead: Option<i64>,
    behind: Option<i64>,
}

impl Refusals {
    /// Why Kafka would refuse a record, as far as that is known.
    pub(super) fn refusal(&self, record: &Record<'_>) -> Option<Refusal> {
        if self.any.load(Ordering::Relaxed) { self.known().refusal(record, Instant::now(), now_millis()) } else { None }
    }

    /// A topic takes nothing from this client. To find that out took so long.
    pub(super) fn refuse_topic(&self, topic: &str, refusal: Refusal, cost: Duration) {
        self.known().refuse_topic(topic, refusal, cost, Instant::now());
        self.any.store(true, Ordering::Relaxed);
    }

    /// A topic has refused a record for its time: why, in words.
    pub(super) fn refuse_time(&self, topic: &str, timestamp_millis: i64) -> Refusal {
        let refusal = self.known().refuse_time(topic, timestamp_millis, Instant::now(), now_millis());
        self.any.store(true, Ordering::Relaxed);
        refusal
    }

    /// Whether a topic has refused this client before and may do so still.
    pub(super) fn is_suspect(&self, topic: &str) -> bool {
        self.any.load(Ordering::Relaxed) && self.known().topics.contains_key(topic)
    }

    /// Kafka says whether it allows this client to write to a topic that is a suspect.
    pub(super) fn judge(&self, topic: &str, may_write: bool) {
        let mut known = self.known();
        match known.topics.get_mut(topic) {
            Some(refused) if !may_write => refused.is_denied = true,
            // It was for that, and is not any more.
            Some(refused) if refused.is_denied => drop(known.topics.remove(topic)),
            _ => {}
        }
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
        if now >= untimely.until {
            self.times.remove(record.topic);
            return None;
        }
        let time = match record.timestamp_millis {
            Record::NO_TIME => return None,
            Record::TIME_OF_SENDING => now_millis,
            time => time,
        };
        let ahead = time.saturating_sub(now_millis);
        let is_refused = untimely.ahead.is_some_and(|limit| ahead >= limit)
            || untimely.behind.is_some_and(|limit| ahead.saturating_neg() >= limit);
        is_refused.then(|| untimely_refusal(record.topic, time, ahead))
    }

    fn refuse_topic(&mut self, topic: &str, refusal: Refusal, cost: Duration, now: Instant) {
        // One that has not refused for as long as it was remembered begins anew.
        self.topics.retain(|_, refused| refused.is_denied || now < refused.until + refused.wait);
        let before = self.topics.get(topic);
        let wait = before.map_or(FIRST, |refused| (refused.wait * 2).min(MOST)).max(cost * COSTS);
        let is_denied = before.is_some_and(|refused| refused.is_denied);
        self.topics.insert(topic.to_owned(), Refused { refusal, until: now + wait, wait, is_denied });
    }

    fn refuse_time(&mut self, topic: &str, time: i64, now: Instant, now_millis: i64) -> Refusal {
        self.times.retain(|_, untimely| now < untimely.until);
        let time = if time == Record::TIME_OF_SENDING { now_millis } else { time };
        let ahead = time.saturating_sub(now_millis);
        let limit = |distance: i64| Some((distance - TIME_SLACK_MILLIS).max(distance / 2));
        let known = self.times.entry(topic.to_owned());
        let untimely = known.or_insert(Untimely { until: now, ahead: None, behind: None });
        untimely.until = now + TIMES;
        if ahead > 0 {
            untimely.ahead = limit(ahead);
        } else {
            untimely.behind = limit(ahead.saturating_neg());
        }
        untimely_refusal(topic, time, ahead)
    }
}

fn untimely_refusal(topic: &str, time: i64, ahead: i64) -> Refusal {
    let (time, away) = (Timestamp(time.saturating_mul(1_000)), ahead.unsigned_abs());
    let advice = match ahead {
        _ if away < TIME_SLACK_MILLIS.unsigned_abs() => {
            "compare the brokers' clocks with the relay's, and see message.timestamp.before.max.ms and after.max.ms of the topic"
        }
        1.. => {
            "correct the clock of the database server, or whatever set this time, or raise message.timestamp.after.max.ms of the topic"
        }
        _ => "raise message.timestamp.before.max.ms of the topic, or correct the clock of the database server",
    };
    let (span, side) = (span(away), if ahead > 0 { "ahead of" } else { "behind" });
    let detail = format!(
        "topic {topic} refuses the record's time, {time}, {span} {side} the relay's clock: {advice}; then redrive"
    );
    Refusal { code: RefusalCode::ContractViolation, detail }
}

/// A length of time to the second, or to the day where it is long.
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

/// The present time in milliseconds since the Unix epoch.
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
    fn case_26_a_topic_that_refuses_is_remembered_for_longer_each_time_and_for_longer_than_it_costs() {
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
        let later = now + Duration::from_secs(600);
        known.refuse_topic("t", denied(), Duration::ZERO, later);
        assert!(known.refusal(&record(NOW), later + FIRST, NOW).is_none(), "long enough without a refusal");
    }

    #[test]
    fn kafkas_word_about_a_topic_holds_until_it_says_otherwise() {
        let refusals = Refusals::default();
        refusals.judge("t", true);
        assert!(!refusals.is_suspect("t"));
        refusals.refuse_topic("t", denied(), Duration::ZERO);
        refusals.judge("t", true);
        assert!(refusals.is_suspect("t"), "it was refused for something else than access control");
        refusals.judge("t", false);
        let long = Instant::now() + MOST * 10;
        assert!(refusals.known().refusal(&record(NOW), long, NOW).is_some());
        refusals.judge("t", true);
        assert!(!refusals.is_suspect("t"));
        assert_eq!(refusals.refusal(&record(NOW)), None);
    }

    #[test]
    fn case_34_a_time_that_was_refused_refuses_what_is_as_far_from_the_present() {
        let (mut known, now) = (Known::default(), Instant::now());
        let refusal = known.refuse_time("t", NOW + 3 * HOUR / 2, now, NOW);
        assert_eq!(
            refusal.detail,
            "topic t refuses the record's time, 2027-01-15T09:30:00.000000Z, 1 h 30 min ahead of the relay's clock: correct the clock of \
             the database server, or whatever set this time, or raise message.timestamp.after.max.ms of the topic; then redrive"
        );
        let mut is_refused = |time, seconds| {
            let (later, millis) =
                (now + Duration::from_secs(seconds), NOW + 1_000 * i64::try_from(seconds).expect("few"));
            known.refusal(&record(time), later, millis).is_some()
        };
        assert!(is_refused(NOW + 3 * HOUR / 2, 59) && is_refused(i64::MAX, 0), "the same record, and any later one");
        assert!(!is_refused(NOW + HOUR, 0) && !is_refused(NOW - 9 * HOUR, 0));
        assert!(!is_refused(Record::TIME_OF_SENDING, 0) && !is_refused(Record::NO_TIME, 0));
        assert!(!is_refused(NOW + 3 * HOUR / 2, 60), "it is tried again");
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
    fn where_the_present_itself_is_refused_nothing_but_a_record_without_time_is_taken() {
        let (mut known, now) = (Known::default(), Instant::now());
        let refusal = known.refuse_time("t", Record::TIME_OF_SENDING, now, NOW);
        assert!(refusal.detail.contains("compare the brokers' clocks"), "{}", refusal.detail);
        assert!(known.refusal(&record(Record::TIME_OF_SENDING), now, NOW).is_some());
        assert!(known.refusal(&record(Record::NO_TIME), now, NOW).is_none());
    }
}
