//! Decides whether a dead letter can be redriven under the current contracts, and as what. Pure.
//!
//! A registered schema version never changes, so a payload that violated it still does. The fix is to register what was missing, to
//! change a topic, limit or permission, or to register a later version of the same schema. So a dead letter is redriven as the version that
//! it names if it passes that; else as the latest active version registered after that one, if that version has a schema and the payload
//! passes it. The record then names that version (`ce_dataschema` or `schema-version`), since that is what consumers can rely on. A
//! version without a schema accepts anything, so it never substitutes for another version.

use walpost_producer::schema::{Schema, SchemaFault};

use crate::contracts::registered::Registered;
use crate::contracts::topic_settings;
use crate::relay::boundary::{Format, OwnedRecord, Refusal, RefusalCode, TopicSettings};
use crate::relay::publish::encode::names;
use crate::relay::route::data_schema;
use crate::relay::route::destination::Destinations;
use crate::relay::route::topic_name;

use super::dead_letter::{DeadLetter, NamedSchema, Style};

/// The parts of a registered schema version that redriving needs.
#[derive(Debug)]
pub(crate) struct RedriveVersion {
    name: String,
    version: String,
    /// The `ce_dataschema` header.
    data_schema: String,
    ordinal: i32,
    is_active: bool,
    topic: Option<String>,
    format: Format,
    settings: TopicSettings,
    schema: Option<Result<Schema, SchemaFault>>,
}

impl RedriveVersion {
    /// `None` if the relay could not use this registration either; it counts as unknown. `schema_base` is the prefix of its URI.
    #[must_use]
    pub(crate) fn new(registered: &Registered, schema_base: &str) -> Option<Self> {
        let settings = registered.topic_config.as_ref().map(|config| topic_settings(&config.to_string()));
        let format = Format::from_column(&registered.format)?;
        let schema = registered.schema.as_ref().filter(|_| format == Format::Json);
        Some(Self {
            name: registered.name.clone(),
            version: registered.version.clone(),
            data_schema: data_schema::uri(schema_base, &registered.name, &registered.version),
            ordinal: registered.ordinal,
            is_active: registered.status == "active",
            topic: registered.topic.clone().filter(|topic| !topic.is_empty()),
            format,
            settings: settings.transpose().ok()?.unwrap_or_default(),
            schema: schema.map(Schema::compile),
        })
    }

    fn id(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }
}

/// The record to publish for a dead letter.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The record, without the header that says it was redriven.
    pub record: OwnedRecord,
    /// Settings for creating its topic if it is missing.
    pub settings: TopicSettings,
    /// The schema version that it is published as, if the headers name a schema.
    pub version: Option<String>,
}

/// Why a dead letter can't be redriven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotRedriven {
    /// It would be refused again.
    Refused(Refusal),
    /// No relay wrote it, or not in this form.
    NotADeadLetter(&'static str),
    /// A part of the record was omitted because of its size.
    ValueOmitted {
        /// The header's value.
        bytes: String,
    },
}

impl NotRedriven {
    /// The reason as a code: a refusal code, `not_a_dead_letter` or `value_omitted`.
    #[must_use]
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code.as_str(),
            Self::NotADeadLetter(_) => "not_a_dead_letter",
            Self::ValueOmitted { .. } => "value_omitted",
        }
    }

    /// The reason in words.
    #[must_use]
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.detail.clone(),
            Self::NotADeadLetter(what) => (*what).to_owned(),
            Self::ValueOmitted { bytes } => format!(
                "the dead letter has no value, because the record was too large (outbox-value-omitted: {bytes}); emit the event again"
            ),
        }
    }

    fn refused(code: RefusalCode, detail: impl Into<String>) -> Self {
        Self::Refused(Refusal { code, detail: detail.into() })
    }
}

/// Resolves a dead letter. `versions` are those registered under the schema name in it, in order of registration.
///
/// # Errors
/// Why it can't be redriven.
pub(crate) fn resolve(
    dead_letter: &DeadLetter,
    destinations: &Destinations,
    versions: &[RedriveVersion],
) -> Result<Resolved, NotRedriven> {
    let Some(code) = dead_letter.code() else {
        return Err(NotRedriven::NotADeadLetter("not written by a relay: no outbox-error header with a known code"));
    };
    if !dead_letter.is_text {
        return Err(NotRedriven::NotADeadLetter("not written by a relay: a header name is not UTF-8"));
    }
    if dead_letter.relay().is_none() {
        return Err(NotRedriven::NotADeadLetter("not written by a relay: no outbox-relay header"));
    }
    if let Some(bytes) = dead_letter.omitted() {
        return Err(NotRedriven::ValueOmitted { bytes: bytes.to_owned() });
    }
    let Some(topic) = dead_letter.topic() else {
        return Err(NotRedriven::NotADeadLetter("not written by a relay: no outbox-topic header"));
    };
    if code == RefusalCode::Undecodable {
        let detail = "the row itself can't be encoded as a record, so no contract change helps; emit the event again";
        return Err(NotRedriven::refused(code, detail));
    }
    let topic = Some(topic).filter(|topic| !topic.is_empty());
    let Some(named) = dead_letter.contract() else {
        if matches!(code, RefusalCode::UnknownSchema | RefusalCode::ContractViolation) {
            let detail = "its headers do not name the schema version to check it against; emit the event again";
            return Err(NotRedriven::refused(code, detail));
        }
        let topic = check_topic(topic, destinations)?;
        return Ok(Resolved {
            record: record(dead_letter, topic, None),
            settings: TopicSettings::default(),
            version: None,
        });
    };
    let version = choose(dead_letter, &named, topic, versions)?;
    let topic = check_topic(topic.or(version.topic.as_deref()), destinations)?;
    let record = record(dead_letter, topic, Some(version));
    Ok(Resolved { record, settings: version.settings.clone(), version: Some(version.id()) })
}

