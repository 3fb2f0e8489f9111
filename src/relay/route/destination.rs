//! The topics that events may go to: none that Kafka or walpost reserves, and none outside the allow-list.
//!
//! A row's writer chooses its topic, and so does whoever registers a schema version or writes to the dead-letter
//! topic. [`Destinations`] restricts all of them: rows, contracts, redriven records and replays.

use std::fmt;

use super::topic_name::{BYTES_MAX, is_legal_char, is_same};
use crate::relay::boundary::TopicSettings;

/// Where each exactly-once relay stores its position.
pub const POSITIONS_TOPIC: &str = "walpost.positions";
/// Which dead letters were redriven or discarded.
pub const REDRIVEN_TOPIC: &str = "walpost.redriven";

/// A glob for topic names: `*` matches any run of characters, including none and dots; every other character matches
/// itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPattern(String);

impl TopicPattern {
    /// Parses a pattern. `None`: no topic name could match it, or it is longer than one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_legal = |c: char| c == '*' || is_legal_char(c);
        let is_pattern = (1..=BYTES_MAX).contains(&text.len()) && text.chars().all(is_legal);
        is_pattern.then(|| Self(text.to_owned()))
    }

    /// The pattern that matches every name.
    #[must_use]
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// Whether the whole name matches.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        let (pattern, topic) = (self.0.as_bytes(), topic.as_bytes());
        let (mut at, mut in_topic) = (0, 0);
        // After the last `*`, and how much of the topic that `*` has matched so far.
        let mut star: Option<(usize, usize)> = None;
        while in_topic < topic.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    at += 1;
                    star = Some((at, in_topic));
                }
                Some(byte) if *byte == topic[in_topic] => {
                    at += 1;
                    in_topic += 1;
                }
                _ => {
                    let Some((behind, taken)) = star else { return false };
                    at = behind;
                    in_topic = taken + 1;
                    star = Some((behind, in_topic));
                }
            }
        }
        pattern[at..].iter().all(|byte| *byte == b'*')
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why events may not go to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// Reserved by Kafka.
    Internal,
    /// Reserved by walpost.
    Own,
    /// Dead letters go there.
    DeadLetters,
    /// No pattern of `[relay] topics` matches it.
    NotListed,
}

impl Forbidden {
    /// The sentence about this topic.
    #[must_use]
    pub fn reason(self, topic: &str) -> String {
        format!("topic {topic} {self}")
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Internal => "is reserved: names starting with two underscores are Kafka's internal topics",
            Self::Own => "is reserved for walpost's own state",
            Self::DeadLetters => "is reserved: it is the relay's dead-letter topic",
            Self::NotListed => "is not allowed: no pattern of [relay] topics matches it",
        })
    }
}

/// The topics that events may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destinations {
    dead_letter_topic: String,
    /// `None`: every topic that is not reserved.
    allowed: Option<Vec<TopicPattern>>,
}

impl Destinations {
    /// Every topic that matches one of `allowed` and is not reserved.
    #[must_use]
    pub fn new(dead_letter_topic: &str, allowed: &[TopicPattern]) -> Self {
        let is_open = allowed.contains(&TopicPattern::any());
        Self { dead_letter_topic: dead_letter_topic.to_owned(), allowed: (!is_open).then(|| allowed.to_vec()) }
    }

    /// Whether events may go to this topic. Called for every event, so it allocates nothing.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, topic: &str) -> Result<(), Forbidden> {
        kept(topic).map_or(Ok(()), Err)?;
        if is_same(topic, &self.dead_letter_topic) {
            return Err(Forbidden::DeadLetters);
        }
        match &self.allowed {
            Some(allowed) if !allowed.iter().any(|pattern| pattern.matches(topic)) => Err(Forbidden::NotListed),
            _ => Ok(()),
        }
    }
}

/// Settings for creating the dead-letter topic: dead letters stay until they are redriven or discarded, and a
/// record's timestamp is that of its event's commit, which may be old already.
#[must_use]
pub fn dead_letter_settings() -> TopicSettings {
    let config = [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];
    let config = config.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    TopicSettings { config, ..TopicSettings::default() }
}

/// Whether Kafka or walpost reserves this topic, in any configuration.
#[must_use]
pub fn kept(topic: &str) -> Option<Forbidden> {
    match topic.as_bytes() {
        // `__consumer_offsets`, `__transaction_state`, `__cluster_metadata`, `__share_group_state` and future ones.
        [b'_' | b'.', b'_' | b'.', _, ..] => Some(Forbidden::Internal),
        _ if [POSITIONS_TOPIC, REDRIVEN_TOPIC].into_iter().any(|own| is_same(topic, own)) => Some(Forbidden::Own),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::parse(text).expect("a pattern")
    }

    #[test]
    fn case_39_topics_of_kafka_and_of_walpost_are_reserved_also_with_dots_for_underscores() {
        let destinations = Destinations::new("outbox.dead-letter", &[TopicPattern::any()]);
        for (topic, expected) in [
            ("__consumer_offsets", Err(Forbidden::Internal)),
            ("__transaction_state", Err(Forbidden::Internal)),
            ("__cluster_metadata", Err(Forbidden::Internal)),
            ("__share_group_state", Err(Forbidden::Internal)),
            ("_.consumer_offsets", Err(Forbidden::Internal)),
            ("walpost.positions", Err(Forbidden::Own)),
            ("walpost_positions", Err(Forbidden::Own)),
            ("walpost.redriven", Err(Forbidden::Own)),
            ("outbox.dead-letter", Err(Forbidden::DeadLetters)),
            ("outbox_dead-letter", Err(Forbidden::DeadLetters)),
            ("_schemas", Ok(())),
            ("orders", Ok(())),
            ("walpost.orders", Ok(())),
            ("", Ok(())),
        ] {
            assert_eq!(destinations.check(topic), expected, "{topic}");
        }
    }

    #[test]
    fn a_pattern_matches_whole_names_and_a_star_any_run_of_characters() {
        for (text, topic, expected) in [
            ("orders", "orders", true),
            ("orders", "orders.v2", false),
            ("orders.*", "orders.eu.v2", true),
            ("orders.*", "orders", false),
            ("orders*", "orders", true),
            ("*.v2", "orders.v2", true),
            ("*.v2", "orders.v2.v3", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("*", "", true),
            ("**", "anything", true),
        ] {
            assert_eq!(pattern(text).matches(topic), expected, "{text} {topic}");
        }
        let slow = pattern(&"*a".repeat(124));
        assert!(!slow.matches(&"a".repeat(123)) && slow.matches(&"a".repeat(124)));
        for bad in ["", "a b", "ä", "a?", "[a]", &"x".repeat(250)] {
            assert_eq!(TopicPattern::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_allow_list_allows_no_reserved_topic() {
        let destinations = Destinations::new("dead", &[pattern("orders.*"), pattern("_*"), pattern("de*")]);
        assert_eq!(destinations.check("orders.eu"), Ok(()));
        assert_eq!(destinations.check("payments"), Err(Forbidden::NotListed));
        assert_eq!(destinations.check("__consumer_offsets"), Err(Forbidden::Internal));
        assert_eq!(destinations.check("dead"), Err(Forbidden::DeadLetters));
    }
}
