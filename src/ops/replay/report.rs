//! The report of a replay.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::fault::Fault;
use crate::relay::boundary::{Lsn, Position, Timestamp};
use crate::relay::replay::Sighting;
use crate::source::Held;
use crate::terminal::{counted, grouped, visible};

/// Longest excerpt of a key, in characters.
const KEY_CHARS: usize = 100;

/// The result of a replay.
#[derive(Debug)]
pub(crate) struct ReplayReport {
    /// The replay's id, header `outbox-replay`.
    pub id: String,
    /// Whether it was a dry run, which publishes nothing.
    pub is_dry_run: bool,
    /// Whether it reached its end.
    pub is_complete: bool,
    /// The requested start.
    pub from: Position,
    /// The LSN of the last commit record to read.
    pub to: Lsn,
    /// The earliest commit time selected.
    pub since: Option<Timestamp>,
    /// The latest commit time selected.
    pub until: Option<Timestamp>,
    /// The slot that was copied; `None` if the tables were read.
    pub held_by: Option<Held>,
    /// Records that Kafka has acknowledged, including dead letters.
    pub events: u64,
    /// Dead letters by refusal code.
    pub dead_letters: BTreeMap<String, u64>,
    /// Events that were not selected.
    pub left_out: u64,
    pub first: Option<SeenEvent>,
    pub last: Option<SeenEvent>,
    /// How long it took.
    pub seconds: f64,
    /// The first position that may not have been published.
    pub unfinished: Position,
    /// The time of the last event.
    pub last_at: Option<Timestamp>,
    /// The fault that ended it, if one did.
    pub fault: Option<Fault>,
}

/// The parts of an event shown in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SeenEvent {
    /// Header `outbox-position`.
    pub position: String,
    /// Its commit time; for a row of a table, its created_at.
    pub time: String,
    pub schema: Option<String>,
    /// Its key, truncated to 100 characters.
    pub key: Option<String>,
}

impl From<Sighting> for SeenEvent {
    fn from(sighting: Sighting) -> Self {
        let key = sighting.key.map(|key| String::from_utf8_lossy(&key).chars().take(KEY_CHARS).collect());
        let (position, time) = (sighting.position.to_string(), sighting.at.to_string());
        Self { position, time, schema: sighting.schema, key }
    }
}

impl fmt::Display for SeenEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.position, self.time)?;
        if let Some(schema) = &self.schema {
            write!(f, ", {}", visible(schema))?;
        }
        match &self.key {
            Some(key) => write!(f, ", key {}", visible(key)),
            None => write!(f, ", no key"),
        }
    }
}

#[derive(Serialize)]
struct Json<'a> {
    replay: &'a str,
    dry_run: bool,
    complete: bool,
    slot: Option<&'a str>,
    from: Option<String>,
    to_lsn: Option<String>,
    events: u64,
    dead_letters: &'a BTreeMap<String, u64>,
    left_out: u64,
    first: Option<&'a SeenEvent>,
    last: Option<&'a SeenEvent>,
    seconds: f64,
    go_on: Option<&'a str>,
}

impl ReplayReport {
    /// As one line of JSON; `go_on` is the command that resumes the replay.
    #[must_use]
    pub(crate) fn json(&self, go_on: Option<&str>) -> String {
        let json = Json {
            replay: &self.id,
            dry_run: self.is_dry_run,
            complete: self.is_complete,
            slot: self.held_by.as_ref().map(|held| held.slot.as_str()),
            from: self.held_by.is_some().then(|| self.from.to_string()),
            to_lsn: self.held_by.is_some().then(|| self.to.to_string()),
            events: self.events,
            dead_letters: &self.dead_letters,
            left_out: self.left_out,
            first: self.first.as_ref(),
            last: self.last.as_ref(),
            seconds: self.seconds,
            go_on,
        };
        serde_json::to_string(&json).expect("plain values") + "\n"
    }

    /// As text for people.
    #[must_use]
    pub(crate) fn text(&self) -> String {
        let did = if self.is_dry_run { "would publish" } else { "published" };
        let whence = match &self.held_by {
            Some(held) => format!("from {} to {}, from a copy of slot {}", self.from, self.to, held.slot),
            None => "from the outbox tables".to_owned(),
        };
        let mut text = format!("{did} {} again, {whence}", counted(self.events, "event"));
        if self.left_out > 0 {
            text += &format!("; {} were not selected", grouped(self.left_out));
        }
        text += "\n";
        for (what, seen) in [("first", &self.first), ("last", &self.last)] {
            if let Some(seen) = seen {
                text += &format!("  {what:<5} {seen}\n");
            }
        }
        let dead_letters: u64 = self.dead_letters.values().sum();
        if dead_letters > 0 {
            let codes: Vec<_> = self.dead_letters.iter().map(|(code, count)| format!("{code} {count}")).collect();
            text += &format!("  {} of them dead letters: {}\n", grouped(dead_letters), codes.join(", "));
        }
        if !self.is_dry_run {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
            let rate = (self.events as f64 / self.seconds.max(0.001)) as u64;
            text += &format!("  outbox-replay {}; {:.1} s, {}/s\n", self.id, self.seconds, grouped(rate));
        }
        text
    }
}
