//! Turns a row into an event.
//!
//! Decoding an event never fails as a whole: what can't be read is recorded as a [`Refusal`] and the rest is kept, so
//! that a dead letter carries what arrived.

use std::borrow::Cow;

use super::codec::{Codec, RowColumn};
use super::outbox::{Layout, ResolvedRouting, RoutePart};
use super::pgoutput::{Tuple, Value};
use super::role::Role;
use super::span_context;
use super::text::Text;
use super::text_encoding::Encoding;
use crate::relay::boundary::HeaderStyle;
use crate::relay::boundary::{Refusal, RefusalCode, Timestamp};

/// An event, borrowed from the stream where possible.
#[derive(Debug, Default)]
pub struct Event<'a> {
    /// The id, as text.
    pub id: Text<'a>,
    /// Name and version of its schema, if the table has them.
    pub schema: Option<(Cow<'a, str>, Cow<'a, str>)>,
    /// The topic named by the row itself or by the table's template.
    pub topic: Option<Cow<'a, str>>,
    /// The topic is the table's template, which no row changes.
    pub is_topic_fixed: bool,
    /// The message key.
    pub key: Option<Text<'a>>,
    /// The payload; `None` is a tombstone.
    pub payload: Option<Cow<'a, [u8]>>,
    /// A JSON object of additional headers, undecoded.
    pub headers: Option<Cow<'a, [u8]>>,
    /// Headers from columns of their own.
    pub placed: Vec<(&'a str, Option<Text<'a>>)>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// The record's timestamp, if not the commit's.
    pub timestamp: Option<Timestamp>,
    /// The header style, if not the relay's.
    pub style: Option<HeaderStyle>,
    /// Whether its schema version must be looked up.
    pub has_contract: bool,
    /// A part that was not read.
    pub withheld: Option<Withheld>,
}

impl Event<'_> {
    /// The record's timestamp. Kafka takes none from before 1970.
    #[must_use]
    pub fn record_time(&self, committed_at: Timestamp) -> Timestamp {
        self.timestamp.filter(|time| time.millis() > 0).unwrap_or(committed_at)
    }
}

/// A part of an event that was not read: it was too large, or Postgres could not send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    pub part: EventPart,
    /// Its size in bytes, if known.
    pub bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventPart {
    Payload,
    /// Another column, by the role it is read for.
    Column(String),
    /// A whole logical message.
    Message,
}

/// Reads a row using its table's layout.
pub fn from_row<'a>(row: &Tuple<'a>, layout: &'a Layout) -> (Event<'a>, Option<Refusal>) {
    const INLINE_COLUMNS: usize = 16;
    let mut inline = [Value::Null; INLINE_COLUMNS];
    let collected: Vec<Value<'_>>;
    let values: &[Value<'_>] = if row.len() <= INLINE_COLUMNS {
        for (place, value) in inline.iter_mut().zip(row.values()) {
            *place = value;
        }
        &inline[..row.len()]
    } else {
        collected = row.values().collect();
        &collected
    };
    let mut reader = RowReader { values, encoding: layout.encoding, refusal: None, withheld: None };
    let event = reader.event(layout);
    (Event { withheld: reader.withheld, ..event }, reader.refusal)
}

struct RowReader<'v, 'a> {
    values: &'v [Value<'a>],
    encoding: Encoding,
    refusal: Option<Refusal>,
    withheld: Option<Withheld>,
}

