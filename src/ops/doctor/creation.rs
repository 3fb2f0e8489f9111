//! Judges whether a missing topic can be created. Pure.

use rdkafka::types::RDKafkaErrorCode as Code;

use super::report::{Finding, failure, ok};
use crate::relay::boundary::TopicSettings;

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Events of schema versions.
    Events,
    DeadLetters,
    /// Positions of exactly-once delivery.
    Positions,
}

impl Use {
    pub(super) const fn check(self) -> &'static str {
        match self {
            Self::Events => "topic",
            Self::DeadLetters => "dead_letter_topic",
            Self::Positions => "positions_topic",
        }
    }
}

/// Whether a missing topic can be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Creation {
    /// Kafka validated the request.
    Allowed,
    /// `create_topics` is false.
    SwitchedOff,
    /// Kafka refused.
    Refused {
        /// The error, if Kafka answered.
        code: Option<Code>,
        /// Its words.
        reason: String,
        /// What was asked for.
        settings: TopicSettings,
    },
}

impl Creation {
    /// The finding about this topic. `acl` is the command that adds an ACL for an operation on it.
    pub(super) fn judge(&self, name: &str, of: Use, acl: &impl Fn(&str) -> String, servers: &str) -> Finding {
        let create = |options: &str| {
            format!("`kafka-topics.sh --bootstrap-server {servers} --create --topic {name}{}{options}`", options_of(of))
        };
        let what = match self {
            Self::Allowed => return ok(of.check(), format!("{name} does not exist yet: the relay creates it")),
            Self::SwitchedOff => {
                format!("{name} does not exist, and [relay] create_topics is false: run {}", create(""))
            }
            Self::Refused { code, reason, settings } => match code {
                Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => format!(
                    "{name} does not exist, and this client can't create it ({reason}): create it with another client, or {}",
                    acl("Create")
                ),
                Some(Code::InvalidReplicationFactor) => format!(
                    "{name} does not exist, and Kafka refuses to create it with {} ({reason}): add brokers, or run {} with a lower N",
                    settings.replication_factor.map_or_else(
                        || "the brokers' default.replication.factor".to_owned(),
                        |factor| format!("replication_factor {factor}")
                    ),
                    create(" --replication-factor N")
                ),
                Some(Code::InvalidPartitions) => format!(
                    "{name} does not exist, and Kafka refuses to create it with {} ({reason}): run {} with a valid N",
                    settings.partitions.map_or_else(
                        || "the brokers' num.partitions".to_owned(),
                        |count| format!("partitions {count}")
                    ),
                    create(" --partitions N")
                ),
                Some(Code::InvalidConfig) => format!(
                    "{name} does not exist, and Kafka refuses its configuration {} ({reason}): run {} with valid values",
                    serde_json::to_string(&settings.config).unwrap_or_default(),
                    create(" --config KEY=VALUE")
                ),
                Some(_) | None => {
                    format!("{name} does not exist, and Kafka refuses to create it ({reason}): run {}", create(""))
                }
            },
        };
        failure(of.check(), what)
    }
}

const fn options_of(of: Use) -> &'static str {
    match of {
        Use::Positions => " --partitions 1 --config cleanup.policy=compact",
        Use::DeadLetters => " --config retention.ms=-1",
        Use::Events => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::report::Severity;

    fn judged(creation: &Creation, of: Use) -> Finding {
        creation.judge("t", of, &|operation| format!("run `acl {operation}`"), "s:9092")
    }

    #[test]
    fn a_missing_topic_is_created_by_the_relay_or_with_the_command_shown() {
        assert_eq!(judged(&Creation::Allowed, Use::Positions).verdict, Severity::Ok);
        let off = judged(&Creation::SwitchedOff, Use::Positions);
        assert_eq!(off.verdict, Severity::Failure);
        let command = "--create --topic t --partitions 1 --config cleanup.policy=compact`";
        assert!(off.what.ends_with(command), "{}", off.what);
    }

    #[test]
    fn an_acl_is_the_fix_only_for_an_authorization_error() {
        let settings = TopicSettings {
            replication_factor: Some(3),
            config: [("retention.ms".to_owned(), "soon".to_owned())].into(),
            ..TopicSettings::default()
        };
        let refused = |code: Code| {
            let settings = settings.clone();
            judged(&Creation::Refused { code: Some(code), reason: code.to_string(), settings }, Use::Events).what
        };
        for code in [Code::TopicAuthorizationFailed, Code::ClusterAuthorizationFailed] {
            assert!(refused(code).ends_with("or run `acl Create`"), "{}", refused(code));
        }
        for (code, says) in [
            (Code::InvalidReplicationFactor, "replication_factor 3 (InvalidReplicationFactor"),
            (Code::InvalidConfig, r#"configuration {"retention.ms":"soon"} (InvalidConfig"#),
            (Code::InvalidPartitions, "num.partitions (InvalidPartitions"),
            (Code::PolicyViolation, "refuses to create it (PolicyViolation"),
        ] {
            let what = refused(code);
            assert!(what.contains(says) && what.contains("--create --topic t") && !what.contains("acl"), "{what}");
        }
    }
}
