//! Turns an event into the headers of a record, and a refused one into those of a dead letter.

use smallvec::SmallVec;

use super::attributes::is_header_of_event;
use super::inline::Inline;
use crate::relay::boundary::HeaderStyle;
use crate::relay::boundary::{Format, Header, OwnedRecord, Position, Record, Refusal, Timestamp};
use crate::relay::decode::event::Event;
use crate::relay::limits::CUT_HEADER_BYTES;

pub use super::row_headers::RowHeaders;

/// Names of headers that walpost adds to records. Also for their readers.
pub mod names {
    /// `<commit LSN>/<ordinal>`.
    pub const POSITION: &str = "outbox-position";
    /// The relay instance that published the record.
    pub const RELAY: &str = "outbox-relay";
    /// On a record published again after its slot was lost: the LSN up to which everything had been published before.
    pub const RECOVERED: &str = "outbox-recovered";
    /// The id of the replay that published the record again.
    pub const REPLAY: &str = "outbox-replay";
    /// How a record that is published anyway violates its contract.
    pub const VIOLATION: &str = "outbox-violation";
    /// A dead letter's error code.
    pub const ERROR: &str = "outbox-error";
    /// A dead letter's reason, in words.
    pub const ERROR_DETAIL: &str = "outbox-error-detail";
    /// The original destination of a dead letter.
    pub const TOPIC: &str = "outbox-topic";
    /// The timestamp that a dead letter's record should have had, if its topic rejected that: RFC 3339, UTC.
    pub const TIMESTAMP: &str = "outbox-timestamp";
    /// An event's own headers as they came, in a dead letter, if they could not be read.
    pub const HEADERS: &str = "outbox-headers";
    /// The size in bytes of a value that even the dead-letter topic could not accept; 0 if the value is null, and key
    /// or headers were too large.
    pub const VALUE_OMITTED: &str = "outbox-value-omitted";
    /// Where a redriven record was a dead letter, and when it was redriven.
    pub const REDRIVEN: &str = "outbox-redriven";

    /// The common prefix. A row's own header with this prefix is left out: consumers act on these headers.
    pub const RESERVED_PREFIX: &str = "outbox-";
}

/// The headers of a record.
#[derive(Debug)]
pub struct Headers<'a> {
    /// In order.
    pub list: HeaderList<'a>,
    /// How many of them, from the first, are the relay's own.
    own: usize,
    /// Whether headers of the row were left out.
    pub has_dropped: bool,
}

impl<'a> Headers<'a> {
    /// The names of the row's headers that were left out: reserved ones, those that the relay writes itself,
    /// duplicates, and null attributes.
    pub fn dropped(&self, event: &'a Event<'_>, row_headers: &'a RowHeaders<'_>) -> impl Iterator<Item = &'a str> {
        let placed = event.placed.iter().map(|(name, _)| *name);
        let names: Vec<&str> = placed.chain(row_headers.list.iter().map(|(name, _)| name.as_ref())).collect();
        let own: Vec<&str> = self.list[..self.own].iter().map(|header| header.name).collect();
        let is_dropped = move |place: usize, name: &str| {
            let is_there = || self.list.iter().any(|header| header.name == name);
            name.starts_with(names::RESERVED_PREFIX)
                || own.contains(&name)
                || names[..place].contains(&name)
                || !is_there()
        };
        let placed = event.placed.iter().map(|(name, _)| *name);
        let all = placed.chain(row_headers.list.iter().map(|(name, _)| name.as_ref())).enumerate();
        all.filter(move |(place, name)| is_dropped(*place, name)).map(|(_, name)| name)
    }
}

/// Headers of a record being built; this many fit without an allocation.
pub type HeaderList<'a> = SmallVec<[Header<'a>; 16]>;

/// What all records of a relay share.
#[derive(Clone, Debug)]
pub struct Encoder {
    pub style: HeaderStyle,
    /// The `ce_source` header.
    pub source: String,
    /// The `outbox-relay` header.
    pub relay: String,
    /// The `outbox-recovered` header, for records that may be in Kafka already.
    pub recovered: Option<String>,
    /// The `outbox-replay` header, in a replay.
    pub replay: Option<String>,
}

/// Values formatted for one record.
pub struct Stamps {
    position: Inline<48>,
    time: Inline<32>,
}

impl Stamps {
    /// Formats the position, and the time as RFC 3339.
    #[must_use]
    pub fn new(position: Position, time: Timestamp) -> Self {
        let mut stamps = Self { position: Inline::default(), time: Inline::default() };
        stamps.position.push_position(position);
        stamps.time.push_time(time);
        stamps
    }
}

