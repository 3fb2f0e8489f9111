//! The headers that a row brings.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::relay::boundary::{Refusal, RefusalCode};
use crate::relay::limits::ROW_HEADERS_MAX;

/// The row's own headers: a JSON object. Strings are taken unchanged, null as a null header, anything else as JSON
/// text.
#[derive(Debug, Default)]
pub struct RowHeaders<'a> {
    pub(crate) list: SmallVec<[RowHeader<'a>; 4]>,
    /// The object as it came, if it could not be read.
    pub(crate) unparsed: Option<&'a [u8]>,
}

type RowHeader<'a> = (Cow<'a, str>, Option<Cow<'a, [u8]>>);

impl<'a> RowHeaders<'a> {
    /// Reads the object.
    ///
    /// # Errors
    /// A refusal (`undecodable`) if it is not a JSON object.
    pub fn parse(json: Option<&'a [u8]>) -> Result<Self, Refusal> {
        let Some(json) = json else { return Ok(Self::default()) };
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let parsed = (&mut deserializer).deserialize_map(RowHeadersVisitor).and_then(|headers| {
            deserializer.end()?;
            Ok(headers)
        });
        parsed.map_err(|error| Refusal {
            code: RefusalCode::Undecodable,
            detail: format!(
                "headers is not a JSON object with at most {ROW_HEADERS_MAX} entries (line {}, column {})",
                error.line(),
                error.column()
            ),
        })
    }

    /// Unparsable headers as the single header [`names::HEADERS`](super::encode::names::HEADERS), so that a dead
    /// letter has everything.
    #[must_use]
    pub fn unparsed(json: Option<&'a [u8]>) -> Self {
        Self { list: SmallVec::new(), unparsed: json }
    }
}

struct RowHeadersVisitor;

impl<'de> Visitor<'de> for RowHeadersVisitor {
    type Value = RowHeaders<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of header names and values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RowHeaders<'de>, A::Error> {
        let mut headers = RowHeaders::default();
        while let Some((name, value)) = map.next_entry::<Cow<'de, str>, &RawValue>()? {
            let value = match value.get() {
                "null" => None,
                text if text.starts_with('"') => {
                    let text: String = serde_json::from_str(text).map_err(serde::de::Error::custom)?;
                    Some(Cow::Owned(text.into_bytes()))
                }
                json => Some(Cow::Borrowed(json.as_bytes())),
            };
            // The client takes names as C strings, and would reject the dead letter, too.
            if name.contains('\0') {
                return Err(serde::de::Error::custom("a header name with a zero byte"));
            }
            if headers.list.len() == ROW_HEADERS_MAX {
                return Err(serde::de::Error::custom("too many headers"));
            }
            headers.list.push((name, value));
        }
        Ok(headers)
    }
}
