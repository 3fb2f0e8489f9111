//! Judges facts about topics. Pure.

use std::collections::BTreeSet;

use super::creation::{Creation, Use};
use super::judge::bytes;
use super::report::{Finding, failure, ok, warning};
use crate::relay::route::destination::Forbidden;
use crate::sink::Compression;
use crate::source::RECORD_BYTES;

/// The compression codec, and which clients can't read it.
#[must_use]
pub(crate) fn compression(compression: Compression) -> Finding {
    let name = compression.as_str();
    match compression.is_read_by_kafkajs() {
        true => ok("compression", name),
        false => ok(
            "compression",
            format!(
                "{name}, which kafkajs can't read: if kafkajs clients consume these topics, set [kafka] compression to \"gzip\" or \"none\""
            ),
        ),
    }
}

impl Use {
    const fn needs(self) -> &'static [Operation] {
        match self {
            Self::Events | Self::DeadLetters => &[Operation::Write],
            Self::Positions => &[Operation::Read, Operation::Write],
        }
    }
}

/// An operation on a topic that a client may be authorized for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    /// Consume.
    Read,
    /// Produce.
    Write,
    /// See its configuration.
    DescribeConfigs,
}

impl Operation {
    /// By its number in Kafka's protocol (`AclOperation`); `None` for operations that a relay does not need.
    #[must_use]
    pub(crate) const fn of(number: u32) -> Option<Self> {
        match number {
            3 => Some(Self::Read),
            4 => Some(Self::Write),
            10 => Some(Self::DescribeConfigs),
            _ => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::DescribeConfigs => "DescribeConfigs",
        }
    }
}

/// A topic as this client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TopicState {
    /// Kafka did not describe it; why.
    Unanswered(String),
    /// This client is not authorized to describe it.
    Hidden,
    /// It does not exist.
    Missing {
        /// Whether it can be created.
        creation: Creation,
    },
    Present(ExistingTopic),
}

/// When a topic's records expire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retention {
    /// `retention.ms`; `None`: no limit.
    pub millis: Option<i64>,
    /// `retention.bytes` per partition; `None`: no limit.
    pub bytes: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExistingTopic {
    pub partitions: usize,
    /// How many of them have no leader.
    pub leaderless: usize,
    /// The smallest replica count of its partitions.
    pub replicas: usize,
    /// `max.message.bytes`; `None` if this client may not read it.
    pub max_message_bytes: Option<u64>,
    /// `min.insync.replicas`; `None` if this client may not read it.
    pub min_insync_replicas: Option<usize>,
    /// Whether `cleanup.policy` includes compact; `None` if this client may not read it.
    pub is_compacted: Option<bool>,
    /// Its retention; `None` if this client may not read it.
    pub retention: Retention,
    /// What this client is authorized to do; `None` if Kafka does not say.
    pub allowed: Option<BTreeSet<Operation>>,
}

/// A topic that a registered schema version names but to which the relay must not publish.
#[must_use]
pub(crate) fn forbidden(name: &str, why: Forbidden) -> Finding {
    let fix = match why {
        Forbidden::NotListed => {
            "add it to [relay] topics, or register a version with another topic and retire this one"
        }
        Forbidden::DeadLetters => {
            "register a version with another topic and retire this one, or give [relay] another dead_letter_topic"
        }
        Forbidden::Internal | Forbidden::Own => "register a version with another topic and retire this one",
    };
    let reason = why.reason(name);
    warning(
        "topic",
        format!("{reason}; a registered schema version names it, so its events become dead letters: {fix}"),
    )
}

#[must_use]
pub(crate) fn topic(name: &str, of: Use, state: &TopicState, servers: &str) -> Finding {
    let check = of.check();
    let acl = |operation: &str| {
        format!(
            "run `kafka-acls.sh --bootstrap-server {servers} --add --allow-principal User:... --operation {operation} --topic {name}`"
        )
    };
    match state {
        TopicState::Unanswered(reason) => failure(check, format!("cannot describe topic {name}: {reason}")),
        TopicState::Hidden => {
            failure(check, format!("this client is not authorized to describe topic {name}: {}", acl("Describe")))
        }
        TopicState::Missing { creation } => creation.judge(name, of, &acl, servers),
        TopicState::Present(topic) => present(name, of, topic, &acl, servers),
    }
}