impl Encoder {
    /// The headers of an event's record. The relay's own win over row headers of the same name, and row headers with
    /// the relay's prefix are left out.
    pub fn headers<'a>(
        &'a self,
        event: &'a Event<'_>,
        row_headers: &'a RowHeaders<'_>,
        contract: ContractHeaders<'a>,
        stamps: &'a Stamps,
    ) -> Headers<'a> {
        let mut list = HeaderList::new();
        let mut push = |name, value: &'a [u8]| list.push(Header { name, value: Some(value) });
        let style = event.style.unwrap_or(self.style);
        match style {
            HeaderStyle::CloudEvents => {
                push("ce_specversion", b"1.0");
                // CloudEvents requires an id; the position serves as one.
                push("ce_id", if event.id.is_empty() { stamps.position.as_bytes() } else { &event.id });
                push("ce_source", self.source.as_bytes());
                if let Some(kind) = contract.name {
                    push("ce_type", kind.as_bytes());
                }
                push("ce_time", stamps.time.as_bytes());
                if let Some(data_schema) = contract.data_schema {
                    push("ce_dataschema", data_schema.as_bytes());
                }
                if let Some(format) = contract.format {
                    push("content-type", format.content_type().as_bytes());
                }
            }
            HeaderStyle::Plain => {
                push("id", &event.id);
                if let Some((name, version)) = &event.schema {
                    push("schema", name.as_bytes());
                    push("schema-version", version.as_bytes());
                }
            }
            HeaderStyle::Debezium => push("id", &event.id),
        }
        push(names::POSITION, stamps.position.as_bytes());
        push(names::RELAY, self.relay.as_bytes());
        if let Some(recovered) = &self.recovered {
            push(names::RECOVERED, recovered.as_bytes());
        }
        if let Some(replay) = &self.replay {
            push(names::REPLAY, replay.as_bytes());
        }
        if let Some(violation) = contract.violation {
            push(names::VIOLATION, violation.as_bytes());
        }
        if let Some(unparsed) = row_headers.unparsed {
            push(names::HEADERS, unparsed);
        }
        let own = list.len();
        for (name, value) in &event.placed {
            push_new(&mut list, style, name, value.as_deref());
        }
        for (name, value) in &row_headers.list {
            if !name.starts_with(names::RESERVED_PREFIX) {
                push_new(&mut list, style, name, value.as_deref());
            }
        }
        let has_dropped = list.len() < own + event.placed.len() + row_headers.list.len();
        if style == HeaderStyle::CloudEvents && contract.name.is_none() {
            set_type(&mut list, contract.topic);
        }
        Headers { list, own, has_dropped }
    }
}

/// A row header never replaces one that is already there, nor may it have a name that CloudEvents forbids. A null
/// attribute is treated as absent: SDKs fail on a null header.
fn push_new<'a>(list: &mut HeaderList<'a>, style: HeaderStyle, name: &'a str, value: Option<&'a [u8]>) {
    let is_event = style == HeaderStyle::CloudEvents;
    if is_event && (!is_header_of_event(name) || value.is_none() && name.starts_with("ce_")) {
        return;
    }
    // SDKs read this one case-insensitively.
    let is_content_type = |name: &str| is_event && name.eq_ignore_ascii_case("content-type");
    let is_same = |header: &Header<'_>| header.name == name || is_content_type(header.name) && is_content_type(name);
    if !list.iter().any(is_same) {
        list.push(Header { name, value });
    }
}

/// Ensures that there is a type, which CloudEvents requires, when no schema names it: the row's own, otherwise the
/// topic. It follows the row's headers, unlike the types that are schema names.
fn set_type<'a>(list: &mut HeaderList<'a>, topic: Option<&'a str>) {
    let is_type = |header: &Header<'_>| header.name == "ce_type";
    if list.iter().any(|header| is_type(header) && header.value.is_some_and(|value| !value.is_empty())) {
        return;
    }
    list.retain(|header| !is_type(header));
    list.extend(topic.map(|topic| Header { name: "ce_type", value: Some(topic.as_bytes()) }));
}

/// What a schema version adds to the headers.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContractHeaders<'a> {
    /// The schema's name.
    pub name: Option<&'a str>,
    /// Its version's URI.
    pub data_schema: Option<&'a str>,
    /// The payload's format.
    pub format: Option<Format>,
    /// How the payload violates the contract, if the record is published anyway.
    pub violation: Option<&'a str>,
    /// The event's topic, if known.
    pub topic: Option<&'a str>,
}

/// The bytes of a record that count against the window: key, value, and headers.
#[must_use]
pub fn size(record: &Record<'_>) -> usize {
    let headers: usize =
        record.headers.iter().map(|header| header.name.len() + header.value.map_or(0, <[u8]>::len)).sum();
    record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + headers
}

