//! ODCS properties to JSON Schema.
//!
//! A property that is not `required` may be missing or null, as in the standard, and an item of an array or a value of a map may be
//! null. An object with properties allows no others: a producer publishes what its contract names. `unique` and
//! `primaryKey` concern several rows, not one payload, and are ignored.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use walpost_producer::schema::moment::Moment;
use walpost_producer::schema::pointer::step;

use super::cursor::Cursor;
use super::moment_pattern;
use super::standard::Edition;
use crate::contracts::diagnostic::{ContractRule, Diagnostic};

/// A date and time without an offset, and a time without one.
const LOCAL_TIMESTAMP: &str =
    "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?$";
const LOCAL_TIME: &str = "^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?$";

/// A schema under construction, and the origin of each part.
#[derive(Debug)]
pub(super) struct Made {
    edition: Edition,
    /// JSON pointers into the contract, by those into the schema.
    origins: BTreeMap<String, String>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Made {
    pub(super) const fn new(edition: Edition) -> Self {
        Self { edition, origins: BTreeMap::new(), diagnostics: Vec::new() }
    }

    /// The JSON pointer into the contract for one into the schema.
    pub(super) fn origin<'a>(&'a self, pointer: &str) -> &'a str {
        let mut rest = pointer;
        loop {
            if let Some(origin) = self.origins.get(rest) {
                return origin;
            }
            match rest.rfind('/') {
                Some(end) => rest = &rest[..end],
                None => return "",
            }
        }
    }

    /// The schema of a schema object.
    pub(super) fn payload(&mut self, object: &Cursor<'_>) -> Value {
        let mut schema = Map::new();
        schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        self.origins.insert(String::new(), object.pointer.clone());
        annotate(object, &mut schema);
        self.object(object, "", &mut schema);
        Value::Object(schema)
    }

    fn property(&mut self, property: &Cursor<'_>, at: &str, is_nullable: bool) -> Value {
        self.origins.insert(at.to_owned(), property.pointer.clone());
        let mut schema = Map::new();
        annotate(property, &mut schema);
        let kind = property.text("logicalType").or_else(|| {
            let inferred = [("properties", "object"), ("items", "array"), ("map", "map")];
            inferred.into_iter().find(|(key, _)| property.get(key).is_some()).map(|(_, kind)| kind)
        });
        match kind {
            Some("string") => self.string(property, at, &mut schema),
            Some("date" | "timestamp" | "time") => self.moment(property, at, &mut schema),
            Some("number" | "integer") => self.number(property, at, &mut schema),
            Some("boolean") => {
                schema.insert("type".to_owned(), json!("boolean"));
            }
            Some("object") => self.object(property, at, &mut schema),
            Some("array") => self.array(property, at, &mut schema),
            Some("map") => self.map(property, at, &mut schema),
            Some("vector") => vector(property, &mut schema),
            _ => {}
        }
        self.allowed_values(property, at, &mut schema);
        if is_nullable {
            if let Some(kind) = schema.remove("type") {
                schema.insert("type".to_owned(), json!([kind, "null"]));
            }
            if let Some(Value::Array(values)) = schema.get_mut("enum")
                && !values.contains(&Value::Null)
            {
                values.push(Value::Null);
            }
        }
        Value::Object(schema)
    }

    fn object(&mut self, object: &Cursor<'_>, at: &str, schema: &mut Map<String, Value>) {
        schema.insert("type".to_owned(), json!("object"));
        self.options(object, at, &[("maxProperties", "maxProperties"), ("minProperties", "minProperties")], schema);
        let mut properties = Map::new();
        let mut required: Vec<Value> = Vec::new();
        for property in object.items("properties") {
            let name = payload_name(&property);
            let is_required = is_required(&property);
            let below = step(&step(at, "properties"), name);
            let made = self.property(&property, &below, !is_required);
            if properties.insert(name.to_owned(), made).is_some() {
                let what = format!("the payload has a second property named {name}");
                self.diagnostics.push(property.diagnostic(ContractRule::DuplicateKey, what));
            }
            required.extend(is_required.then(|| json!(name)));
        }
        let options = object.get("logicalTypeOptions");
        for name in options.iter().flat_map(|options| options.items("required")) {
            let is_known =
                name.value.as_str().is_some_and(|name| properties.is_empty() || properties.contains_key(name));
            if !is_known {
                self.diagnostics.push(
                    name.diagnostic(ContractRule::TypeOption, format!("the object has no property {}", name.value)),
                );
            } else if !required.contains(name.value) {
                required.push(name.value.clone());
            }
        }
        if !properties.is_empty() {
            schema.insert("properties".to_owned(), Value::Object(properties));
            schema.insert("additionalProperties".to_owned(), json!(false));
        }
        if !required.is_empty() {
            schema.insert("required".to_owned(), Value::Array(required));
        }
    }

    fn array(&mut self, array: &Cursor<'_>, at: &str, schema: &mut Map<String, Value>) {
        schema.insert("type".to_owned(), json!("array"));
        let options = [("maxItems", "maxItems"), ("minItems", "minItems"), ("uniqueItems", "uniqueItems")];
        self.options(array, at, &options, schema);
        if let Some(items) = array.get("items") {
            let made = self.property(&items, &step(at, "items"), !is_required(&items));
            schema.insert("items".to_owned(), made);
        }
    }

    fn map(&mut self, property: &Cursor<'_>, at: &str, schema: &mut Map<String, Value>) {
        schema.insert("type".to_owned(), json!("object"));
        let Some(map) = property.get("map") else { return };
        if let Some(value) = map.get("value") {
            let made = self.property(&value, &step(at, "additionalProperties"), !is_required(&value));
            schema.insert("additionalProperties".to_owned(), made);
        }
        let Some(key) = map.get("key") else { return };
        // JSON object keys are strings.
        let names = match key.text("logicalType") {
            Some("integer") => json!({"pattern": "^-?(0|[1-9][0-9]*)$"}),
            Some("string" | "date" | "timestamp" | "time") | None => {
                self.property(&key, &step(at, "propertyNames"), false)
            }
            Some(other) => {
                let what = format!("map keys are strings in JSON, and {other} can't be written as one");
                self.diagnostics.push(key.diagnostic(ContractRule::TypeOption, what));
                return;
            }
        };
        schema.insert("propertyNames".to_owned(), names);
    }

    fn string(&mut self, property: &Cursor<'_>, at: &str, schema: &mut Map<String, Value>) {
        schema.insert("type".to_owned(), json!("string"));
        let options =
            [("minLength", "minLength"), ("maxLength", "maxLength"), ("pattern", "pattern"), ("format", "format")];
        self.options(property, at, &options, schema);
    }

    fn moment(&mut self, property: &Cursor<'_>, at: &str, schema: &mut Map<String, Value>) {
        schema.insert("type".to_owned(), json!("string"));
        let kind = property.text("logicalType").unwrap_or_default();
        let options = property.get("logicalTypeOptions");
        let option = |key: &str| options.as_ref().and_then(|options| options.get(key));
        let has_offset = option("timezone").and_then(|flag| flag.value.as_bool());
        let standard = match (kind, has_offset) {
            ("date", _) if self.edition == Edition::V3_0 => date_of_3_0(property),
            ("date", _) => json!({"format": "date"}),
            ("timestamp", None | Some(true)) => json!({"format": "date-time"}),
            ("timestamp", Some(false)) => json!({"pattern": LOCAL_TIMESTAMP}),
            (_, Some(true)) => json!({"format": "time"}),
            _ => json!({"pattern": LOCAL_TIME}),
        };
        let format = option("format").filter(|format| !(kind == "date" && format.value == "yyyy-MM-dd"));
        match &format {
            None => {
                schema.extend(standard.as_object().cloned().into_iter().flatten());
            }
            Some(format) => match moment_pattern::pattern(format.value.as_str().unwrap_or_default()) {
                Ok(pattern) => {
                    schema.insert("pattern".to_owned(), json!(pattern));
                }
                Err(what) => self.diagnostics.push(format.diagnostic(ContractRule::TypeOption, what)),
            },
        }
        // Before version 3.1, a flag makes a limit exclusive.
        for (key, flag, inclusive, exclusive) in [
            ("minimum", "exclusiveMinimum", "formatMinimum", "formatExclusiveMinimum"),
            ("maximum", "exclusiveMaximum", "formatMaximum", "formatExclusiveMaximum"),
            ("exclusiveMinimum", "", "formatExclusiveMinimum", ""),
            ("exclusiveMaximum", "", "formatExclusiveMaximum", ""),
        ] {
            let Some(limit) = option(key).filter(|limit| !limit.value.is_boolean()) else { continue };
            let is_exclusive = option(flag).is_some_and(|flag| flag.value == &Value::Bool(true));
            let keyword = if is_exclusive { exclusive } else { inclusive };
            let is_moment = limit.value.as_str().and_then(Moment::parse).is_some();
            if format.is_some() {
                let what = format!("{key} requires the standard form of a {kind}; remove format");
                self.diagnostics.push(limit.diagnostic(ContractRule::TypeOption, what));
            } else if !is_moment {
                self.diagnostics.push(limit.diagnostic(
                    ContractRule::TypeOption,
                    format!("{} is not a {kind} in ISO 8601 format", limit.value),
                ));
            } else {
                self.origins.insert(step(at, keyword), limit.pointer.clone());
                schema.insert(keyword.to_owned(), limit.value.clone());
            }
        }
    }

    fn number(&mut self, property: &Cursor<'_>, at: &str, schema: &mut Map<String, Value>) {
        let kind = property.text("logicalType").unwrap_or_default();
        schema.insert("type".to_owned(), json!(kind));
        let options =
            ["multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"].map(|key| (key, key));
        self.options(property, at, &options, schema);
        for (limit, exclusive) in [("maximum", "exclusiveMaximum"), ("minimum", "exclusiveMinimum")] {
            // Before version 3.1, a flag makes a limit exclusive.
            if let Some(is_exclusive) = schema.get(exclusive).and_then(Value::as_bool) {
                schema.remove(exclusive);
                let value = if is_exclusive { schema.remove(limit) } else { None };
                schema.extend(value.map(|value| (exclusive.to_owned(), value)));
            }
        }
        let format = property.get("logicalTypeOptions").and_then(|options| options.text("format").map(str::to_owned));
        let (least, greatest) = match format.as_deref() {
            Some("i8") => (json!(i8::MIN), json!(i8::MAX)),
            Some("i16") => (json!(i16::MIN), json!(i16::MAX)),
            Some("i32") => (json!(i32::MIN), json!(i32::MAX)),
            Some("i64") => (json!(i64::MIN), json!(i64::MAX)),
            Some("u8") => (json!(0), json!(u8::MAX)),
            Some("u16") => (json!(0), json!(u16::MAX)),
            Some("u32") => (json!(0), json!(u32::MAX)),
            Some("u64") => (json!(0), json!(u64::MAX)),
            Some("u128") => (json!(0), Value::Null),
            Some("f32") => (json!(f64::from(f32::MIN)), json!(f64::from(f32::MAX))),
            _ => return,
        };
        for (limit, keyword, other) in
            [(least, "minimum", "exclusiveMinimum"), (greatest, "maximum", "exclusiveMaximum")]
        {
            // The contract's limit must be within the format's, or it has no effect.
            if !limit.is_null() && !schema.contains_key(keyword) && !schema.contains_key(other) {
                schema.insert(keyword.to_owned(), limit);
            }
        }
    }

    /// Copies options as keywords.
    fn options(&mut self, property: &Cursor<'_>, at: &str, options: &[(&str, &str)], schema: &mut Map<String, Value>) {
        let given = property.get("logicalTypeOptions");
        for (key, keyword) in options {
            if let Some(option) = given.as_ref().and_then(|given| given.get(key)) {
                self.origins.insert(step(at, keyword), option.pointer.clone());
                schema.insert((*keyword).to_owned(), option.value.clone());
            }
        }
    }

    /// `enum`, or before version 3.2 the quality rule that no value is outside `validValues`.
    fn allowed_values(&mut self, property: &Cursor<'_>, at: &str, schema: &mut Map<String, Value>) {
        let listed: Vec<Cursor<'_>> = property.items("enum").iter().filter_map(|entry| entry.get("value")).collect();
        let by_quality = property.items("quality").into_iter().find(|rule| {
            let metric = rule.text("metric").or_else(|| rule.text("rule"));
            metric == Some("invalidValues") && rule.value.get("mustBe").and_then(Value::as_f64) == Some(0.0)
        });
        let valid = by_quality.and_then(|rule| rule.get("arguments")).map(|arguments| arguments.items("validValues"));
        let values = if listed.is_empty() { valid.unwrap_or_default() } else { listed };
        if values.is_empty() {
            return;
        }
        let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        for value in values.iter().filter(|value| !is_of(value.value, &kind)) {
            self.diagnostics
                .push(value.diagnostic(ContractRule::TypeOption, format!("{} is not of type {kind}", value.value)));
        }
        self.origins.insert(step(at, "enum"), values[0].pointer.clone());
        schema.insert("enum".to_owned(), values.iter().map(|value| value.value.clone()).collect());
    }
}

