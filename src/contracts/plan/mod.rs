//! Plans the changes that bring the database and Kafka in line with the contract files, and refuses some. Pure.

use std::collections::BTreeMap;

use serde_json::Value;
use walpost_producer::schema::SchemaFault;
use walpost_producer::schema::inspect::inspect;

use super::compatibility::{self, Breach, Compatibility, Version};
use super::definition::{Definition, Status};
use super::diagnostic::Place;
use super::difference::differences;
use super::files::newest;
use super::registered::Registered;
use super::version;
use crate::relay::boundary::TopicSettings;
use crate::relay::route::destination::{Destinations, Forbidden};
use crate::terminal::visible;

/// The current state of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicState {
    /// It does not exist.
    Missing,
    /// It exists.
    Present {
        /// Number of partitions.
        partitions: i32,
        /// Replicas of its first partition.
        replication_factor: i16,
        /// Every property, including broker defaults.
        config: BTreeMap<String, String>,
        /// The properties set on this topic.
        set: BTreeMap<String, String>,
    },
}

/// All planned changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The schema versions of the files, in order of registration.
    pub versions: Vec<VersionPlan>,
    /// Their topics.
    pub topics: Vec<TopicPlan>,
}

/// The plan for one schema version.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionPlan {
    /// Its definition.
    pub definition: Definition,
    /// The action.
    pub action: VersionAction,
    /// Why the action is refused; empty if it is not.
    pub refusals: Vec<Refusal>,
}

/// The action for a schema version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionAction {
    /// Register it.
    Register,
    /// Nothing: it is registered like this.
    Unchanged,
    /// Change its status.
    SetStatus {
        /// The current status.
        from: String,
        /// The contract's status.
        to: &'static str,
    },
    /// Nothing: it is a draft.
    Draft,
}

/// Why a change is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is registered with a different definition, which is immutable.
    Immutable {
        /// Each difference.
        differences: Vec<String>,
    },
    /// Consumers could not read events.
    Incompatible(compatibility::Incompatibility),
    /// A registered version has an unusable schema, so nothing can be compared with it.
    Incomparable {
        /// The version.
        version: String,
        /// What is wrong with its schema.
        fault: SchemaFault,
    },
    /// It would become the latest registered, which is emitted by default, but is older than a registered version.
    Older {
        /// The latest registered version.
        latest: String,
    },
    /// A topic change that Kafka can't make or that would break consumers.
    Topic(String),
}

impl Refusal {
    /// The rule's name in reports.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Immutable { .. } => "immutable",
            Self::Incompatible(incompatibility) => incompatibility.breach.rule.as_str(),
            Self::Incomparable { .. } => "incomparable",
            Self::Older { .. } => "version_order",
            Self::Topic(_) => "topic",
        }
    }

    /// The property of the payload that it concerns.
    #[must_use]
    pub fn property(&self) -> Option<&str> {
        match self {
            Self::Incompatible(compatibility::Incompatibility { breach: Breach { property, .. }, .. }) => {
                Some(property)
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Immutable { differences } => {
                write!(
                    f,
                    "immutable: it is registered with a different definition; put the change into a new version"
                )?;
                differences.iter().try_for_each(|difference| write!(f, "\n        {difference}"))
            }
            Self::Incompatible(incompatibility) => f.write_str(&visible(&incompatibility.to_string())),
            Self::Incomparable { version, fault } => write!(
                f,
                "incomparable: the registered schema of {version} is unusable for comparison: {fault}; retire it, and register \
                 this one with compatibility none"
            ),
            Self::Older { latest } => write!(
                f,
                "version_order: {latest} is already registered, and the version registered last is the one emitted \
                 by default; use a higher version, or remove this file"
            ),
            Self::Topic(what) => write!(f, "topic: {what}"),
        }
    }
}

/// The plan for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    /// Where it is defined.
    pub place: Place,
    /// The action.
    pub action: TopicAction,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
    /// Why the action is refused; empty if it is not.
    pub refusals: Vec<Refusal>,
}

