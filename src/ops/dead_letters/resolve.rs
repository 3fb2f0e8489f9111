//! What becomes of a dead letter by the contracts as they are now. Pure.
//!
//! A registered schema version never changes, so what broke it breaks it still. It is mended by registering what was missing, by
//! a topic, a limit or a right that is given now, or by a later version of the same schema. So a letter goes out as the version that it
//! names if that takes it; else as the latest active version that was registered after that one, if it has a schema and the
//! payload keeps to it. The record then says that version (`ce_dataschema`, or `schema-version`), as it is what consumers can rely on. A
//! version without a schema takes anything, which says nothing about events that name another.

use walpost_producer::schema::{Schema, SchemaFault};

use crate::contracts::registered::Registered;
use crate::contracts::topic_name::is_legal;
use crate::contracts::topic_settings;
use crate::relay::boundary::{Format, OwnedRecord, Refusal, RefusalCode, TopicSettings};
use crate::relay::publish::data_schema;
use crate::relay::publish::encode::names;
use crate::relay::route::destination::Destinations;

use super::dead_letter::{DeadLetter, Named, Style};

/// A registered schema version, as far as redriving needs it.
#[derive(Debug)]
pub struct Version {
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

impl Version {
    /// `None`: it was registered with what no relay can use, and counts as unknown. `schema_base` is what its URI begins with.
    #[must_use]
    pub fn new(registered: &Registered, schema_base: &str) -> Option<Self> {
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

/// Where a letter goes, and as what.
#[derive(Debug)]
pub struct Resolved {
    /// The record, but for the mark that it is redriven.
    pub record: OwnedRecord,
    /// How its topic is made if it is missing.
    pub settings: TopicSettings,
    /// The schema version that it goes out as, if the headers name a schema.
    pub version: Option<String>,
}

/// Why a letter stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stay {
    /// It would be refused again.
    Refused(Refusal),
    /// It is none of walpost's, or not as a relay writes them.
    NotALetter(&'static str),
    /// A part of the record was left out.
    ValueOmitted {
        /// The header's text.
        bytes: String,
    },
}

impl Stay {
    /// The reason for programs: a refusal's code, or one of `not_a_dead_letter` and `value_omitted`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code.as_str(),
            Self::NotALetter(_) => "not_a_dead_letter",
            Self::ValueOmitted { .. } => "value_omitted",
        }
    }

    /// The reason in words.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.detail.clone(),
            Self::NotALetter(what) => (*what).to_owned(),
            Self::ValueOmitted { bytes } => format!(
                "the dead letter lacks a part of the record that was too large (outbox-value-omitted: {bytes}), so there is nothing to redrive; emit the event again"
            ),
        }
    }

    fn refused(code: RefusalCode, detail: impl Into<String>) -> Self {
        Self::Refused(Refusal { code, detail: detail.into() })
    }
}