fn present(name: &str, of: Use, topic: &ExistingTopic, acl: &impl Fn(&str) -> String, servers: &str) -> Finding {
    let check = of.check();
    let lacks = |operation: &&Operation| topic.allowed.as_ref().is_some_and(|allowed| !allowed.contains(operation));
    if let Some(operation) = of.needs().iter().find(lacks) {
        let verb = if *operation == Operation::Read { "read" } else { "write to" };
        return failure(
            check,
            format!("this client is not authorized to {verb} topic {name}: {}", acl(operation.as_str())),
        );
    }
    if of == Use::Positions && topic.partitions > 1 {
        let what = format!(
            "{name} has {} partitions, but positions need a total order: stop every relay that stores positions there, delete it and create it with one partition",
            topic.partitions
        );
        return failure(check, what);
    }
    if let Some(least) = topic.min_insync_replicas.filter(|least| *least > topic.replicas) {
        let what = format!(
            "{name} has {} replicas but min.insync.replicas is {least}, so Kafka refuses all writes to it: run `kafka-configs.sh --bootstrap-server {servers} --alter --topic {name} --add-config min.insync.replicas={}`, or give it more replicas",
            topic.replicas, topic.replicas
        );
        return failure(check, what);
    }
    if topic.leaderless > 0 {
        return warning(
            check,
            format!("{name}: {} of {} partitions lack a leader: check brokers", topic.leaderless, topic.partitions),
        );
    }
    if of == Use::Positions && topic.is_compacted == Some(false) {
        return warning(
            check,
            format!(
                "{name} is not compacted, so positions may expire: run `kafka-configs.sh --bootstrap-server {servers} --alter --topic {name} --add-config cleanup.policy=compact`"
            ),
        );
    }
    if of == Use::DeadLetters && topic.is_compacted == Some(true) {
        return warning(
            check,
            format!(
                "{name} is compacted: it refuses dead letters without a key, which blocks the relay, and keeps only the last one per key: run `kafka-configs.sh --bootstrap-server {servers} --alter --topic {name} --add-config cleanup.policy=delete`"
            ),
        );
    }
    if of == Use::DeadLetters
        && let Some(expiry) = expiry(topic.retention)
    {
        return warning(
            check,
            format!(
                "{name} keeps {expiry}, so dead letters that are not redriven by then are lost: run `kafka-configs.sh --bootstrap-server {servers} --alter --topic {name} --add-config retention.ms=-1,retention.bytes=-1`"
            ),
        );
    }
    let size = topic.max_message_bytes.map(|limit| format!(", records up to {}", bytes(limit))).unwrap_or_default();
    let rights = if topic.allowed.is_some() { ", writable" } else { "" };
    let partitions = if topic.partitions == 1 { "partition" } else { "partitions" };
    ok(check, format!("{name}: {} {partitions}{size}{rights}", topic.partitions))
}

/// Describes a topic's retention; `None` if records never expire.
fn expiry(retention: Retention) -> Option<String> {
    let age = retention.millis.map(|millis| format!("records for {} (retention.ms)", duration(millis)));
    let size = retention.bytes.and_then(|limit| u64::try_from(limit).ok());
    let size = size.map(|limit| format!("{} per partition (retention.bytes)", bytes(limit)));
    let both: Vec<String> = [age, size].into_iter().flatten().collect();
    (!both.is_empty()).then(|| both.join(" and "))
}

fn duration(millis: i64) -> String {
    match u64::try_from(millis).unwrap_or(0) / 1_000 {
        seconds if seconds >= 2 * 86_400 => format!("{} days", seconds / 86_400),
        seconds => indicatif::HumanDuration(std::time::Duration::from_secs(seconds)).to_string(),
    }
}

