//! Reads contract files of the Open Data Contract Standard, version 3, into definitions of schema versions.
//!
//! Every schema object with `physicalType: topic` becomes a schema version: its name is the object's `name`, its version the
//! contract's, its topic the object's `physicalName`. Objects of other types are ignored.

mod standard;
mod cursor;
mod terms;
mod schema_file;
mod custom;
mod property;
mod moment_pattern;

use std::path::Path;
use std::sync::Arc;

use walpost_producer::schema::{Schema, inspect};

use super::definition::{Definition, JsonSchema, Status};
use super::diagnostic::{ContractRule, Diagnostic, Place};
use super::yaml::Document;
use crate::relay::boundary::Format;
use crate::relay::route::topic_name;
use cursor::Cursor;
use custom::Custom;
use property::Made;
use standard::Edition;

/// What a contract file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OdcsContract {
    /// The definitions of its topics.
    pub definitions: Vec<Definition>,
    /// Why nothing follows from a contract with a server of type kafka, with its place.
    pub remark: Option<Remark>,
}

/// A sentence about a place in a file, which is no mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Where.
    pub place: Place,
    /// What to know.
    pub what: String,
}

/// Reads a contract file.
///
/// # Errors
/// All mistakes in it.
pub fn read(file: &Arc<Path>, text: &str) -> Result<OdcsContract, Vec<Diagnostic>> {
    let document = Document::parse(file, text).map_err(|diagnostic| vec![discreet(diagnostic, text)])?;
    if !is_contract(&document.value) {
        return Err(vec![document.diagnostic("", ContractRule::Odcs, NO_CONTRACT)]);
    }
    let diagnostics = standard::diagnostics(&document, text);
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let contract = Cursor::root(&document);
    let mut diagnostics = Vec::new();
    let of_contract = Custom::read(&contract, &Custom::default(), &mut diagnostics);
    let topics: Vec<_> =
        contract.items("schema").into_iter().filter(|object| object.text("physicalType") == Some("topic")).collect();
    let format = if topics.is_empty() { Format::Json } else { format(&contract, &mut diagnostics) };
    let mut definitions = Vec::new();
    for object in &topics {
        let custom = Custom::read(object, &of_contract, &mut diagnostics);
        definitions.push(define(&contract, object, custom, format, &mut diagnostics));
    }
    let remark = if topics.is_empty() { no_topic(&contract) } else { None };
    if diagnostics.is_empty() { Ok(OdcsContract { definitions, remark }) } else { Err(diagnostics) }
}

/// Why a contract with a server of type kafka defines nothing.
fn no_topic(contract: &Cursor<'_>) -> Option<Remark> {
    let servers = contract.items("servers");
    let server = servers.iter().find(|server| server.text("type") == Some("kafka"))?;
    let objects = contract.items("schema");
    let (at, what) = match objects.first() {
        None => (server, "it has a server of type kafka, but no schema object".to_owned()),
        Some(object) => (object, "none of its schema objects has physicalType: topic".to_owned()),
    };
    Some(Remark { place: at.document().place(&at.pointer), what: format!("nothing to register: {what}") })
}

/// The message for a file that is not a contract. It shows none of the content, which may be secret.
const NO_CONTRACT: &str = "not a data contract: it has neither kind: DataContract nor an apiVersion of the standard";

/// Longest name and version, in bytes: the relay does not look up longer ones.
const NAME_BYTES_MAX: usize = 1_024;

/// Whether a document claims to be a contract.
fn is_contract(document: &serde_json::Value) -> bool {
    let text = |key| document.get(key).and_then(serde_json::Value::as_str);
    text("kind") == Some("DataContract")
        || text("apiVersion").is_some_and(|version| version.starts_with("v2.") || version.starts_with("v3."))
}

/// The mistake of a file that can't be parsed. Its text is shown only if a line of it says that it is a contract.
fn discreet(diagnostic: Diagnostic, text: &str) -> Diagnostic {
    let says_so = |line: &str| line.contains("kind") && line.contains("DataContract");
    if matches!(diagnostic.rule, ContractRule::Nesting | ContractRule::File) || text.lines().any(says_so) {
        return diagnostic;
    }
    Diagnostic { what: format!("invalid YAML from here; {NO_CONTRACT}"), ..diagnostic }
}

