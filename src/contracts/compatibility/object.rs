//! Objects.

use serde_json::{Map, Value, json};
use walpost_producer::schema::Schema;
use walpost_producer::schema::pointer::step;

use super::CompatibilityRule;
use super::array::is_open;
use super::compare::Comparison;
use super::evaluated::{certain, further_properties};
use super::scalar::Bound;
use super::writer::Writer;

/// What a writer's schema promises of one property.
pub(super) enum Promise<'a> {
    /// It is never present.
    Absent,
    /// It may be present with any value.
    Anything,
    /// It is named, or matches a pattern.
    Described(Vec<&'a Value>),
    /// It may be present as an additional property.
    Further(Vec<&'a Value>),
}

impl Comparison {
    pub(super) fn objects(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        self.at_most(
            reader,
            writer,
            Bound::new(
                property,
                "maxProperties",
                [CompatibilityRule::MaxPropertiesAdded, CompatibilityRule::MaxPropertiesDecreased],
            ),
        );
        self.at_least(
            reader,
            writer,
            Bound::new(
                property,
                "minProperties",
                [CompatibilityRule::MinPropertiesAdded, CompatibilityRule::MinPropertiesIncreased],
            ),
        );
        let missing = self.required(reader, writer, property);
        for (name, wanted) in entries(reader, "properties") {
            self.property(wanted, &promise(writer, name), missing.contains(&name.as_str()), &step(property, name));
        }
        for (pattern, wanted) in entries(reader, "patternProperties") {
            self.pattern(pattern, wanted, writer, property);
        }
        // Closed or not, a reader ignores what it does not name, unless it has a schema for additional properties.
        let is_strict = self.is_strict;
        let restricts = |wanted: &&Value| !is_open(wanted) && (is_strict || wanted.is_object());
        if let Some(wanted) = reader.get("additionalProperties").filter(restricts) {
            self.further(wanted, &[reader], writer, property);
        }
        if let Some(wanted) = reader.get("unevaluatedProperties").filter(restricts) {
            self.unevaluated(wanted, reader, writer, property);
        }
        self.names(reader, writer, property);
        self.dependencies(reader, writer, property);
    }

    /// The names that the reader requires and the writer does not promise.
    fn required<'r>(&mut self, reader: &'r Map<String, Value>, writer: &Writer<'_>, property: &str) -> Vec<&'r str> {
        let mut missing = Vec::new();
        for name in names(reader.get("required")) {
            let has_default = !self.is_strict
                && reader
                    .get("properties")
                    .and_then(|properties| properties.get(name))
                    .is_some_and(|wanted| wanted.get("default").is_some());
            if has_default || requires(writer, name) {
                continue;
            }
            let rule = match promise(writer, name) {
                Promise::Described(_) => CompatibilityRule::RequiredAttributeAdded,
                Promise::Anything => CompatibilityRule::RequiredPropertyAddedToOpenContentModel,
                Promise::Absent | Promise::Further(_) => CompatibilityRule::RequiredPropertyAddedToUnopenContentModel,
            };
            self.breach(&step(property, name), rule, "");
            missing.push(name);
        }
        missing
    }

    fn property(&mut self, wanted: &Value, promised: &Promise<'_>, is_missing: bool, property: &str) {
        match promised {
            Promise::Absent => {}
            Promise::Described(schemas) => self.compare(wanted, &Writer::new(schemas.iter().copied()), property),
            Promise::Anything if is_open(wanted) || is_missing => {}
            Promise::Anything => self.breach(property, CompatibilityRule::PropertyAddedToOpenContentModel, ""),
            Promise::Further(schemas) => {
                let breaches = self.attempt(wanted, &Writer::new(schemas.iter().copied()), property);
                if let Some(first) = breaches.first() {
                    let detail = format!(" ({})", first.rule);
                    self.breach(
                        property,
                        CompatibilityRule::PropertyAddedNotCoveredByPartiallyOpenContentModel,
                        detail,
                    );
                }
            }
        }
    }

    /// A reader's pattern applies to every property with a matching name, including additional ones.
    fn pattern(&mut self, pattern: &str, wanted: &Value, writer: &Writer<'_>, property: &str) {
        if is_open(wanted) {
            return;
        }
        let refusal = || (CompatibilityRule::PatternPropertiesAdded, format!(" ({pattern})"));
        for name in described(writer).into_iter().filter(|name| matches(pattern, name)) {
            self.described(wanted, name, writer, property, refusal);
        }
        let same: Vec<_> = writer.all("patternProperties").filter_map(|patterns| patterns.get(pattern)).collect();
        let further: Vec<_> = writer.parts().filter_map(further_properties).map(|(schema, _)| schema).collect();
        if same.is_empty() && further.is_empty() {
            return self.breach(property, CompatibilityRule::PatternPropertiesAdded, format!(" ({pattern})"));
        }
        // Another pattern of the writer may match the same names.
        let others = writer.all("patternProperties").filter_map(Value::as_object).flatten();
        let others: Vec<_> = others.filter(|(other, _)| *other != pattern).map(|(_, schema)| schema).collect();
        let at = step(property, "*");
        if same.is_empty() {
            let breaches =
                others.iter().chain(&further).flat_map(|schema| self.attempt(wanted, &Writer::new([*schema]), &at));
            if breaches.count() > 0 {
                self.breach(property, CompatibilityRule::PatternPropertiesAdded, format!(" ({pattern})"));
            }
        } else {
            self.compare(wanted, &Writer::new(same), &at);
        }
    }

    /// A property of the writer that it describes by name.
    fn described(
        &mut self,
        wanted: &Value,
        name: &str,
        writer: &Writer<'_>,
        property: &str,
        refusal: impl Fn() -> (CompatibilityRule, String),
    ) {
        match promise(writer, name) {
            Promise::Absent => {}
            Promise::Described(schemas) | Promise::Further(schemas) => {
                self.compare(wanted, &Writer::new(schemas), &step(property, name));
            }
            Promise::Anything => {
                let (rule, detail) = refusal();
                self.breach(property, rule, detail);
            }
        }
    }

    /// A schema of the reader for all properties that these parts of it don't name.
    fn further(&mut self, wanted: &Value, naming: &[&Map<String, Value>], writer: &Writer<'_>, property: &str) {
        let patterns = || naming.iter().flat_map(|part| entries(part, "patternProperties")).map(|(pattern, _)| pattern);
        let is_named = |name: &str| {
            naming.iter().flat_map(|part| entries(part, "properties")).any(|(known, _)| known == name)
                || patterns().any(|pattern| matches(pattern, name))
        };
        for name in described(writer).into_iter().filter(|name| !is_named(name)) {
            self.described(wanted, name, writer, property, || {
                (CompatibilityRule::AdditionalPropertiesNarrowed, String::new())
            });
        }
        for (pattern, schema) in writer.all("patternProperties").filter_map(Value::as_object).flatten() {
            if !patterns().any(|known| known == pattern) {
                self.compare(wanted, &Writer::new([schema]), &step(property, "*"));
            }
        }
        let promised: Vec<_> = writer.parts().filter_map(further_properties).map(|(schema, _)| schema).collect();
        if promised.is_empty() {
            self.breach(property, CompatibilityRule::AdditionalPropertiesNarrowed, "");
        } else {
            self.compare(wanted, &Writer::new(promised), &step(property, "*"));
        }
    }

    /// `unevaluatedProperties` is `additionalProperties` beside all names that the reader evaluates for certain.
    fn unevaluated(&mut self, wanted: &Value, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        let evaluating = certain(reader);
        let evaluates_all = |part: &&Map<String, Value>| {
            part.get("additionalProperties").is_some_and(|schema| schema != &Value::Bool(false))
        };
        if evaluating.iter().any(evaluates_all) {
            return;
        }
        let before = self.found.len();
        self.further(wanted, &evaluating, writer, property);
        if self.found.len() > before {
            self.found.truncate(before);
            self.breach(property, CompatibilityRule::UnevaluatedChanged, "");
        }
    }

    fn names(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        let Some(wanted) = reader.get("propertyNames").filter(|wanted| !is_open(wanted)) else { return };
        let promised: Vec<_> = writer.all("propertyNames").collect();
        if !promised.is_empty() && self.attempt(wanted, &Writer::new(promised).assuming("string"), property).is_empty()
        {
            return;
        }
        // A closed schema lists all names.
        let is_closed = writer.parts().any(|part| {
            further_properties(part).is_some_and(|(schema, _)| schema == &Value::Bool(false))
                && !part.contains_key("patternProperties")
        });
        let takes = |schema: &Schema, name: &str| schema.check_value(&Value::from(name)).is_ok();
        let all_taken =
            || Schema::compile(wanted).is_ok_and(|schema| described(writer).iter().all(|name| takes(&schema, name)));
        if !(is_closed && all_taken()) {
            self.breach(property, CompatibilityRule::PropertyNamesNarrowed, "");
        }
    }

    fn dependencies(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        for (name, wanted) in entries(reader, "dependentRequired") {
            let promised: Vec<_> = writer.all("dependentRequired").filter_map(|all| all.get(name)).collect();
            let is_promised = |other: &&str| promised.iter().any(|all| names(Some(all)).any(|name| name == *other));
            let missing: Vec<_> =
                names(Some(wanted)).filter(|other| !requires(writer, other) && !is_promised(other)).collect();
            if !missing.is_empty() && !matches!(promise(writer, name), Promise::Absent) {
                let rule = if promised.is_empty() {
                    CompatibilityRule::DependencyArrayAdded
                } else {
                    CompatibilityRule::DependencyArrayExtended
                };
                self.breach(&step(property, name), rule, format!(" ({})", missing.join(", ")));
            }
        }
        for (name, wanted) in entries(reader, "dependentSchemas") {
            let promised = writer.all("dependentSchemas").filter_map(|all| all.get(name));
            let promised = promised.fold(writer.clone(), Writer::and);
            let is_absent = matches!(promise(writer, name), Promise::Absent);
            if !is_absent && !self.attempt(wanted, &promised, property).is_empty() {
                self.breach(&step(property, name), CompatibilityRule::DependencySchemaAdded, "");
            }
        }
    }
}

fn entries<'a>(part: &'a Map<String, Value>, keyword: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    part.get(keyword).and_then(Value::as_object).into_iter().flatten()
}

