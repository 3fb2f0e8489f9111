//! What a writer's schema promises of one value: a conjunction of schemas.

use serde_json::{Map, Value};
use walpost_producer::schema::number::is_whole;

use super::number::{equal, less};

/// The kinds of JSON values, integers apart.
pub(super) const TYPES: [&str; 7] = ["null", "boolean", "object", "array", "integer", "number", "string"];

/// Schemas that all apply to a value.
#[derive(Clone, Debug, Default)]
pub(super) struct Writer<'a> {
    parts: Vec<&'a Map<String, Value>>,
    choices: Vec<Choice<'a>>,
    /// Schemas to which the value does not keep.
    excluded: Vec<&'a Value>,
    /// A type assumed beyond what the schemas say.
    assumed: Option<&'static str>,
    /// The value is never present.
    is_never: bool,
    /// It is one of several alternatives.
    is_alternative: bool,
}

/// A list of schemas of which at least one applies; if it is a `oneOf`, exactly one.
#[derive(Clone, Debug)]
struct Choice<'a> {
    alternatives: &'a [Value],
    is_one_of: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(schemas: impl IntoIterator<Item = &'a Value>) -> Self {
        schemas.into_iter().fold(Self::default(), Self::and)
    }

    /// Adds a schema that applies.
    pub(super) fn and(mut self, schema: &'a Value) -> Self {
        match schema {
            Value::Bool(allowed) => self.is_never |= !allowed,
            Value::Object(keywords) => {
                self.parts.push(keywords);
                for (keyword, is_one_of) in [("anyOf", false), ("oneOf", true)] {
                    let alternatives = keywords.get(keyword).and_then(Value::as_array);
                    self.choices.extend(alternatives.map(|alternatives| Choice { alternatives, is_one_of }));
                }
                self.excluded.extend(keywords.get("not"));
                let all = keywords.get("allOf").and_then(Value::as_array);
                return all.into_iter().flatten().fold(self, Self::and);
            }
            _ => {}
        }
        self
    }

    /// Adds a schema to which the value does not keep.
    pub(super) fn without(mut self, schema: &'a Value) -> Self {
        self.excluded.push(schema);
        self
    }

    pub(super) fn assuming(mut self, kind: &'static str) -> Self {
        self.assumed = Some(kind);
        self.is_alternative = true;
        self
    }

    /// Whether no payload has a value here.
    pub(super) fn is_never(&self) -> bool {
        self.is_never || self.types().is_empty()
    }

    /// Whether it is one of several alternatives.
    pub(super) fn is_alternative(&self) -> bool {
        self.is_alternative
    }

    /// The number of choices.
    pub(super) fn choices(&self) -> usize {
        self.choices.len()
    }

    /// The alternatives of the last choice, each with everything else that applies. `None` if there is no choice.
    pub(super) fn split(&self) -> Option<Vec<Self>> {
        self.choices.len().checked_sub(1).map(|last| self.split_at(last))
    }

    /// The alternatives of this choice, each with everything else that applies.
    pub(super) fn split_at(&self, index: usize) -> Vec<Self> {
        let mut rest = self.clone();
        let Choice { alternatives, is_one_of } = rest.choices.remove(index);
        rest.is_alternative = true;
        let alternative = |(index, schema)| {
            let mut one = rest.clone();
            if is_one_of {
                let others = alternatives.iter().enumerate().filter(|(other, _)| *other != index);
                one.excluded.extend(others.map(|(_, other)| other));
            }
            one.and(schema)
        };
        alternatives.iter().enumerate().map(alternative).collect()
    }

    /// One alternative per type, if it may have several types.
    pub(super) fn by_type(&self) -> Option<Vec<Self>> {
        let types = self.types();
        (types.len() > 1 && types.len() < TYPES.len())
            .then(|| types.into_iter().map(|kind| self.clone().assuming(kind)).collect())
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &'a Map<String, Value>> {
        self.parts.iter().copied()
    }

    /// Schemas to which the value does not keep.
    pub(super) fn excluded(&self) -> &[&'a Value] {
        &self.excluded
    }

    /// The values of this keyword in its schemas.
    pub(super) fn all(&self, keyword: &str) -> impl Iterator<Item = &'a Value> {
        self.parts.iter().filter_map(move |part| part.get(keyword))
    }

    /// The smallest value of this keyword.
    pub(super) fn least(&self, keyword: &str) -> Option<&'a Value> {
        self.all(keyword).reduce(|least, value| if less(value, least) { value } else { least })
    }

    /// The largest value of this keyword.
    pub(super) fn greatest(&self, keyword: &str) -> Option<&'a Value> {
        self.all(keyword).reduce(|greatest, value| if less(greatest, value) { value } else { greatest })
    }

    /// The possible values, if `enum` or `const` lists them.
    pub(super) fn values(&self) -> Option<Vec<&'a Value>> {
        let constants = self.all("const").map(|value| vec![value]);
        let lists = self.all("enum").filter_map(Value::as_array).map(|values| values.iter().collect());
        let both = |a: Vec<&'a Value>, b: Vec<&'a Value>| {
            a.into_iter().filter(|value| b.iter().any(|other| equal(value, other))).collect()
        };
        constants.chain(lists).reduce(both)
    }

    /// The possible types; `number` only if fractions are possible.
    pub(super) fn types(&self) -> Vec<&'static str> {
        let values = self.values();
        let of_value = |value: &Value| match value {
            Value::Number(number) if is_whole(number) => "integer",
            Value::Number(_) => "number",
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let allowed = |kind: &&'static str| {
            self.all("type").all(|types| allows(types, kind))
                && self.assumed.is_none_or(|assumed| assumed == *kind)
                && values.as_ref().is_none_or(|values| values.iter().any(|value| of_value(value) == *kind))
        };
        TYPES.into_iter().filter(allowed).collect()
    }
}

/// Whether a `type` keyword's value has this type. A number may be an integer.
pub(super) fn allows(types: &Value, kind: &str) -> bool {
    let is = |name: &Value| name.as_str().is_some_and(|name| name == kind || (name == "number" && kind == "integer"));
    match types {
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    }
}