/// Compares the record size limits of event topics, the dead-letter topic and the client.
#[must_use]
pub(crate) fn message_size(
    events: &[(String, u64)],
    dead_letters: Option<u64>,
    client: Option<u64>,
    servers: &str,
    dead_letter_topic: &str,
) -> Finding {
    let check = "message_size";
    let Some((largest, limit)) = events.iter().max_by_key(|(_, limit)| *limit) else {
        return ok(check, "max.message.bytes is not known for any event topic yet");
    };
    let default = RECORD_BYTES as u64;
    let reads = client.unwrap_or(default);
    if reads < *limit {
        let fix = match *limit <= default {
            true => "remove the property".to_owned(),
            false => format!("set the property to {limit}"),
        };
        let which = if client.is_none() { " by default" } else { "" };
        return warning(
            check,
            format!(
                "\"message.max.bytes\" in [kafka] properties is {reads}{which}, but topic {largest} allows {limit}: records in between become dead letters: {fix}"
            ),
        );
    }
    if let Some(dead_letters) = dead_letters.filter(|dead_letters| dead_letters < limit) {
        return warning(
            check,
            format!(
                "{dead_letter_topic} allows records up to {dead_letters} bytes but {largest} up to {limit}: a larger dead letter loses its value: run `kafka-configs.sh --bootstrap-server {servers} --alter --topic {dead_letter_topic} --add-config max.message.bytes={limit}`"
            ),
        );
    }
    ok(check, format!("records up to {} are accepted, and fit in the dead-letter topic", bytes(*limit)))
}

#[cfg(test)]
mod tests {
    use super::super::report::Severity::{Failure, Ok, Warning};
    use super::*;

    fn fit() -> ExistingTopic {
        ExistingTopic {
            partitions: 1,
            leaderless: 0,
            replicas: 1,
            max_message_bytes: Some(1_000_000),
            min_insync_replicas: Some(1),
            is_compacted: Some(false),
            retention: Retention::default(),
            allowed: Some([Operation::Read, Operation::Write].into()),
        }
    }

    fn verdict(of: Use, topic: ExistingTopic) -> super::super::report::Severity {
        super::topic("t", of, &TopicState::Present(topic), "s").verdict
    }

    #[test]
    fn topics_are_judged_by_their_use() {
        assert_eq!(verdict(Use::Events, fit()), Ok);
        assert_eq!(verdict(Use::Events, ExistingTopic { is_compacted: Some(true), ..fit() }), Ok);
        assert_eq!(verdict(Use::DeadLetters, ExistingTopic { is_compacted: Some(true), ..fit() }), Warning);
        let expires = ExistingTopic { retention: Retention { millis: Some(604_800_000), bytes: None }, ..fit() };
        assert_eq!((verdict(Use::Events, expires.clone()), verdict(Use::DeadLetters, fit())), (Ok, Ok));
        let told = topic("t", Use::DeadLetters, &TopicState::Present(expires), "s:9092");
        assert_eq!(told.verdict, Warning);
        assert!(
            told.what.contains("for 7 days (retention.ms)") && told.what.contains("retention.ms=-1"),
            "{}",
            told.what
        );
        assert_eq!(verdict(Use::Positions, fit()), Warning);
        assert_eq!(verdict(Use::Positions, ExistingTopic { is_compacted: Some(true), ..fit() }), Ok);
        assert_eq!(verdict(Use::Positions, ExistingTopic { partitions: 2, ..fit() }), Failure);
        assert_eq!(verdict(Use::Events, ExistingTopic { leaderless: 1, ..fit() }), Warning);
        assert_eq!(verdict(Use::Events, ExistingTopic { min_insync_replicas: Some(2), ..fit() }), Failure);
        let only = |operation| ExistingTopic { allowed: Some([operation].into()), ..fit() };
        assert_eq!(verdict(Use::Events, only(Operation::Read)), Failure);
        assert_eq!(verdict(Use::Events, only(Operation::Write)), Ok);
        assert_eq!(verdict(Use::Positions, only(Operation::Write)), Failure);
        assert_eq!(verdict(Use::Events, ExistingTopic { allowed: None, max_message_bytes: None, ..fit() }), Ok);
    }

    #[test]
    fn the_dead_letter_topic_and_the_client_must_allow_what_event_topics_allow() {
        let events = [("a".to_owned(), 100), ("b".to_owned(), 200)];
        let size = |dead_letters, client| message_size(&events, dead_letters, client, "s", "l").verdict;
        assert_eq!(size(Some(200), None), Ok);
        assert_eq!(size(None, Some(200)), Ok);
        assert_eq!(size(Some(199), None), Warning);
        assert_eq!(size(Some(200), Some(199)), Warning);
        assert_eq!(message_size(&[], Some(1), Some(1), "s", "l").verdict, Ok);
        let large = RECORD_BYTES as u64 + 1;
        let large = message_size(&[("large".to_owned(), large)], Some(large), None, "s", "l");
        assert!(large.verdict == Warning && large.what.ends_with("set the property to 67108865"), "{large:?}");
    }
}
