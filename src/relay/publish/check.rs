//! What an event must satisfy before it goes to its topic: it keeps to its contract, and may go to that topic.

use std::sync::Arc;
use std::time::Instant;

use super::encode::{self, ContractHeaders, RowHeaders};
use crate::relay::boundary::OnRejected;
use crate::relay::boundary::Wait;
use crate::relay::boundary::{ContractNumber, NamedBy, OnViolation, Record, Refusal, RefusalCode, TopicSettings};
use crate::relay::decode::event::{Event, EventPart, Withheld};
use crate::relay::route::destination::Destinations;
use crate::relay::route::metadata_cache::{KnownContract, MetadataCache};
use crate::relay::route::payload::Checks;
use crate::relay::route::topic_name;

/// The longest name of a schema that is looked up, in bytes: rows can contain any name, and lookups are cached.
const SCHEMA_NAME_BYTES: usize = 1_024;
/// Payloads up to this size are checked before their topic is looked up, which may create it. For larger ones the topic's limit is needed
/// first: parsing takes many times their size in memory.
const CHECKED_FIRST_BYTES: usize = 16 * 1024;

/// What is known of an event, and its own headers.
pub(crate) struct KnownEvent<'a> {
    pub(crate) contract: Option<Arc<KnownContract>>,
    row_headers: RowHeaders<'a>,
    /// The URI of the unregistered schema version that the event names, for a redrive of its dead letter.
    unregistered: Option<String>,
    /// How it violates its contract, if it is published anyway.
    violation: Option<String>,
}

impl<'a> KnownEvent<'a> {
    pub(crate) const fn new(row_headers: RowHeaders<'a>) -> Self {
        Self { contract: None, row_headers, unregistered: None, violation: None }
    }

    pub(crate) fn topic<'b>(&'b self, event: &'b Event<'_>) -> Option<&'b str> {
        let of_contract = || self.contract.as_ref().and_then(|contract| contract.schema_version.topic.as_deref());
        event.topic.as_deref().or_else(of_contract)
    }

    pub(crate) const fn row_headers(&self) -> &RowHeaders<'a> {
        &self.row_headers
    }

    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// The registered schema version, as `<name>/<version>`.
    pub(crate) fn schema_version(&self) -> Option<String> {
        self.contract.as_ref().map(|contract| contract.schema_version.id.to_string())
    }

    /// Whose service level the event counts for.
    pub(crate) fn number(&self) -> ContractNumber {
        self.contract.as_ref().map_or(ContractNumber::NONE, |contract| contract.number)
    }

    pub(crate) fn contract_headers<'b>(&'b self, event: &'b Event<'_>) -> ContractHeaders<'b> {
        let contract = self.contract.as_deref();
        ContractHeaders {
            name: event.schema.as_ref().map(|(name, _)| name.as_ref()),
            data_schema: contract.map(|contract| contract.data_schema.as_str()).or(self.unregistered.as_deref()),
            format: contract.map(|contract| contract.schema_version.format),
            violation: self.violation(),
            topic: self.topic(event),
        }
    }
}

/// Why an event can't go on to its topic.
pub(crate) enum NotPublishable {
    /// An answer is missing.
    Wait,
    /// It can't be published, and what happens to it.
    Refused(Refusal, Fate),
}

/// What happens to an event that is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    DeadLetter,
    Halt,
}

impl OnRejected {
    /// What happens to an event refused for any reason but its payload.
    pub(crate) const fn fate(self) -> Fate {
        match self {
            Self::DeadLetter | Self::DeadLetterAlways => Fate::DeadLetter,
            Self::Halt => Fate::Halt,
        }
    }

    /// What happens to an event whose payload violates its contract: the contract overrides the relay. `None`: it is
    /// published.
    const fn fate_of_violation(self, policy: Option<OnViolation>) -> Option<Fate> {
        match (policy, self) {
            (Some(OnViolation::Warn), _) => None,
            // Neither the row nor its contract ever changes, so there must be a way past it.
            (Some(OnViolation::DeadLetter), _) | (Some(OnViolation::Halt), Self::DeadLetterAlways) => {
                Some(Fate::DeadLetter)
            }
            (Some(OnViolation::Halt), _) => Some(Fate::Halt),
            (None, relay) => Some(relay.fate()),
        }
    }
}

impl From<Wait> for NotPublishable {
    fn from(_: Wait) -> Self {
        Self::Wait
    }
}

