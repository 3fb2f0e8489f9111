//! Arrays.

use serde_json::{Map, Value};

use super::Rule;
use super::compare::Comparison;
use super::scalar::Limit;
use super::writer::Writer;

impl Comparison {
    pub(super) fn arrays(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        self.at_most(reader, writer, Limit::new(property, "maxItems", [Rule::MaxItemsAdded, Rule::MaxItemsDecreased]));
        self.at_least(reader, writer, Limit::new(property, "minItems", [Rule::MinItemsAdded, Rule::MinItemsIncreased]));
        let is_true = |value: &Value| value == &Value::Bool(true);
        if reader.get("uniqueItems").is_some_and(is_true) && !writer.all("uniqueItems").any(is_true) {
            self.breach(property, Rule::UniqueItemsAdded, "");
        }
        let prefix = reader.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (index, wanted) in prefix.iter().enumerate() {
            let items: Vec<_> = writer.parts().filter_map(|part| item(part, index)).collect();
            let at = format!("{property}/{index}");
            if items.is_empty() && !is_open(wanted) {
                self.breach(&at, Rule::ItemAddedToOpenContentModel, "");
            } else {
                self.compare(wanted, &Writer::new(items), &at);
            }
        }
        if let Some(wanted) = reader.get("items").filter(|wanted| !is_open(wanted)) {
            self.items(wanted, prefix.len(), writer, property);
        }
        if let Some(wanted) = reader.get("contains") {
            let keywords = ["contains", "minContains", "maxContains"];
            let of = |part: &Map<String, Value>| keywords.map(|keyword| part.get(keyword).cloned());
            if !writer.parts().any(|part| of(part) == of(reader)) {
                self.breach(property, Rule::ContainsChanged, format!(" ({wanted})"));
            }
        }
        if let Some(wanted) = reader.get("unevaluatedItems").filter(|wanted| !is_open(wanted))
            && !writer.all("unevaluatedItems").any(|promised| promised == wanted)
        {
            self.breach(property, Rule::UnevaluatedChanged, "");
        }
    }

    /// The reader's `items`, which are those after its `prefixItems`.
    fn items(&mut self, wanted: &Value, from: usize, writer: &Writer<'_>, property: &str) {
        let is_short =
            |limit: &Value| limit.as_u64().is_some_and(|limit| usize::try_from(limit).is_ok_and(|limit| limit <= from));
        if writer.all("maxItems").any(is_short) {
            return;
        }
        let listed = writer.all("prefixItems").filter_map(Value::as_array).map(Vec::len).max().unwrap_or(0);
        for index in from..listed {
            let items = writer.parts().filter_map(|part| item(part, index));
            self.compare(wanted, &Writer::new(items), &format!("{property}/{index}"));
        }
        let further: Vec<_> = writer.all("items").collect();
        let at = format!("{property}/*");
        match (further.is_empty(), wanted) {
            (true, Value::Bool(false)) => self.breach(&at, Rule::AdditionalItemsRemoved, ""),
            (true, _) => self.breach(&at, Rule::AdditionalItemsNarrowed, ""),
            (false, Value::Bool(false)) if !Writer::new(further.iter().copied()).is_never() => {
                self.breach(&at, Rule::AdditionalItemsRemoved, "");
            }
            (false, _) => self.compare(wanted, &Writer::new(further), &at),
        }
    }
}

/// The schema of the item at this index.
fn item(part: &Map<String, Value>, index: usize) -> Option<&Value> {
    let prefix = part.get("prefixItems").and_then(Value::as_array);
    prefix.and_then(|prefix| prefix.get(index)).or_else(|| part.get("items"))
}

/// Whether a schema allows everything.
pub(super) fn is_open(schema: &Value) -> bool {
    match schema {
        Value::Bool(allowed) => *allowed,
        Value::Object(keywords) => keywords.keys().all(|keyword| keyword == "default"),
        _ => false,
    }
}