fn define(
    contract: &Cursor<'_>,
    object: &Cursor<'_>,
    custom: Custom<'_>,
    format: Format,
    diagnostics: &mut Vec<Diagnostic>,
) -> Definition {
    let name = object.text("name").unwrap_or_default();
    let version = contract.text("version").unwrap_or_default();
    for (key, of, value) in [("name", object, name), ("version", contract, version)] {
        if value.trim().is_empty() || value.trim() != value {
            let at = of.get(key).unwrap_or_else(|| of.clone());
            diagnostics.push(
                at.diagnostic(ContractRule::Name, format!("{key} {value:?} is empty, or begins or ends with a space")),
            );
        }
        let is_long = value.len() > NAME_BYTES_MAX;
        if is_long || value.contains(char::is_control) {
            let at = of.get(key).unwrap_or_else(|| of.clone());
            let what = match is_long {
                true => format!("{key} has {} bytes; the limit is {NAME_BYTES_MAX}", value.len()),
                false => format!("{key} has a control character: {value:?}"),
            };
            diagnostics.push(at.diagnostic(ContractRule::Name, what));
        }
    }
    let topic = object.text("physicalName").unwrap_or(name);
    if let Err(error) = topic_name::check(topic) {
        let at = object.get("physicalName").or_else(|| object.get("name")).unwrap_or_else(|| object.clone());
        diagnostics.push(at.diagnostic(ContractRule::TopicName, error.to_string()));
    }
    Definition {
        place: object.document().place(&object.pointer),
        name: name.to_owned(),
        version: version.to_owned(),
        topic: topic.to_owned(),
        format,
        schema: if format == Format::Json { schema(object, &custom, diagnostics) } else { None },
        compatibility: custom.compatibility.unwrap_or_default(),
        owner: terms::owner(contract),
        description: terms::description(contract, object),
        sla: terms::service_levels(contract, object, diagnostics),
        lineage: terms::lineage(object),
        on_violation: custom.on_violation,
        topic_settings: custom.settings,
        status: status(contract),
    }
}

/// The schema of an object's payload: from its jsonSchema file, else from its properties.
fn schema(object: &Cursor<'_>, custom: &Custom<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<JsonSchema> {
    if let Some((path, named)) = &custom.json_schema {
        let read = schema_file::read(path, named, &object.document().file);
        return read.map_err(|found| diagnostics.extend(found)).ok();
    }
    object.get("properties")?;
    let mut made = Made::new(Edition::of(&object.document().value));
    let value = made.payload(object);
    diagnostics.append(&mut made.diagnostics);
    let faults = inspect::unknown(&value).into_iter().chain(Schema::compile(&value).err());
    let before = diagnostics.len();
    diagnostics.extend(
        faults.map(|fault| object.document().diagnostic(made.origin(&fault.pointer), fault.rule.into(), fault.detail)),
    );
    let text = serde_json::to_string(&value).expect("a value is JSON");
    (diagnostics.len() == before).then_some(JsonSchema { value, text })
}

/// The format of the servers of type kafka. If the contract names servers at all, one must be of this type, or its topics are
/// another broker's.
fn format(contract: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Format {
    let servers = contract.items("servers");
    let is_elsewhere = !servers.is_empty();
    let kafka: Vec<_> = servers.into_iter().filter(|server| server.text("type") == Some("kafka")).collect();
    if is_elsewhere && kafka.is_empty() {
        let what = "a contract with a topic needs a server of type kafka, and none of these is one; add it, or remove all servers";
        let at = contract.get("servers").unwrap_or_else(|| contract.clone());
        diagnostics.push(at.diagnostic(ContractRule::MissingKey, what));
    }
    let mut format = None;
    for server in &kafka {
        let text = server.text("format").unwrap_or("json");
        let at = server.get("format").unwrap_or_else(|| server.clone());
        match (Format::from_column(text), format) {
            (None, _) => diagnostics.push(at.diagnostic(
                ContractRule::Odcs,
                format!("format {text} is not one of json, avro, protobuf, text and bytes"),
            )),
            (Some(this), Some(other)) if this != other => {
                diagnostics.push(at.diagnostic(ContractRule::Odcs, "two servers of type kafka have different formats"))
            }
            (Some(this), _) => format = Some(this),
        }
    }
    format.unwrap_or(Format::Json)
}

/// The standard's statuses are examples; any other text says nothing here.
fn status(contract: &Cursor<'_>) -> Status {
    match contract.text("status").unwrap_or_default().to_lowercase().as_str() {
        "proposed" | "draft" => Status::Draft,
        "active" => Status::Active,
        "deprecated" => Status::Deprecated,
        "retired" => Status::Retired,
        _ => Status::Unsaid,
    }
}

#[cfg(test)]
mod tests;