/// Looks up what publishing needs, checks the payload unless it is too large anyway, and gives the size in bytes that the topic
/// takes. No topic is created for a payload that violates its contract, unless it is too large to be parsed without knowing the limit.
pub(crate) fn check(
    metadata: &mut MetadataCache,
    checks: &mut Checks,
    destinations: &Destinations,
    on_rejected: OnRejected,
    event: &Event<'_>,
    known: &mut KnownEvent<'_>,
    now: Instant,
) -> Result<usize, NotPublishable> {
    let fate = on_rejected.fate();
    let contract = contract(metadata, fate, event, known, now);
    if let Err(NotPublishable::Wait) = contract {
        return Err(NotPublishable::Wait);
    }
    let bytes = event.payload.as_ref().map_or(0, |payload| payload.len());
    if contract.is_ok() && event.withheld.is_none() && bytes <= CHECKED_FIRST_BYTES {
        check_payload(checks, on_rejected, event, known)?;
        return destination(metadata, destinations, fate, event, known, now);
    }
    let destination = match contract {
        Ok(()) => destination(metadata, destinations, fate, event, known, now),
        Err(stop) => Err(stop),
    };
    match (&destination, &event.withheld) {
        (Err(NotPublishable::Wait), _) => return Err(NotPublishable::Wait),
        // Looked up anyway: its dead letter names its topic.
        (_, Some(withheld)) => return Err(NotPublishable::Refused(withheld.refusal(), withheld.fate(fate))),
        // Too large whatever it says.
        (Ok(limit), None) if bytes > *limit => return Ok(*limit),
        (Ok(_) | Err(NotPublishable::Refused(..)), None) => {}
    }
    check_payload(checks, on_rejected, event, known)?;
    destination
}

/// Looks up the schema version that the event names.
fn contract(
    metadata: &mut MetadataCache,
    fate: Fate,
    event: &Event<'_>,
    known: &mut KnownEvent<'_>,
    now: Instant,
) -> Result<(), NotPublishable> {
    let unknown = |detail| NotPublishable::Refused(Refusal { code: RefusalCode::UnknownSchema, detail }, fate);
    if !event.has_contract {
        return Ok(());
    }
    let Some((name, version)) = &event.schema else {
        return Err(unknown("schema_name or schema_version is null".to_owned()));
    };
    if name.len().max(version.len()) > SCHEMA_NAME_BYTES {
        return Err(unknown(format!("the schema name or version is longer than {SCHEMA_NAME_BYTES} bytes")));
    }
    let Some(contract) = metadata.contract(name, version, now)? else {
        known.unregistered = Some(metadata.data_schema(name, version));
        let detail = format!("no schema version {name}/{version} is registered; call outbox.register_schema_version");
        return Err(unknown(detail));
    };
    known.contract = Some(contract);
    Ok(())
}

/// The topic of an event further on, if it is not known yet and nothing speaks against the event; asks for nothing. Adds to `work` what
/// checking its payload can have taken.
pub(crate) fn topic_ahead<'a>(
    metadata: &'a MetadataCache,
    destinations: &Destinations,
    event: &'a Event<'_>,
    work: &mut u64,
) -> Option<(&'a str, TopicSettings, NamedBy)> {
    let contract = match &event.schema {
        Some((name, version)) if event.has_contract => Some(metadata.known_contract(name, version)?),
        None if event.has_contract => return None,
        _ => None,
    };
    let topic = event.topic.as_deref().or_else(|| contract?.schema_version.topic.as_deref())?;
    let payload = event.payload.as_deref();
    if topic.len() > topic_name::BYTES_MAX
        || event.withheld.is_some()
        || metadata.knows_topic(topic)
        || destinations.check(topic).is_err()
        || payload.is_some_and(|payload| payload.len() > CHECKED_FIRST_BYTES)
        || RowHeaders::parse(event.headers.as_deref()).is_err()
    {
        return None;
    }
    if let Some(contract) = contract {
        let checked = contract.check.check(&contract.schema_version.id, payload);
        *work = work.saturating_add(checked.work);
        if checked.violation.is_some() {
            return None;
        }
    }
    let settings = contract.map(|contract| contract.schema_version.topic_settings.clone()).unwrap_or_default();
    Some((topic, settings, named_by(topic, event, contract)))
}

/// Who names the topic of an event.
fn named_by(topic: &str, event: &Event<'_>, contract: Option<&KnownContract>) -> NamedBy {
    let of_contract = contract.and_then(|contract| contract.schema_version.topic.as_deref());
    if event.is_topic_fixed || of_contract == Some(topic) { NamedBy::Owner } else { NamedBy::Row }
}

/// Looks up the topic, and returns the size in bytes that it accepts.
fn destination(
    metadata: &mut MetadataCache,
    destinations: &Destinations,
    fate: Fate,
    event: &Event<'_>,
    known: &KnownEvent<'_>,
    now: Instant,
) -> Result<usize, NotPublishable> {
    let refused = |code, detail| NotPublishable::Refused(Refusal { code, detail }, fate);
    let Some(topic) = known.topic(event) else {
        let detail = "neither the row nor its schema version names a topic".to_owned();
        return Err(refused(RefusalCode::NoTopic, detail));
    };
    // The rest is checked when the topic is looked up, which is once.
    if topic.len() > topic_name::BYTES_MAX
        && let Err(error) = topic_name::check(topic)
    {
        return Err(refused(RefusalCode::UnknownTopic, error.to_string()));
    }
    if let Err(forbidden) = destinations.check(topic) {
        return Err(refused(RefusalCode::NotAuthorized, forbidden.reason(topic)));
    }
    let settings = || known.contract.as_ref().map(|contract| contract.schema_version.topic_settings.clone());
    let named_by = named_by(topic, event, known.contract.as_deref());
    let topic = metadata.topic(topic, || settings().unwrap_or_default(), named_by, now)?;
    topic.map(|topic| topic.max_message_bytes).map_err(|refusal| NotPublishable::Refused(refusal, fate))
}