/// Whether there is always a value; the standard's default is that there need not be.
fn is_required(element: &Cursor<'_>) -> bool {
    element.flag("required").unwrap_or(false)
}

/// The form of a date in version 3.0, which had no other logical type for dates with a time.
fn date_of_3_0(property: &Cursor<'_>) -> Value {
    let physical = property.text("physicalType").unwrap_or_default().to_lowercase();
    match physical.as_str() {
        "date" => json!({"format": "date"}),
        physical if physical.contains("timestamp") || physical.contains("datetime") => json!({"format": "date-time"}),
        _ => json!({"anyOf": [{"format": "date"}, {"format": "date-time"}]}),
    }
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" | "array" => false,
        _ => true,
    }
}

/// A vector is an array of a fixed number of numbers.
fn vector(property: &Cursor<'_>, schema: &mut Map<String, Value>) {
    let options = property.get("logicalTypeOptions");
    let dimensions = options.as_ref().and_then(|options| options.get("dimensions"));
    let items = match options.as_ref().and_then(|options| options.text("elementType")) {
        Some("int8") => json!({"type": "integer", "minimum": -128, "maximum": 127}),
        Some("uint8") => json!({"type": "integer", "minimum": 0, "maximum": 255}),
        Some("binary") => json!({"enum": [0, 1]}),
        _ => json!({"type": "number"}),
    };
    schema.insert("type".to_owned(), json!("array"));
    schema.insert("items".to_owned(), items);
    for keyword in ["minItems", "maxItems"] {
        schema.extend(dimensions.as_ref().map(|count| (keyword.to_owned(), count.value.clone())));
    }
}

/// The description of an element.
fn annotate(element: &Cursor<'_>, schema: &mut Map<String, Value>) {
    for (key, keyword) in
        [("businessName", "title"), ("description", "description"), ("classification", "x-classification")]
    {
        schema.extend(element.text(key).map(|text| (keyword.to_owned(), json!(text.trim()))));
    }
    for (key, keyword) in [("examples", "examples"), ("deprecated", "deprecated")] {
        schema.extend(element.get(key).map(|value| (keyword.to_owned(), value.value.clone())));
    }
}

/// The name of a property in the payload.
pub(super) fn payload_name<'a>(property: &Cursor<'a>) -> &'a str {
    property.text("physicalName").or_else(|| property.text("name")).unwrap_or_default()
}
