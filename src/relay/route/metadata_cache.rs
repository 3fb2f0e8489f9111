//! What the core has been told about schema versions, topics and column types.
//!
//! A registered schema version never changes, nor does how a type is sent (except by `alter type ... set (send =
//! ...)`), so a positive answer is kept for good. That a schema version is not registered holds only for the
//! transaction that names it: the next one may have registered it. A negative answer, and a topic that could not be
//! written to, is asked for again after `REFUSAL_KEPT`: somebody may have fixed it. Nothing else is published while
//! a topic is asked for, so one that is refused repeatedly is asked for less and less often, unless the relay [waits
//! for it](MetadataCache::ask_soon).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::payload::PayloadCheck;
use crate::relay::back_off::BackOff;
use crate::relay::boundary::Wait;
use crate::relay::boundary::{
    Answer, ColumnType, ContractNumber, NamedBy, Refusal, Request, SchemaVersion, SchemaVersionId, Topic,
    TopicSettings, WantedTopic,
};
use crate::relay::limits::{ENTRIES_MAX, REFUSAL_KEPT, TOPIC_REFUSAL_KEPT};
use crate::relay::route::data_schema;

/// A schema version with what is derived from it once.
#[derive(Debug)]
pub struct KnownContract {
    /// As registered.
    pub schema_version: SchemaVersion,
    /// The `ce_dataschema` header.
    pub data_schema: String,
    /// What its payloads are checked with.
    pub check: PayloadCheck,
    /// Identifies the statistics of its records.
    pub number: ContractNumber,
}

/// A schema version with statistics of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceLevel {
    /// Its name and version.
    pub id: SchemaVersionId,
    /// How soon after its commit a record is promised to be in Kafka.
    pub freshness: Option<Duration>,
}

/// Answers, by request.
#[derive(Debug, Default)]
pub struct MetadataCache {
    /// What the `ce_dataschema` header begins with.
    schema_base: String,
    contracts: HashMap<Arc<str>, Versions>,
    contract_count: usize,
    /// By their [`ContractNumber`], and the numbers by name.
    service_levels: Vec<ServiceLevel>,
    numbers: HashMap<SchemaVersionId, ContractNumber>,
    topics: HashMap<Arc<str>, TopicEntry>,
    /// What was found last, which mostly is what the next event asks for.
    last_contract: Option<Arc<KnownContract>>,
    last_topic: Option<(Arc<str>, Topic)>,
    types: HashMap<u32, CachedAnswer<Option<ColumnType>>>,
    request: Option<Request>,
    asked: bool,
    /// Counts transactions.
    transaction: u64,
    /// The one that raised the open request.
    asked_in: u64,
}

/// The versions of one schema; `None` is not registered.
type Versions = HashMap<Arc<str>, CachedAnswer<Option<Arc<KnownContract>>>>;

/// A topic, with the settings of its first request: if it vanishes it is recreated with the same ones.
#[derive(Debug, Default)]
struct TopicEntry {
    settings: TopicSettings,
    /// Who named it in the last request.
    named_by: NamedBy,
    kept: Option<CachedAnswer<Result<Topic, Refusal>>>,
    /// How long the next negative answer holds; `None`: as long as a first one.
    patience: Option<BackOff>,
}

#[derive(Debug)]
struct CachedAnswer<T> {
    answer: T,
    /// When to ask again; `None` is never.
    until: Option<Instant>,
    /// The transaction in which it was asked for.
    transaction: u64,
}