/// The version that accepts the dead letter.
fn choose<'a>(
    dead_letter: &DeadLetter,
    named: &NamedSchema,
    topic: Option<&str>,
    versions: &'a [RedriveVersion],
) -> Result<&'a RedriveVersion, NotRedriven> {
    let own = versions.iter().find(|version| Some(&version.version) == named.version.as_ref());
    let why = match own {
        Some(own) => match takes(own, dead_letter, topic) {
            Ok(()) => return Ok(own),
            Err(refusal) => refusal,
        },
        None => Refusal {
            code: RefusalCode::UnknownSchema,
            detail: format!("no schema version {named} is registered; call outbox.register_schema_version"),
        },
    };
    let is_later = |version: &&RedriveVersion| own.is_none_or(|own| version.ordinal > own.ordinal);
    let latest = versions.iter().rfind(|version| version.is_active).filter(is_later);
    let Some(latest) = latest.filter(|latest| latest.schema.is_some()) else { return Err(NotRedriven::Refused(why)) };
    match takes(latest, dead_letter, topic) {
        Ok(()) => Ok(latest),
        Err(other) => {
            let detail = format!(
                "{}; the latest version, {}, does not accept it either: {}",
                why.detail,
                latest.id(),
                other.detail
            );
            Err(NotRedriven::Refused(Refusal { detail, ..why }))
        }
    }
}

/// Whether the payload conforms to this version. A null payload is a tombstone, to which no schema applies.
fn takes(version: &RedriveVersion, dead_letter: &DeadLetter, topic: Option<&str>) -> Result<(), Refusal> {
    let refusal = |code, detail| Err(Refusal { code, detail });
    match (&version.schema, dead_letter.record.value.as_deref()) {
        (Some(Err(fault)), _) => {
            return refusal(
                RefusalCode::ContractViolation,
                format!("the schema of {} is unusable: {fault}", version.id()),
            );
        }
        (Some(Ok(schema)), Some(payload)) => {
            if let Err(violation) = schema.check(payload) {
                return refusal(
                    RefusalCode::ContractViolation,
                    format!("the payload violates {}: {violation}", version.id()),
                );
            }
        }
        (Some(Ok(_)), None) | (None, _) => {}
    }
    if topic.or(version.topic.as_deref()).is_none() {
        return refusal(RefusalCode::NoTopic, "neither the row nor its schema version names a topic".to_owned());
    }
    Ok(())
}

/// The topic comes from the dead letter, which is untrusted, so it must pass the same checks as a row's.
fn check_topic<'a>(topic: Option<&'a str>, destinations: &Destinations) -> Result<&'a str, NotRedriven> {
    let Some(topic) = topic else {
        return Err(NotRedriven::refused(RefusalCode::NoTopic, "neither the row nor its schema version names a topic"));
    };
    topic_name::check(topic).map_err(|error| NotRedriven::refused(RefusalCode::UnknownTopic, error.to_string()))?;
    match destinations.check(topic) {
        Ok(()) => Ok(topic),
        Err(forbidden) => Err(NotRedriven::refused(RefusalCode::NotAuthorized, forbidden.reason(topic))),
    }
}

/// The original record: without the dead-letter headers, and with the headers that the contract adds now.
fn record(dead_letter: &DeadLetter, topic: &str, version: Option<&RedriveVersion>) -> OwnedRecord {
    let mut headers = dead_letter.record.headers.clone();
    if let Some((place, _)) = dead_letter.refused_time() {
        headers.remove(place);
    }
    for name in [names::ERROR, names::ERROR_DETAIL, names::TOPIC] {
        if let Some(last) = headers.iter().rposition(|(found, _)| found == name) {
            headers.remove(last);
        }
    }
    // Older relays let a row set this header; the redrive sets it now.
    headers.retain(|(found, _)| found != names::REDRIVEN);
    // Counted only now: in a forged dead letter, the headers just removed may have been anywhere.
    let own = headers.iter().position(|(name, _)| name == names::POSITION).unwrap_or(0);
    if let Some(version) = version {
        match dead_letter.style() {
            Style::CloudEvents => {
                let own = set(&mut headers, own, "ce_dataschema", &version.data_schema);
                set(&mut headers, own, "content-type", version.format.content_type());
            }
            Style::Plain => {
                set(&mut headers, own, "schema-version", &version.version);
            }
            Style::Bare => {}
        }
    }
    let timestamp_millis = dead_letter.timestamp_millis();
    OwnedRecord { topic: topic.to_owned(), headers, timestamp_millis, ..dead_letter.record.clone() }
}

/// Sets one of the first `own` headers, or adds it after them, and returns their new count. A row's header with the same name is
/// removed, as in the relay.
fn set(headers: &mut Vec<(String, Option<Vec<u8>>)>, own: usize, name: &str, value: &str) -> usize {
    let value = Some(value.as_bytes().to_vec());
    if let Some(place) = headers[..own].iter().position(|(found, _)| found == name) {
        headers[place].1 = value;
        return own;
    }
    let mut index = 0;
    headers.retain(|(found, _)| {
        index += 1;
        index <= own || found != name
    });
    headers.insert(own, (name.to_owned(), value));
    own + 1
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
