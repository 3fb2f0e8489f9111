//! The keywords of draft 2020-12, by their contents: where schemas occur in a schema.

use super::moment;

/// What occurs under a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// A schema to apply.
    Schema,
    /// An array of schemas to apply.
    Schemas,
    /// An object of schemas to apply.
    SchemaMap,
    /// An object of schemas to apply only through references.
    Definitions,
    /// No schema.
    Value,
}

/// Every keyword of the vocabularies of draft 2020-12, the one under which older schemas keep definitions, and ours.
const KEYWORDS: [(&str, Holds); 58] = [
    ("$schema", Holds::Value),
    ("$id", Holds::Value),
    ("$ref", Holds::Value),
    ("$anchor", Holds::Value),
    ("$dynamicRef", Holds::Value),
    ("$dynamicAnchor", Holds::Value),
    ("$vocabulary", Holds::Value),
    ("$comment", Holds::Value),
    ("$defs", Holds::Definitions),
    ("definitions", Holds::Definitions),
    ("prefixItems", Holds::Schemas),
    ("items", Holds::Schema),
    ("contains", Holds::Schema),
    ("additionalProperties", Holds::Schema),
    ("properties", Holds::SchemaMap),
    ("patternProperties", Holds::SchemaMap),
    ("dependentSchemas", Holds::SchemaMap),
    ("propertyNames", Holds::Schema),
    ("if", Holds::Schema),
    ("then", Holds::Schema),
    ("else", Holds::Schema),
    ("allOf", Holds::Schemas),
    ("anyOf", Holds::Schemas),
    ("oneOf", Holds::Schemas),
    ("not", Holds::Schema),
    ("unevaluatedItems", Holds::Schema),
    ("unevaluatedProperties", Holds::Schema),
    ("type", Holds::Value),
    ("const", Holds::Value),
    ("enum", Holds::Value),
    ("multipleOf", Holds::Value),
    ("maximum", Holds::Value),
    ("exclusiveMaximum", Holds::Value),
    ("minimum", Holds::Value),
    ("exclusiveMinimum", Holds::Value),
    ("maxLength", Holds::Value),
    ("minLength", Holds::Value),
    ("pattern", Holds::Value),
    ("maxItems", Holds::Value),
    ("minItems", Holds::Value),
    ("uniqueItems", Holds::Value),
    ("maxContains", Holds::Value),
    ("minContains", Holds::Value),
    ("maxProperties", Holds::Value),
    ("minProperties", Holds::Value),
    ("required", Holds::Value),
    ("dependentRequired", Holds::Value),
    ("title", Holds::Value),
    ("description", Holds::Value),
    ("default", Holds::Value),
    ("deprecated", Holds::Value),
    ("readOnly", Holds::Value),
    ("writeOnly", Holds::Value),
    ("examples", Holds::Value),
    ("format", Holds::Value),
    ("contentEncoding", Holds::Value),
    ("contentMediaType", Holds::Value),
    ("contentSchema", Holds::Value),
];

/// What a keyword contains; `None` if the keyword is unknown.
#[must_use]
pub fn holds(keyword: &str) -> Option<Holds> {
    let ours = moment::KEYWORDS.iter().any(|(name, _)| *name == keyword);
    let known = KEYWORDS.iter().find(|(name, _)| *name == keyword).map(|(_, holds)| *holds);
    known.or_else(|| ours.then_some(Holds::Value))
}

/// Formats that are checked, or that ODCS defines although nothing checks them.
#[must_use]
pub fn is_known_format(format: &str) -> bool {
    const KNOWN: [&str; 20] = [
        "date",
        "date-time",
        "time",
        "duration",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "iri",
        "iri-reference",
        "json-pointer",
        "regex",
        "relative-json-pointer",
        "uri",
        "uri-reference",
        "uri-template",
        "uuid",
        // Defined by ODCS.
        "password",
        "byte",
        "binary",
    ];
    KNOWN.contains(&format)
}