/// The most that a record of this [`size`] can take in a batch of its own, uncompressed, which is how large a topic's
/// limit must be.
///
/// A batch header is 61 bytes (record batch format v2); the record itself adds seven varints of at most five bytes
/// (timestamp delta: ten), an attribute byte, and two varints per header.
#[must_use]
pub const fn size_in_batch(size: usize, headers: usize) -> usize {
    const BATCH_HEADER: usize = 61;
    const RECORD_OVERHEAD: usize = 41;
    const HEADER_OVERHEAD: usize = 10;
    BATCH_HEADER + RECORD_OVERHEAD + headers * HEADER_OVERHEAD + size
}

/// A time in the format of `ce_time`: RFC 3339, UTC, microseconds.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    let mut text = Inline::<32>::default();
    text.push_time(time);
    String::from_utf8_lossy(text.as_bytes()).into_owned()
}

/// Turns a returned record into a dead letter: the same key, value and headers, and the reason.
#[must_use]
pub fn dead_letter(record: OwnedRecord, dead_letter_topic: &str, refusal: &Refusal) -> OwnedRecord {
    let mut headers = record.headers;
    headers.push((names::ERROR.to_owned(), Some(refusal.code.as_str().into())));
    headers.push((names::ERROR_DETAIL.to_owned(), Some(refusal.detail.clone().into_bytes())));
    headers.push((names::TOPIC.to_owned(), Some(record.topic.into_bytes())));
    OwnedRecord { topic: dead_letter_topic.to_owned(), headers, ..record }
}

/// Changes the timestamp of a dead letter whose topic may reject it: to the time of sending, with the original in a
/// header; and if it had that, to none. Returns whether there was something to change.
pub fn restamp(dead_letter: &mut OwnedRecord) -> bool {
    match dead_letter.timestamp_millis {
        Record::NO_TIME => return false,
        Record::TIME_OF_SENDING => dead_letter.timestamp_millis = Record::NO_TIME,
        millis => {
            let time = rfc3339(Timestamp(millis.saturating_mul(1_000)));
            dead_letter.headers.push((names::TIMESTAMP.to_owned(), Some(time.into_bytes())));
            dead_letter.timestamp_millis = Record::TIME_OF_SENDING;
        }
    }
    true
}

/// Shrinks a dead letter that its topic does not accept: first the value is removed, and a header gives its size;
/// then the key, the row's own headers, and long values of the others. Returns whether there was something to remove.
pub fn shrink(dead_letter: &mut OwnedRecord) -> bool {
    if let Some(value) = dead_letter.value.take() {
        omit(dead_letter, value.len());
        return true;
    }
    let before = dead_letter.size();
    dead_letter.key = dead_letter.key.take().filter(|key| key.len() <= CUT_HEADER_BYTES);
    dead_letter.headers.retain(|(name, _)| KEPT_HEADERS.contains(&name.as_str()));
    for value in dead_letter.headers.iter_mut().filter_map(|(_, value)| value.as_mut()) {
        value.truncate(CUT_HEADER_BYTES);
    }
    let is_smaller = dead_letter.size() < before;
    if is_smaller && dead_letter.headers.iter().all(|(name, _)| name != names::VALUE_OMITTED) {
        // The value is null: what is left out is the rest, and a redrive must know that.
        omit(dead_letter, 0);
    }
    is_smaller
}

/// Records the size of a value left out of a dead letter; 0 if another part is missing.
pub(crate) fn omit(dead_letter: &mut OwnedRecord, bytes: usize) {
    dead_letter.headers.push((names::VALUE_OMITTED.to_owned(), Some(bytes.to_string().into_bytes())));
}

/// The headers that even the smallest dead letter keeps.
const KEPT_HEADERS: [&str; 13] = [
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "id",
    names::POSITION,
    names::RELAY,
    names::REPLAY,
    names::ERROR,
    names::ERROR_DETAIL,
    names::TOPIC,
    names::TIMESTAMP,
    names::VALUE_OMITTED,
];

impl OwnedRecord {
    /// A copy of `record`.
    #[must_use]
    pub fn copy(record: &Record<'_>) -> Self {
        let header = |header: &Header<'_>| (header.name.to_owned(), header.value.map(<[u8]>::to_vec));
        Self {
            topic: record.topic.to_owned(),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(header).collect(),
            timestamp_millis: record.timestamp_millis,
        }
    }

    /// Its [`size`].
    #[must_use]
    pub fn size(&self) -> usize {
        size(&self.borrow(&self.header_list()))
    }

    /// The headers, borrowed.
    #[must_use]
    pub fn header_list(&self) -> HeaderList<'_> {
        self.headers.iter().map(|(name, value)| Header { name, value: value.as_deref() }).collect()
    }

    /// The record, borrowed, with headers from [`Self::header_list`].
    #[must_use]
    pub fn borrow<'a>(&'a self, headers: &'a [Header<'a>]) -> Record<'a> {
        Record {
            topic: &self.topic,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers,
            timestamp_millis: self.timestamp_millis,
        }
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
