//! JSON writes a character outside the basic multilingual plane as two escapes, a surrogate pair (RFC 8259, section 7). YAML has one
//! escape for it, and none for a half.

use std::borrow::Cow;

use walpost_producer::schema::is_json;

/// Length of `\u` and four digits.
const ESCAPE: usize = 6;

/// The text with each pair replaced by YAML's escape, if it is JSON.
pub(super) fn joined(text: &str) -> Cow<'_, str> {
    if !text.contains("\\u") || !is_json(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    // In JSON, a backslash begins an escape, wherever it is.
    while let Some(start) = rest.find('\\') {
        let (before, from) = rest.split_at(start);
        joined.push_str(before);
        let pair = unit(from).zip(from.get(ESCAPE..).and_then(unit));
        let symbol = pair.and_then(|(high, low)| char::decode_utf16([high, low]).next()?.ok());
        let length = match symbol.filter(|symbol| symbol.len_utf16() == 2) {
            Some(symbol) => {
                joined.push_str(&format!("\\U{:08X}", u32::from(symbol)));
                2 * ESCAPE
            }
            None => {
                // Also of an escaped backslash; what is escaped is one character of ASCII.
                joined.push_str(&from[..2]);
                2
            }
        };
        rest = &from[length..];
    }
    joined.push_str(rest);
    Cow::Owned(joined)
}

/// The code unit of the escape at the start.
fn unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}