pub(super) fn names(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn requires(writer: &Writer<'_>, name: &str) -> bool {
    writer.all("required").any(|all| names(Some(all)).any(|required| required == name))
}

/// The names in the writer's schemas, and those that its `unevaluatedProperties` does not apply to.
fn described<'a>(writer: &Writer<'a>) -> Vec<&'a str> {
    let own = writer.all("properties").filter_map(Value::as_object).flatten().map(|(name, _)| name.as_str());
    let evaluated = writer.parts().filter_map(further_properties).flat_map(|(_, names)| names);
    let mut names: Vec<_> = own.chain(evaluated).collect();
    names.sort_unstable();
    names.dedup();
    names
}

pub(super) fn promise<'a>(writer: &Writer<'a>, name: &str) -> Promise<'a> {
    let (mut described, mut further) = (Vec::new(), Vec::new());
    for part in writer.parts() {
        let before = described.len();
        described.extend(part.get("properties").and_then(|properties| properties.get(name)));
        described.extend(
            entries(part, "patternProperties").filter(|(pattern, _)| matches(pattern, name)).map(|(_, schema)| schema),
        );
        if described.len() > before {
            continue;
        }
        match further_properties(part).filter(|(_, evaluated)| !evaluated.contains(&name)) {
            Some((Value::Bool(false), _)) => return Promise::Absent,
            Some((schema, _)) if !is_open(schema) => further.push(schema),
            _ => {}
        }
    }
    if described.iter().chain(&further).any(|schema| **schema == Value::Bool(false)) {
        return Promise::Absent;
    }
    match (described.is_empty(), further.is_empty()) {
        (false, _) => {
            described.extend(further);
            Promise::Described(described)
        }
        (true, false) => Promise::Further(further),
        (true, true) => Promise::Anything,
    }
}

/// Whether a pattern matches a name. One that does not compile matches nothing.
fn matches(pattern: &str, name: &str) -> bool {
    Schema::compile(&json!({ "pattern": pattern })).is_ok_and(|schema| schema.check_value(&Value::from(name)).is_ok())
}
