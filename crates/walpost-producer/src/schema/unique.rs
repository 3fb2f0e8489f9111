//! `uniqueItems` in bounded time, by sorting. The validator's own implementation hashes the items; its hash is the same for `[[]]` and
//! `[[], []]`, so a payload could make it compare all pairs.

use std::cmp::Ordering;

use jsonschema::{Keyword, ValidationError};
use serde_json::{Number, Value};

use super::number;

/// `uniqueItems: true`, or `false`, which requires nothing.
struct UniqueItems {
    is_wanted: bool,
}

/// Compiles the keyword.
pub(super) fn keyword(wanted: &Value) -> Box<dyn for<'i> Keyword<'i>> {
    Box::new(UniqueItems { is_wanted: wanted == &Value::Bool(true) })
}

impl<'i> Keyword<'i> for UniqueItems {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(instance) { Ok(()) } else { Err(ValidationError::custom("value has non-unique elements")) }
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        match instance {
            Value::Array(items) if self.is_wanted && items.len() > 1 => {
                let mut items: Vec<Item<'_>> = items.iter().map(Item::of).collect();
                items.sort_unstable();
                items.windows(2).all(|two| two[0] != two[1])
            }
            _ => true,
        }
    }
}

/// A value in a total order. Members are sorted by name; numbers are compared by value, not by notation.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item<'a> {
    Null,
    Bool(bool),
    Number(Exact<'a>),
    String(&'a str),
    Array(Vec<Self>),
    Object(Vec<(&'a str, Self)>),
}

impl<'a> Item<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(Exact(number)),
            Value::String(text) => Self::String(text),
            Value::Array(items) => Self::Array(items.iter().map(Self::of).collect()),
            Value::Object(entries) => {
                let mut entries: Vec<_> =
                    entries.iter().map(|(name, value)| (name.as_str(), Self::of(value))).collect();
                entries.sort_unstable_by_key(|(name, _)| *name);
                Self::Object(entries)
            }
        }
    }
}

/// A number, ordered by its value.
#[derive(Debug)]
struct Exact<'a>(&'a Number);

impl Ord for Exact<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        number::compare(self.0, other.0)
    }
}

impl PartialOrd for Exact<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Exact<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Exact<'_> {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_are_equal_as_json_schema_says() {
        let unique = |value: Value| keyword(&json!(true)).is_valid(&value);
        for repeated in [
            json!([1, 1.0]),
            json!([0, -0.0]),
            json!([9007199254740993_u64, 2, 9007199254740993_u64]),
            json!([{"a": 1, "b": [2.0]}, {"b": [2], "a": 1}]),
            json!([null, null]),
            json!(["a", "b", "a"]),
            json!([1e300, 1e300]),
            json!([0.5, 1, 0.5]),
        ] {
            assert!(!unique(repeated.clone()), "{repeated}");
        }
        for distinct in [
            json!([]),
            json!([1]),
            json!([1, true, "1", null, [1], {"1": 1}]),
            json!([0, false]),
            json!([[], [[]], [[], []], [[[]]]]),
            json!([9007199254740993_u64, 9007199254740992.0]),
            json!([1e300, 1, -1e300, -1]),
            json!([1.25, 1.5, 1]),
            json!({"a": 1}),
        ] {
            assert!(unique(distinct.clone()), "{distinct}");
        }
        assert!(keyword(&json!(false)).is_valid(&json!([1, 1])));
    }
}
