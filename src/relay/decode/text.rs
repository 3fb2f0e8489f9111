//! A column's value as text.

use std::borrow::Cow;
use std::ops::Deref;

/// A value as bytes: borrowed, or short and formatted in place.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// As it is in the stream.
    Borrowed(&'a [u8]),
    /// Formatted from a number or a UUID.
    Inline([u8; 36], u8),
    /// Decoded from another text format.
    Owned(Vec<u8>),
}

impl Default for Text<'_> {
    fn default() -> Self {
        Self::Borrowed(&[])
    }
}

impl Deref for Text<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Inline(bytes, length) => &bytes[..usize::from(*length)],
            Self::Owned(bytes) => bytes,
        }
    }
}

impl<'a> Text<'a> {
    pub(super) fn uuid(bytes: [u8; 16]) -> Self {
        let mut text = [0; 36];
        uuid::Uuid::from_bytes(bytes).hyphenated().encode_lower(&mut text);
        Self::Inline(text, 36)
    }

    pub(super) fn integer(value: i64) -> Self {
        use std::io::Write;
        let mut text = [0; 36];
        let mut rest = &mut text[..];
        // An i64 has at most 20 characters.
        let written = write!(rest, "{value}").map_or(0, |()| 36 - rest.len());
        Self::Inline(text, u8::try_from(written).unwrap_or(0))
    }

    pub(super) fn into_cow(self) -> Cow<'a, [u8]> {
        match self {
            Self::Borrowed(bytes) => Cow::Borrowed(bytes),
            other => Cow::Owned(other.to_vec()),
        }
    }

    pub(super) fn into_str(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            other => String::from_utf8(other.to_vec()).ok().map(Cow::Owned),
        }
    }
}