/// Checks the payload against its contract's schema, if there is one.
fn check_payload(
    checks: &mut Checks,
    on_rejected: OnRejected,
    event: &Event<'_>,
    known: &mut KnownEvent<'_>,
) -> Result<(), NotPublishable> {
    let Some(contract) = &known.contract else { return Ok(()) };
    let violation = checks.violation(&contract.check, &contract.schema_version.id, event.payload.as_deref());
    let Some(detail) = violation else { return Ok(()) };
    match on_rejected.fate_of_violation(contract.schema_version.on_violation) {
        Some(fate) => Err(NotPublishable::Refused(Refusal { code: RefusalCode::ContractViolation, detail }, fate)),
        None => {
            known.violation = Some(detail);
            Ok(())
        }
    }
}

impl Withheld {
    fn refusal(&self) -> Refusal {
        let what = match &self.part {
            EventPart::Payload => "payload has",
            EventPart::Column(column) => &format!("{column} has"),
            EventPart::Message => "it is a logical message of",
        };
        let detail = format!(
            "{what} {} bytes, more than the relay reads of a row (message.max.bytes in [kafka] properties, by default 64 MiB)",
            self.bytes
        );
        Refusal { code: RefusalCode::TooLarge, detail }
    }

    /// Any role can write a message that is too large for its signature to be checked, and must not stop the relay
    /// with it.
    const fn fate(&self, fate: Fate) -> Fate {
        match self.part {
            EventPart::Payload | EventPart::Column(_) => fate,
            EventPart::Message => Fate::DeadLetter,
        }
    }

    /// The size of the value missing from the dead letter; 0 if something else is missing.
    pub(crate) const fn omitted(&self) -> usize {
        match self.part {
            EventPart::Payload | EventPart::Message => self.bytes,
            EventPart::Column(_) => 0,
        }
    }
}

pub(crate) fn too_large(record: &Record<'_>, size: usize, limit: usize) -> Refusal {
    let detail = format!(
        "the record takes up to {} bytes in a batch, but topic {} accepts {limit} (max.message.bytes)",
        encode::size_in_batch(size, record.headers.len()),
        record.topic,
    );
    Refusal { code: RefusalCode::TooLarge, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_of_the_configuration_is_not_named_by_the_row() {
        for (is_topic_fixed, by) in [(true, NamedBy::Owner), (false, NamedBy::Row)] {
            let event = Event { topic: Some("orders".into()), is_topic_fixed, ..Event::default() };
            assert_eq!(named_by("orders", &event, None), by);
        }
    }

    #[test]
    fn case_38_an_oversized_row_can_stop_the_relay_but_an_oversized_message_cannot() {
        for (part, fate, detail) in [
            (EventPart::Payload, Fate::Halt, "payload has 7 bytes, "),
            (EventPart::Column("key".to_owned()), Fate::Halt, "key has 7 bytes, "),
            (EventPart::Message, Fate::DeadLetter, "it is a logical message of 7 bytes, "),
        ] {
            let withheld = Withheld { part, bytes: 7 };
            assert_eq!(withheld.fate(Fate::Halt), fate, "{withheld:?}");
            let refusal = withheld.refusal();
            assert!(refusal.code == RefusalCode::TooLarge && refusal.detail.starts_with(detail), "{refusal:?}");
        }
    }

    #[test]
    fn the_contract_overrides_the_relay() {
        use OnRejected as Relay;
        for (relay, policy, expected) in [
            (Relay::DeadLetter, None, Some(Fate::DeadLetter)),
            (Relay::Halt, None, Some(Fate::Halt)),
            (Relay::DeadLetterAlways, None, Some(Fate::DeadLetter)),
            (Relay::Halt, Some(OnViolation::DeadLetter), Some(Fate::DeadLetter)),
            (Relay::DeadLetter, Some(OnViolation::Halt), Some(Fate::Halt)),
            (Relay::DeadLetterAlways, Some(OnViolation::Halt), Some(Fate::DeadLetter)),
            (Relay::Halt, Some(OnViolation::Warn), None),
            (Relay::DeadLetterAlways, Some(OnViolation::Warn), None),
        ] {
            assert_eq!(relay.fate_of_violation(policy), expected, "{relay:?} {policy:?}");
        }
    }
}
