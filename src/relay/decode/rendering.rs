//! How a table's events are written in records: as they are, or as Kafka Connect's `JsonConverter` writes them behind
//! Debezium's outbox event router.
//!
//! Source: `org.apache.kafka.connect.json.JsonConverter` with `schemas.enable=false`, and the router's options
//! `table.fields.additional.placement` (`envelope`), `table.expand.json.payload` and `route.tombstone.on.empty.payload`.

use std::io::Write;

use serde::de::IgnoredAny;

use super::codec::{Codec, RowColumn};
use super::scalar::Scalar;
use super::text::Text;
use crate::relay::boundary::HeaderStyle;

/// What `JsonConverter` writes for null.
const NULL: &[u8] = b"null";

/// What writes a key or a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Converter {
    /// The text, or the bytes of a bytea: as `StringConverter` and `BinaryDataConverter`.
    #[default]
    String,
    /// A JSON value: text is quoted, and null is `null`. As `JsonConverter` without schemas.
    Json,
}

/// How a table's events are written in records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendering {
    /// The header style; `None`: the relay's.
    pub style: Option<HeaderStyle>,
    /// What writes keys.
    pub key: Converter,
    /// What writes values.
    pub value: Converter,
    /// A payload that is a JSON object or array is written as that, without white space, and not quoted.
    pub expands_json: bool,
    /// Columns placed beside the payload in an object: (column, member).
    pub envelope_columns: Vec<(String, String)>,
    /// An empty payload, or only white space, is a tombstone.
    pub empty_is_tombstone: bool,
}

/// A [`Rendering`] with its columns resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedRendering {
    /// The header style; `None`: the relay's.
    pub style: Option<HeaderStyle>,
    /// Columns placed beside the payload: the column and the member.
    pub envelope: Vec<(RowColumn, String)>,
    key: Converter,
    value: Converter,
    expands_json: bool,
    empty_is_tombstone: bool,
}

impl ResolvedRendering {
    /// Without the columns of the envelope.
    pub(super) fn of(rendering: &Rendering) -> Self {
        let Rendering { style, key, value, expands_json, empty_is_tombstone, envelope_columns: _ } = *rendering;
        Self { style, envelope: Vec::new(), key, value, expands_json, empty_is_tombstone }
    }

    /// Whether a payload is the record's value as it is.
    pub(super) const fn is_plain(&self) -> bool {
        matches!(self.value, Converter::String) && !self.empty_is_tombstone
    }

    /// The record's key. `JsonConverter` writes one that is null, too.
    pub(super) fn key<'a>(&self, codec: Codec, key: Option<Text<'a>>) -> Option<Text<'a>> {
        match (self.key, key) {
            (Converter::String, key) => key,
            (Converter::Json, None) => Some(Text::Borrowed(NULL)),
            (Converter::Json, Some(key)) => Some(Text::Owned(json(codec, &key))),
        }
    }

    /// The record's value: `None` is a tombstone.
    pub(super) fn value<'a>(
        &self,
        codec: Codec,
        payload: Option<Text<'a>>,
        members: Vec<(Codec, &str, Option<Text<'_>>)>,
    ) -> Option<Text<'a>> {
        // The router's test: Java's `trim` removes everything up to the space.
        let is_blank = |text: &Text<'_>| codec != Codec::Bytea && text.iter().all(|byte| *byte <= b' ');
        if self.empty_is_tombstone && payload.as_ref().is_none_or(is_blank) {
            return None;
        }
        if self.value == Converter::String {
            return payload;
        }
        let payload = payload.map_or(Text::Borrowed(NULL), |payload| self.json_value(codec, &payload));
        if self.envelope.is_empty() {
            return Some(payload);
        }
        let mut value = b"{\"payload\":".to_vec();
        value.extend_from_slice(&payload);
        for (codec, name, member) in members {
            value.push(b',');
            push_string(&mut value, name);
            value.push(b':');
            match member {
                Some(member) => value.extend(json(codec, &member)),
                None => value.extend_from_slice(NULL),
            }
        }
        value.push(b'}');
        Some(Text::Owned(value))
    }

    fn json_value<'a>(&self, codec: Codec, payload: &[u8]) -> Text<'a> {
        let is_expanded = self.expands_json
            && codec != Codec::Bytea
            && matches!(payload.first(), Some(b'{' | b'['))
            && serde_json::from_slice::<IgnoredAny>(payload).is_ok();
        Text::Owned(if is_expanded { compact(payload) } else { json(codec, payload) })
    }
}

/// JSON without white space between its tokens, and with strings as Jackson writes them.
fn compact(json: &[u8]) -> Vec<u8> {
    let mut compact = Vec::with_capacity(json.len());
    let mut rest = json;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'"' => {
                let (string, after) = after.split_at(string_end(after));
                rest = after;
                let token = [b"\"", string].concat();
                match serde_json::from_slice::<String>(&token) {
                    Ok(text) => push_string(&mut compact, &text),
                    // Half a surrogate pair.
                    Err(_) => compact.extend(token),
                }
            }
            _ => compact.push(byte),
        }
    }
    compact
}

/// The length of the rest of a string, with the quote that ends it.
fn string_end(rest: &[u8]) -> usize {
    let mut is_escaped = false;
    let is_end = |byte: &u8| {
        let ends = !is_escaped && *byte == b'"';
        is_escaped = !is_escaped && *byte == b'\\';
        ends
    };
    rest.iter().position(is_end).map_or(rest.len(), |end| end + 1)
}

/// A column's value as JSON: numbers and booleans as they are, bytes in base64, everything else as a string.
fn json(codec: Codec, text: &[u8]) -> Vec<u8> {
    let is_finite = || !text.iter().any(u8::is_ascii_uppercase);
    match codec {
        Codec::Integer | Codec::Scalar(Scalar::Bool | Scalar::Oid) => text.to_vec(),
        // Not NaN or Infinity.
        Codec::Scalar(Scalar::Float4 | Scalar::Float8) if is_finite() => text.to_vec(),
        Codec::Bytea => base64(text),
        _ => {
            let mut json = Vec::with_capacity(text.len() + 2);
            push_string(&mut json, &String::from_utf8_lossy(text));
            json
        }
    }
}

/// A JSON string as Jackson writes it into UTF-8: characters outside the Basic Multilingual Plane are escaped.
fn push_string(json: &mut Vec<u8>, text: &str) {
    json.push(b'"');
    for c in text.chars() {
        let mut buffer = [0; 4];
        match c {
            '"' | '\\' => json.extend([b'\\', c as u8]),
            '\u{8}' => json.extend(b"\\b"),
            '\u{c}' => json.extend(b"\\f"),
            '\n' => json.extend(b"\\n"),
            '\r' => json.extend(b"\\r"),
            '\t' => json.extend(b"\\t"),
            '\0'..' ' | '\u{10000}'.. => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // A Vec takes every write.
                    write!(json, "\\u{unit:04X}").unwrap_or_default();
                }
            }
            _ => json.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    json.push(b'"');
}

/// In base64 with padding (RFC 4648, section 4), quoted.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4 + 2);
    text.push(b'"');
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { digit } else { b'=' });
        }
    }
    text.push(b'"');
    text
}

#[cfg(test)]
#[path = "rendering_tests.rs"]
mod tests;
