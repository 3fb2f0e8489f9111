//! Resolves a `$ref` within its schema: a JSON pointer or an anchor, alone or after the schema's `$id`.

use std::collections::HashMap;

use serde_json::Value;

/// The names under which a schema's parts can be referred to.
#[derive(Debug, Default)]
pub struct References {
    id: Option<String>,
    /// JSON pointers by anchor; `None` if several parts have the same one.
    anchors: HashMap<String, Option<String>>,
}

impl References {
    /// Those of a schema with these parts, each with its JSON pointer.
    pub(super) fn of<'a>(
        schema: &Value,
        parts: impl Iterator<Item = (&'a str, Option<&'a serde_json::Map<String, Value>>)>,
    ) -> Self {
        let id = schema.get("$id").and_then(Value::as_str).map(|id| id.trim_end_matches('#').to_owned());
        let mut anchors = HashMap::new();
        for (pointer, keywords) in parts {
            let named = ["$anchor", "$dynamicAnchor"].map(|keyword| keywords?.get(keyword)?.as_str());
            for anchor in named.into_iter().flatten() {
                let place = |known: &mut Option<String>| *known = known.take().filter(|known| known == pointer);
                anchors.entry(anchor.to_owned()).and_modify(place).or_insert_with(|| Some(pointer.to_owned()));
            }
        }
        Self { id: id.filter(|id| !id.is_empty()), anchors }
    }

    /// The JSON pointer of a reference, whether or not anything is there.
    ///
    /// # Errors
    /// The reference is to another document.
    pub fn pointer(&self, reference: &str) -> Result<String, LeadsOut> {
        let own = self.id.as_deref().and_then(|id| reference.strip_prefix(id)).filter(|rest| !rest.is_empty());
        let Some(fragment) = own.unwrap_or(reference).strip_prefix('#') else { return Err(LeadsOut) };
        let fragment = unescape(fragment);
        match self.anchors.get(&fragment) {
            Some(Some(pointer)) => Ok(pointer.clone()),
            _ => Ok(fragment),
        }
    }
}

/// A reference to another document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeadsOut;

/// Decodes a URI fragment's percent escapes; invalid UTF-8 has no target.
fn unescape(fragment: &str) -> String {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape = after.get(..2).filter(|_| first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    // A pointer begins with a slash, and an anchor with a letter.
    String::from_utf8(bytes).unwrap_or_else(|_| "%".to_owned())
}
