//! What a writer's schema promises of one value: a conjunction of schemas.

use serde_json::{Map, Value};

use super::number::{equal, is_multiple, less};

/// The kinds of JSON values, integers apart.
pub(super) const TYPES: [&str; 7] = ["null", "boolean", "object", "array", "integer", "number", "string"];

/// Schemas that all apply to a value.
#[derive(Clone, Debug, Default)]
pub(super) struct Writer<'a> {
    parts: Vec<&'a Map<String, Value>>,
    /// Choices, each a list of schemas of which one applies.
    choices: Vec<Vec<&'a Value>>,
    /// A type assumed beyond what the schemas say.
    assumed: Option<&'static str>,
    /// The value is never present.
    is_never: bool,
    /// It is one of several alternatives.
    is_alternative: bool,
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
                for keyword in ["anyOf", "oneOf"] {
                    self.choices
                        .extend(keywords.get(keyword).and_then(Value::as_array).map(|all| all.iter().collect()));
                }
                let all = keywords.get("allOf").and_then(Value::as_array);
                return all.into_iter().flatten().fold(self, Self::and);
            }
            _ => {}
        }
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

    /// The alternatives of one choice, each with everything else that applies. `None` if there is no choice.
    pub(super) fn split(&self) -> Option<Vec<Self>> {
        let mut rest = self.clone();
        let choice = rest.choices.pop()?;
        rest.is_alternative = true;
        Some(choice.into_iter().map(|alternative| rest.clone().and(alternative)).collect())
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
            Value::Number(number) if number.is_f64() && !is_multiple(value, &Value::from(1)) => "number",
            Value::Number(_) => "integer",
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
