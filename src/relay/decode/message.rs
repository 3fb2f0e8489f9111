//! Reads a logical message of `outbox.emit_message`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::{Event, EventPart, Withheld, undecodable};
use super::text::Text;
use crate::relay::boundary::Refusal;

/// The content of a logical message written by `outbox.emit_message`.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    schema_name: Cow<'a, str>,
    #[serde(borrow)]
    schema_version: Cow<'a, str>,
    #[serde(borrow, default)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    /// A missing payload is a tombstone; the JSON value null is a payload of four bytes.
    #[serde(borrow, default, deserialize_with = "present")]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    headers: Option<&'a RawValue>,
}

/// Distinguishes `null` from a missing key.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads the content of a logical message with the prefix `outbox`.
pub fn from_message(content: &[u8]) -> (Event<'_>, Option<Refusal>) {
    match serde_json::from_slice::<Message<'_>>(content) {
        Ok(message) => (
            Event {
                id: into_text(message.id),
                schema: Some((message.schema_name, message.schema_version)),
                topic: message.topic,
                key: message.key.map(into_text),
                payload: message.payload.map(|raw| Cow::Borrowed(with_white_space(raw.get().as_bytes(), content))),
                headers: message.headers.map(|raw| Cow::Borrowed(raw.get().as_bytes())),
                has_contract: true,
                ..Event::default()
            },
            None,
        ),
        Err(error) => {
            let what =
                format!("is not what outbox.emit_message writes (line {}, column {})", error.line(), error.column());
            let event = Event { payload: Some(Cow::Borrowed(content)), ..Event::default() };
            (event, Some(undecodable("the logical message", &what)))
        }
    }
}

/// A logical message with the prefix `outbox` that was too large to read, so it is unknown whether it is an event.
#[must_use]
pub fn of_long_message<'a>(bytes: usize) -> (Event<'a>, Option<Refusal>) {
    (Event { withheld: Some(Withheld { part: EventPart::Message, bytes }), ..Event::default() }, None)
}

/// A JSON value with its surrounding white space, which a parser skips but the writer wrote.
fn with_white_space<'a>(value: &'a [u8], content: &'a [u8]) -> &'a [u8] {
    let start = value.as_ptr().addr().checked_sub(content.as_ptr().addr());
    let Some((before, rest)) = start.and_then(|start| content.split_at_checked(start)) else { return value };
    let Some((_, after)) = rest.split_at_checked(value.len()) else { return value };
    let white = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let (left, right) = (before.iter().rev().take_while(white).count(), after.iter().take_while(white).count());
    &content[before.len() - left..before.len() + value.len() + right]
}

fn into_text(text: Cow<'_, str>) -> Text<'_> {
    match text {
        Cow::Borrowed(text) => Text::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Text::Owned(text.into_bytes()),
    }
}