/// What a letter becomes. `versions` are those registered under the name that it names, in the order of their registration.
///
/// # Errors
/// Why it stays.
pub fn resolve(dead_letter: &DeadLetter, destinations: &Destinations, versions: &[Version]) -> Result<Resolved, Stay> {
    let Some(code) = dead_letter.code() else {
        return Err(Stay::NotALetter(
            "no relay has written it: it has no outbox-error header with a code of walpost's",
        ));
    };
    if !dead_letter.is_text {
        return Err(Stay::NotALetter("no relay has written it: a header's name is not UTF-8"));
    }
    if dead_letter.relay().is_none() {
        return Err(Stay::NotALetter("no relay has written it: it has no outbox-relay header"));
    }
    if let Some(bytes) = dead_letter.omitted() {
        return Err(Stay::ValueOmitted { bytes: bytes.to_owned() });
    }
    let Some(topic) = dead_letter.topic() else {
        return Err(Stay::NotALetter("no relay has written it: it has no outbox-topic header"));
    };
    if code == RefusalCode::Undecodable {
        let detail =
            "the row itself can't be made into a record, which nothing that is registered mends; emit the event again";
        return Err(Stay::refused(code, detail));
    }
    let topic = Some(topic).filter(|topic| !topic.is_empty());
    let Some(named) = dead_letter.contract() else {
        if matches!(code, RefusalCode::UnknownSchema | RefusalCode::ContractViolation) {
            let detail =
                "its headers do not say which schema version it is to be checked against; emit the event again";
            return Err(Stay::refused(code, detail));
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

/// The version that takes the letter.
fn choose<'a>(
    dead_letter: &DeadLetter,
    named: &Named,
    topic: Option<&str>,
    versions: &'a [Version],
) -> Result<&'a Version, Stay> {
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
    let is_later = |version: &&Version| own.is_none_or(|own| version.ordinal > own.ordinal);
    let latest = versions.iter().rfind(|version| version.is_active).filter(is_later);
    let Some(latest) = latest.filter(|latest| latest.schema.is_some()) else { return Err(Stay::Refused(why)) };
    match takes(latest, dead_letter, topic) {
        Ok(()) => Ok(latest),
        Err(other) => {
            let detail =
                format!("{}; nor does the latest version take it, {}: {}", why.detail, latest.id(), other.detail);
            Err(Stay::Refused(Refusal { detail, ..why }))
        }
    }
}

/// Whether a letter is as this version wants it. A null payload is a tombstone, which no schema is about.
fn takes(version: &Version, dead_letter: &DeadLetter, topic: Option<&str>) -> Result<(), Refusal> {
    let refusal = |code, detail| Err(Refusal { code, detail });
    match (&version.schema, dead_letter.record.value.as_deref()) {
        (Some(Err(fault)), _) => {
            return refusal(
                RefusalCode::ContractViolation,
                format!("the schema of {} can't be used: {fault}", version.id()),
            );
        }
        (Some(Ok(schema)), Some(payload)) => {
            if let Err(violation) = schema.check(payload) {
                return refusal(
                    RefusalCode::ContractViolation,
                    format!("the payload breaks {}: {violation}", version.id()),
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

/// A letter says itself where it goes, as its row did, so it is held to what rows are.
fn check_topic<'a>(topic: Option<&'a str>, destinations: &Destinations) -> Result<&'a str, Stay> {
    let Some(topic) = topic else {
        return Err(Stay::refused(RefusalCode::NoTopic, "neither the row nor its schema version names a topic"));
    };
    if !is_legal(topic) {
        let detail = format!(
            "{:?} is no name for a topic: up to 249 of a-z A-Z 0-9 . _ -",
            topic.chars().take(100).collect::<String>()
        );
        return Err(Stay::refused(RefusalCode::UnknownTopic, detail));
    }
    match destinations.check(topic) {
        Ok(()) => Ok(topic),
        Err(forbidden) => Err(Stay::refused(RefusalCode::NotAuthorized, forbidden.reason(topic))),
    }
}

/// The record: everything as it came, without what made a dead letter of it, and with what the contract adds now.
fn record(dead_letter: &DeadLetter, topic: &str, version: Option<&Version>) -> OwnedRecord {
    let mut headers = dead_letter.record.headers.clone();
    if let Some((place, _)) = dead_letter.refused_time() {
        headers.remove(place);
    }
    for name in [names::ERROR, names::ERROR_DETAIL, names::TOPIC] {
        if let Some(last) = headers.iter().rposition(|(found, _)| found == name) {
            headers.remove(last);
        }
    }
    // Only a letter of a relay that let rows have it can have this one: it is redriven now.
    headers.retain(|(found, _)| found != names::REDRIVEN);
    // Counted only now: whoever wrote the letter may have put what was just removed anywhere.
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

/// Sets one of the first `own` headers, or adds it behind them; a header of the row of the same name gives way, as it does in the relay.
/// How many of them there are then.
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