/// The action for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicAction {
    /// Create it.
    Create {
        /// Its settings.
        settings: TopicSettings,
    },
    /// Alter it.
    Alter {
        /// Current and planned partition count, if it changes.
        partitions: Option<(i32, i32)>,
        /// The properties that change.
        config: Vec<PropertyChange>,
        /// The properties set on it that stay.
        keep: BTreeMap<String, String>,
    },
    /// Nothing: it matches the contract.
    Unchanged,
    /// Unknown: Kafka was not queried.
    Unknown,
}

/// A changed topic property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyChange {
    /// Its name.
    pub name: String,
    /// The current value.
    pub present: String,
    /// The planned value.
    pub wanted: String,
}

impl Plan {
    /// Makes a plan. `definitions` are those of the files, by name and version; `registered` those of the database, in order of
    /// registration; `topics` is the state of Kafka, `None` if it was not queried.
    #[must_use]
    pub fn new(
        definitions: &[Definition],
        registered: &[Registered],
        topics: Option<&BTreeMap<String, TopicState>>,
    ) -> Self {
        let mut versions = Vec::new();
        for (index, definition) in definitions.iter().enumerate() {
            let before = definitions[..index]
                .iter()
                .filter(|other| other.name == definition.name && other.status != Status::Draft);
            versions.push(plan_version(definition, before, registered));
        }
        let mut planned: BTreeMap<&str, TopicPlan> = BTreeMap::new();
        for definition in newest(definitions) {
            planned.entry(&definition.topic).or_insert_with(|| plan_topic(definition, topics));
        }
        Self { versions, topics: planned.into_values().collect() }
    }

    /// Refuses topics to which the relay must not publish.
    pub fn restrict(&mut self, destinations: &Destinations) {
        for topic in &mut self.topics {
            if let Err(forbidden) = destinations.check(&topic.name) {
                let fix = match forbidden {
                    Forbidden::NotListed => "add it there, or set another physicalName",
                    Forbidden::Internal | Forbidden::Own | Forbidden::DeadLetters => "set another physicalName",
                };
                let what = format!("it {forbidden}; its events would become dead letters; {fix}");
                topic.refusals.push(Refusal::Topic(what));
            }
        }
    }

    /// Every refusal, with the name of what is refused.
    pub fn refusals(&self) -> impl Iterator<Item = (String, &Refusal)> {
        let versions = self.versions.iter().flat_map(|plan| {
            let name = format!("{}/{}", plan.definition.name, plan.definition.version);
            plan.refusals.iter().map(move |refusal| (name.clone(), refusal))
        });
        let topics = self
            .topics
            .iter()
            .flat_map(|plan| plan.refusals.iter().map(|refusal| (format!("topic {}", plan.name), refusal)));
        versions.chain(topics)
    }

    /// Whether nothing is refused.
    #[must_use]
    pub fn may_apply(&self) -> bool {
        self.refusals().next().is_none()
    }

    /// The number of versions to register, statuses to set, topics to create and topics to alter, without refused ones.
    #[must_use]
    pub fn counts(&self) -> [usize; 4] {
        let versions = |is: fn(&VersionAction) -> bool| {
            self.versions.iter().filter(|plan| plan.refusals.is_empty() && is(&plan.action)).count()
        };
        let topics = |is: fn(&TopicAction) -> bool| {
            self.topics.iter().filter(|plan| plan.refusals.is_empty() && is(&plan.action)).count()
        };
        [
            versions(|action| *action == VersionAction::Register),
            versions(|action| matches!(action, VersionAction::SetStatus { .. })),
            topics(|action| matches!(action, TopicAction::Create { .. })),
            topics(|action| matches!(action, TopicAction::Alter { .. })),
        ]
    }
}