impl<'a> RowReader<'_, 'a> {
    fn event(&mut self, layout: &'a Layout) -> Event<'a> {
        if let Some(misfit) = &layout.misfit {
            let refusal = Refusal { code: RefusalCode::Undecodable, detail: misfit.clone() };
            self.refusal = Some(refusal);
        }
        if self.values.len() != layout.width {
            self.refuse::<()>(
                "row",
                &format!("has {} columns where the table has {}", self.values.len(), layout.width),
            );
            return Event::default();
        }
        let schema = match (self.string(layout, Role::SchemaName), self.string(layout, Role::SchemaVersion)) {
            (Some(name), Some(version)) => Some((name, version)),
            _ => None,
        };
        Event {
            id: self.text(layout, Role::Id).unwrap_or_default(),
            schema,
            topic: match &layout.route {
                ResolvedRouting::Contract => self.string(layout, Role::Topic),
                ResolvedRouting::Template(parts) => self.template(parts),
            },
            key: self.key(layout),
            payload: self.payload(layout),
            headers: self.text(layout, Role::Headers).map(Text::into_cow),
            placed: self.placed(layout),
            created_at: self.timestamp(layout, Role::CreatedAt),
            timestamp: self.timestamp(layout, Role::Timestamp),
            style: layout.form.style,
            is_topic_fixed: layout.route.is_fixed(),
            has_contract: layout.route == ResolvedRouting::Contract,
            withheld: None,
        }
    }

    fn text(&mut self, layout: &Layout, role: Role) -> Option<Text<'a>> {
        let slot = layout.roles[role as usize]?;
        self.read(slot, role.as_str())
    }

    fn key(&mut self, layout: &Layout) -> Option<Text<'a>> {
        let slot = layout.roles[Role::Key as usize]?;
        let key = self.read(slot, Role::Key.as_str());
        if self.is_whole() { layout.form.key(slot.codec, key) } else { key }
    }

    /// The payload; as it came if the row is refused.
    fn payload(&mut self, layout: &Layout) -> Option<Cow<'a, [u8]>> {
        let mut codec = layout.roles[Role::Payload as usize]?.codec;
        let mut payload = self.text(layout, Role::Payload);
        if let Some(bytes) = self.text(layout, Role::PayloadBytes) {
            if payload.is_some() {
                self.refuse::<()>("payload_bytes", "and payload are both set");
            } else {
                (codec, payload) = (Codec::Bytea, Some(bytes));
            }
        }
        if layout.form.is_plain() {
            return payload.map(Text::into_cow);
        }
        let members = layout.form.envelope.iter();
        let members = members.map(|(slot, name)| (slot.codec, name.as_str(), self.read(*slot, name))).collect();
        if !self.is_whole() {
            return payload.map(Text::into_cow);
        }
        layout.form.value(codec, payload, members).map(Text::into_cow)
    }

    /// Headers from columns of their own, and from the writer's trace context those that no column gives.
    fn placed(&mut self, layout: &'a Layout) -> Vec<(&'a str, Option<Text<'a>>)> {
        let headers = layout.headers.iter();
        let mut placed: Vec<_> = headers.map(|(slot, name)| (name.as_str(), self.read(*slot, name))).collect();
        if let Some(context) = self.text(layout, Role::TracingSpanContext) {
            for (name, value) in span_context::headers(&context) {
                if placed.iter().all(|(other, _)| *other != name) {
                    placed.push((name, Some(Text::Owned(value.into_bytes()))));
                }
            }
        }
        placed
    }

    /// Whether all that was read so far can be published.
    const fn is_whole(&self) -> bool {
        self.refusal.is_none() && self.withheld.is_none()
    }

    fn string(&mut self, layout: &Layout, role: Role) -> Option<Cow<'a, str>> {
        let text = self.text(layout, role)?.into_str();
        if text.is_none() {
            self.refuse::<()>(role.as_str(), "is not UTF-8");
        }
        text
    }

    fn timestamp(&mut self, layout: &Layout, role: Role) -> Option<Timestamp> {
        let slot = layout.roles[role as usize]?;
        match self.values[slot.index] {
            Value::Binary(bytes) => match bytes.try_into() {
                Ok(micros) => Some(Timestamp::from_postgres(i64::from_be_bytes(micros))),
                Err(_) => self.refuse(role.as_str(), "is not eight bytes long"),
            },
            // The text format depends on the session's DateStyle; the commit time is used instead.
            _ => None,
        }
    }

    fn template(&mut self, parts: &[RoutePart]) -> Option<Cow<'a, str>> {
        let mut topic = String::new();
        for part in parts {
            match part {
                RoutePart::Literal(text) => topic.push_str(text),
                RoutePart::Column(slot, name) => match self.read(*slot, name)?.into_str() {
                    Some(text) => topic.push_str(&text),
                    None => return self.refuse(name, "is not UTF-8"),
                },
            }
        }
        Some(Cow::Owned(topic))
    }

    /// Records the first problem of the row.
    fn refuse<T>(&mut self, column: &str, what: &str) -> Option<T> {
        self.refusal.get_or_insert_with(|| undecodable(column, what));
        None
    }

    /// Records that a value was too large; of several, the payload, otherwise the first.
    fn withhold<T>(&mut self, column: &str, bytes: usize) -> Option<T> {
        if column == Role::Payload.as_str() || column == Role::PayloadBytes.as_str() {
            self.withheld = Some(Withheld { part: EventPart::Payload, bytes });
        }
        self.withheld.get_or_insert_with(|| Withheld { part: EventPart::Column(column.to_owned()), bytes });
        None
    }

    /// As [`Self::refuse`], keeping the bytes as they arrived for the dead letter.
    fn keep(&mut self, bytes: &'a [u8], column: &str, what: &str) -> Option<Text<'a>> {
        self.refuse::<()>(column, what);
        Some(Text::Borrowed(bytes))
    }

    fn read(&mut self, slot: RowColumn, column: &str) -> Option<Text<'a>> {
        let text = self.read_stored(slot, column)?;
        match (self.encoding, slot.codec) {
            (Encoding::Utf8, _) | (_, Codec::Bytea | Codec::Uuid | Codec::Integer) => Some(text),
            _ => Some(self.convert(text, column)),
        }
    }

    /// Text as UTF-8, or as stored if it can't be converted.
    fn convert(&mut self, text: Text<'a>, column: &str) -> Text<'a> {
        match self.encoding.decode(&text) {
            Some(Cow::Borrowed(_)) => text,
            Some(Cow::Owned(converted)) => Text::Owned(converted.into_bytes()),
            None => {
                let what = format!("can't be converted from the database's encoding {} to UTF-8", self.encoding.name());
                self.refuse::<()>(column, &what);
                text
            }
        }
    }

    /// A value as the database stores it.
    fn read_stored(&mut self, slot: RowColumn, column: &str) -> Option<Text<'a>> {
        match (slot.codec, self.values[slot.index]) {
            (_, Value::Null) => None,
            (_, Value::Withheld(bytes)) => self.withhold(column, bytes as usize),
            (_, Value::Unreadable(reason)) => {
                self.withhold::<()>(column, 0);
                self.refuse(column, &String::from_utf8_lossy(reason))
            }
            (_, Value::Unchanged) => self.refuse(column, "was not sent by the server"),
            (Codec::Utf8, Value::Text(bytes) | Value::Binary(bytes)) => Some(Text::Borrowed(bytes)),
            (Codec::Jsonb, Value::Binary(bytes)) => match bytes.split_first() {
                Some((1, json)) => Some(Text::Borrowed(json)),
                _ => self.keep(bytes, column, "is jsonb of an unknown binary format version"),
            },
            (Codec::Bytea, Value::Text(digits)) => match unhex(digits) {
                Some(bytes) => Some(Text::Owned(bytes)),
                None => self.keep(digits, column, "is bytea text that is not \\x and hexadecimal digits"),
            },
            (Codec::Uuid, Value::Binary(bytes)) => match bytes.try_into() {
                Ok(bytes) => Some(Text::uuid(bytes)),
                Err(_) => self.keep(bytes, column, "is a uuid whose length is not 16 bytes"),
            },
            (Codec::Integer, Value::Binary(bytes)) => match integer(bytes) {
                Some(value) => Some(Text::integer(value)),
                None => self.keep(bytes, column, "is an integer whose length is not 2, 4 or 8 bytes"),
            },
            (Codec::Scalar(scalar), Value::Binary(bytes)) => match scalar.text(bytes) {
                Some(text) => Some(Text::Owned(text.into_bytes())),
                None => self.keep(bytes, column, "is not in the binary format of its type"),
            },
            (Codec::Foreign, Value::Binary(bytes)) => {
                self.keep(bytes, column, "has a type whose binary format the relay can't read")
            }
            (_, Value::Binary(bytes) | Value::Text(bytes)) => Some(Text::Borrowed(bytes)),
        }
    }
}

pub(super) fn undecodable(column: &str, what: &str) -> Refusal {
    Refusal { code: RefusalCode::Undecodable, detail: format!("{column} {what}") }
}

fn integer(bytes: &[u8]) -> Option<i64> {
    match *bytes {
        [a, b] => Some(i16::from_be_bytes([a, b]).into()),
        [a, b, c, d] => Some(i32::from_be_bytes([a, b, c, d]).into()),
        _ => bytes.try_into().ok().map(i64::from_be_bytes),
    }
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let digits = digits.strip_prefix(b"\\x").filter(|digits| digits.len() % 2 == 0)?;
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    digits.chunks_exact(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