impl<T> CachedAnswer<T> {
    fn holds(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl MetadataCache {
    /// An empty cache; `schema_base` is what the `ce_dataschema` header starts with.
    #[must_use]
    pub fn new(schema_base: String) -> Self {
        Self { schema_base, ..Self::default() }
    }

    /// The contract of that name and version; `Ok(None)` if none is registered, `Err` if it must be asked for first.
    pub fn contract(&mut self, name: &str, version: &str, now: Instant) -> Result<Option<Arc<KnownContract>>, Wait> {
        // A registered schema version never changes.
        let is_asked = |contract: &&Arc<KnownContract>| {
            let id = &contract.schema_version.id;
            *id.name == *name && *id.version == *version
        };
        if let Some(contract) = self.last_contract.as_ref().filter(is_asked) {
            return Ok(Some(Arc::clone(contract)));
        }
        let kept = self.contracts.get(name).and_then(|versions| versions.get(version));
        let is_of_now = |kept: &&CachedAnswer<Option<Arc<KnownContract>>>| {
            kept.answer.is_some() || kept.transaction == self.transaction
        };
        if let Some(kept) = kept.filter(|kept| kept.holds(now)).filter(is_of_now) {
            self.last_contract.clone_from(&kept.answer);
            return Ok(kept.answer.clone());
        }
        self.ask(Request::SchemaVersion(SchemaVersionId { name: name.into(), version: version.into() }));
        Err(Wait)
    }

    /// The topic of that name, or why it is not writable; `Err` if it must be asked for first. That a topic is not created
    /// because of who names it says nothing for others.
    pub fn topic(
        &mut self,
        name: &str,
        settings: impl FnOnce() -> TopicSettings,
        named_by: NamedBy,
        now: Instant,
    ) -> Result<Result<Topic, Refusal>, Wait> {
        if let Some((_, topic)) = self.last_topic.as_ref().filter(|(last, _)| **last == *name) {
            return Ok(Ok(*topic));
        }
        let found = self.topics.get_key_value(name);
        let is_for_all = |entry: &TopicEntry| entry.named_by == named_by || named_by == NamedBy::Row;
        if let Some((name, entry, kept)) = found.and_then(|(name, entry)| Some((name, entry, entry.kept.as_ref()?)))
            && kept.holds(now)
            && (kept.answer.is_ok() || is_for_all(entry))
        {
            let lasting = kept.answer.as_ref().ok().filter(|_| kept.until.is_none());
            self.last_topic = lasting.map(|topic| (Arc::clone(name), *topic));
            return Ok(kept.answer.clone());
        }
        let settings = found.map_or_else(settings, |(_, entry)| entry.settings.clone());
        self.ask(Request::Topic(WantedTopic { name: name.into(), settings, named_by }));
        Err(Wait)
    }

    /// The contract of that name and version, if it was answered with one.
    pub fn known_contract(&self, name: &str, version: &str) -> Option<&KnownContract> {
        self.contracts.get(name)?.get(version)?.answer.as_deref()
    }

    /// Whether a topic was asked for before.
    pub fn knows_topic(&self, name: &str) -> bool {
        self.topics.contains_key(name)
    }

    /// A transaction starts. It may name what was registered in it, or just before it.
    pub const fn handle_transaction(&mut self) {
        self.transaction += 1;
    }

    /// The type with that OID, `Ok(None)` if there is none; `Err` if it must be asked for first.
    pub fn column_type(&mut self, oid: u32, now: Instant) -> Result<Option<ColumnType>, Wait> {
        if let Some(kept) = self.types.get(&oid).filter(|kept| kept.holds(now)) {
            return Ok(kept.answer.clone());
        }
        self.ask(Request::Type(oid));
        Err(Wait)
    }

    /// Asks for the keys of logical messages.
    pub fn ask_message_keys(&mut self) {
        self.ask(Request::MessageKeys);
    }

    /// Forgets what is known of a topic, so that it is ensured again before the next record to it.
    pub fn forget_topic(&mut self, name: &str) {
        self.last_topic = None;
        if let Some(entry) = self.topics.get_mut(name) {
            entry.kept = None;
        }
    }

    /// This topic refuses records although it was reported to be fine: it is asked for again soon, but not for each
    /// record.
    pub fn doubt_topic(&mut self, name: &str, now: Instant) {
        self.last_topic = None;
        if let Some(kept) = self.topics.get_mut(name).and_then(|entry| entry.kept.as_mut()) {
            kept.until.get_or_insert(now + REFUSAL_KEPT);
        }
    }

    /// This topic blocks publishing, so a refusal to write to it is asked for again as soon as a first one.
    pub fn ask_soon(&mut self, name: &str, now: Instant) {
        let Some(entry) = self.topics.get_mut(name) else { return };
        entry.patience = None;
        if let Some(until) = entry.kept.as_mut().and_then(|kept| kept.until.as_mut()) {
            *until = (*until).min(now + REFUSAL_KEPT);
        }
    }

    /// When a refusal to write to this topic is asked for again.
    pub fn topic_asked_again_at(&self, name: &str) -> Option<Instant> {
        self.topics.get(name).and_then(|entry| entry.kept.as_ref()).and_then(|kept| kept.until)
    }

    /// The open request; returned once.
    pub fn poll_request(&mut self) -> Option<Request> {
        if self.asked {
            return None;
        }
        self.asked = self.request.is_some();
        self.request.clone()
    }

    /// Takes an answer. One that nobody waits for any more is kept, too.
    pub fn handle_answer(&mut self, answer: Answer, now: Instant) {
        let refused_until = Some(now + REFUSAL_KEPT);
        match answer {
            Answer::SchemaVersion(id, found) => {
                self.answered(|request| matches!(request, Request::SchemaVersion(asked) if *asked == id));
                let until = if found.is_some() { None } else { refused_until };
                let answer = found.map(|schema_version| Arc::new(self.contract_of(schema_version)));
                self.make_room_for_contract();
                let versions = self.contracts.entry(id.name).or_default();
                if versions.insert(id.version, CachedAnswer { answer, until, transaction: self.asked_in }).is_none() {
                    self.contract_count += 1;
                }
            }
            Answer::Topic(name, answer) => {
                self.last_topic = None;
                let asked = self.request.as_ref().and_then(|request| match request {
                    Request::Topic(wanted) if wanted.name == name => Some((wanted.settings.clone(), wanted.named_by)),
                    _ => None,
                });
                self.answered(|request| matches!(request, Request::Topic(wanted) if wanted.name == name));
                if self.topics.len() >= ENTRIES_MAX {
                    self.topics.clear();
                }
                let entry = self.topics.entry(name).or_default();
                if let Some((settings, named_by)) = asked {
                    (entry.settings, entry.named_by) = (settings, named_by);
                }
                let until = match &answer {
                    Ok(_) => {
                        entry.patience = None;
                        None
                    }
                    Err(_) => {
                        let patience = entry.patience.get_or_insert(BackOff::new(REFUSAL_KEPT, TOPIC_REFUSAL_KEPT));
                        Some(now + patience.wait())
                    }
                };
                entry.kept = Some(CachedAnswer { answer, until, transaction: self.transaction });
            }
            Answer::Type(oid, answer) => {
                self.answered(|request| *request == Request::Type(oid));
                let until = if answer.is_some() { None } else { refused_until };
                if self.types.len() >= ENTRIES_MAX {
                    self.types.clear();
                }
                self.types.insert(oid, CachedAnswer { answer, until, transaction: self.transaction });
            }
            // The core keeps them.
            Answer::MessageKeys(_) => self.answered(|request| *request == Request::MessageKeys),
        }
    }

    /// The schema versions with statistics of their own, in the order of their numbers. Only grows.
    pub fn service_levels(&self) -> &[ServiceLevel] {
        &self.service_levels
    }

    /// Derives what is derived once.
    fn contract_of(&mut self, mut schema_version: SchemaVersion) -> KnownContract {
        let check = PayloadCheck::of(&schema_version);
        // Its text is no longer needed.
        schema_version.schema = None;
        let number = self.number(&schema_version);
        let SchemaVersionId { name, version } = &schema_version.id;
        KnownContract { data_schema: self.data_schema(name, version), schema_version, check, number }
    }

    /// The `ce_dataschema` header of a schema version, registered or not.
    pub fn data_schema(&self, name: &str, version: &str) -> String {
        data_schema::uri(&self.schema_base, name, version)
    }

    fn number(&mut self, schema_version: &SchemaVersion) -> ContractNumber {
        if let Some(number) = self.numbers.get(&schema_version.id) {
            return *number;
        }
        let Some(number) = ContractNumber::nth(self.service_levels.len()) else { return ContractNumber::NONE };
        let SchemaVersion { id, freshness, .. } = schema_version;
        self.service_levels.push(ServiceLevel { id: id.clone(), freshness: *freshness });
        self.numbers.insert(id.clone(), number);
        number
    }

    fn ask(&mut self, request: Request) {
        if self.request.as_ref() != Some(&request) {
            self.request = Some(request);
            self.asked = false;
            self.asked_in = self.transaction;
        }
    }

    fn answered(&mut self, is_asked: impl FnOnce(&Request) -> bool) {
        if self.request.as_ref().is_some_and(is_asked) {
            self.request = None;
            self.asked = false;
        }
    }

    fn make_room_for_contract(&mut self) {
        if self.contract_count >= ENTRIES_MAX {
            self.contracts.clear();
            self.contract_count = 0;
        }
    }
}

#[cfg(test)]
#[path = "metadata_cache_tests.rs"]
mod tests;