fn plan_version<'a>(
    definition: &'a Definition,
    before: impl Iterator<Item = &'a Definition>,
    registered: &[Registered],
) -> VersionPlan {
    let mut plan = VersionPlan { definition: definition.clone(), action: VersionAction::Draft, refusals: Vec::new() };
    if definition.status == Status::Draft {
        return plan;
    }
    let of_name: Vec<&Registered> = registered.iter().filter(|other| other.name == definition.name).collect();
    if let Some(present) = of_name.iter().find(|other| other.version == definition.version) {
        let differences = differences(present, definition);
        if !differences.is_empty() {
            plan.refusals.push(Refusal::Immutable { differences });
        }
        plan.action = match definition.status.registered() {
            Some(to) if to != present.status => VersionAction::SetStatus { from: present.status.clone(), to },
            _ => VersionAction::Unchanged,
        };
        return plan;
    }
    plan.action = VersionAction::Register;
    let is_registered = |other: &&Definition| of_name.iter().any(|registered| registered.version == other.version);
    let new: Vec<&Definition> = before.filter(|other| !is_registered(other)).collect();
    if let Some(latest) = of_name.last().filter(|latest| is_older(&definition.version, &latest.version)) {
        plan.refusals.push(Refusal::Older { latest: latest.version.clone() });
    }
    let kind = definition.compatibility;
    let mut earlier = Vec::new();
    // The last registered version is the previous one, unless the files have a new one in between.
    let compared = if kind.is_transitive() { of_name.len() } else { usize::from(new.is_empty()).min(of_name.len()) };
    for other in &of_name[of_name.len() - compared..] {
        // It was registered by SQL: definitions from files are compiled before they get here.
        match other.schema.as_ref().map_or(Ok(()), inspect) {
            Ok(()) => earlier.push(Version { version: &other.version, schema: other.schema.as_ref() }),
            Err(_) if kind == Compatibility::None => {}
            Err(fault) => plan.refusals.push(Refusal::Incomparable { version: other.version.clone(), fault }),
        }
    }
    earlier.extend(new.iter().map(|other| Version { version: &other.version, schema: schema(other) }));
    let own = Version { version: &definition.version, schema: schema(definition) };
    plan.refusals.extend(compatibility::check(kind, own, &earlier).into_iter().map(Refusal::Incompatible));
    plan
}

fn schema(definition: &Definition) -> Option<&Value> {
    definition.schema.as_ref().map(|schema| &schema.value)
}

/// Only if both versions start with a number: names have no order.
fn is_older(new: &str, latest: &str) -> bool {
    let counts =
        |version: &str| version.trim_start_matches(['v', 'V']).starts_with(|first: char| first.is_ascii_digit());
    counts(new) && counts(latest) && version::compare(new, latest).is_lt()
}

fn plan_topic(definition: &Definition, topics: Option<&BTreeMap<String, TopicState>>) -> TopicPlan {
    let settings = &definition.topic_settings;
    let mut plan = TopicPlan {
        name: definition.topic.clone(),
        place: definition.place.clone(),
        action: TopicAction::Unknown,
        warnings: Vec::new(),
        refusals: Vec::new(),
    };
    let Some(topics) = topics else { return plan };
    let Some(TopicState::Present { partitions, replication_factor, config, set }) = topics.get(&definition.topic)
    else {
        plan.action = TopicAction::Create { settings: settings.clone() };
        return plan;
    };
    let mut grown = None;
    match settings.partitions {
        Some(wanted) if wanted > *partitions => {
            grown = Some((*partitions, wanted));
            let keys = "keys move to other partitions, so events of one key are not ordered across the change";
            plan.warnings.push(format!("{partitions} to {wanted} partitions: {keys}"));
        }
        Some(wanted) if wanted < *partitions => {
            plan.refusals.push(Refusal::Topic(format!(
                "it has {partitions} partitions, the contract says {wanted}, and Kafka can't remove partitions"
            )));
        }
        _ => {}
    }
    if let Some(wanted) = settings.replication_factor.filter(|wanted| wanted != replication_factor) {
        let how = "change it with kafka-reassign-partitions";
        plan.warnings.push(format!("it has {replication_factor} replicas, the contract says {wanted}: {how}"));
    }
    let mut changes = Vec::new();
    for (name, wanted) in &settings.config {
        match config.get(name) {
            None => plan.refusals.push(Refusal::Topic(format!("Kafka has no topic property {name}"))),
            Some(present) if present.trim() == wanted.trim() => {}
            Some(present) => {
                changes.push(PropertyChange { name: name.clone(), present: present.clone(), wanted: wanted.clone() });
            }
        }
    }
    let keep = set.iter().filter(|(name, _)| !changes.iter().any(|change| change.name == **name));
    let keep = keep.map(|(name, value)| (name.clone(), value.clone())).collect();
    plan.action = match (grown, changes.is_empty()) {
        (None, true) => TopicAction::Unchanged,
        (partitions, _) => TopicAction::Alter { partitions, config: changes, keep },
    };
    plan
}

#[cfg(test)]
mod tests;
