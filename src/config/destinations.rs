//! `relay.topics` and `relay.dead_letter_topic`: the topics that records may go to, checked against topics in the configuration.

use super::error::Complaint;
use super::names::TopicName;
use super::tree::{TreeNode, TreeValue, shown};
use crate::relay::HeaderStyle;
use crate::relay::decode::outbox::TemplatePart;
use crate::relay::route::destination::{Destinations, Forbidden, TopicPattern, kept};
use crate::relay::route::topic_name::ALLOWED;

/// Most patterns of `relay.topics`.
const PATTERNS_MAX: usize = 1_000;

/// Rules for the outbox tables' topics and headers.
pub(super) struct OutboxRules<'a> {
    pub(super) destinations: &'a Destinations,
    pub(super) style: HeaderStyle,
}

/// Parses `["orders.*"]`, or a comma-separated string.
pub(super) fn patterns(value: &TreeValue) -> Result<Vec<TopicPattern>, Complaint> {
    let items: Vec<&str> = match value {
        TreeValue::List(items) => {
            items.iter().map(|TreeNode { value, .. }| value.as_text()).collect::<Result<_, _>>()?
        }
        TreeValue::Text(_) | TreeValue::Variable(_) => value.as_text()?.split(',').map(str::trim).collect(),
        other => return Err(other.is_not("a list of patterns", "write [\"orders.*\", \"payments\"]")),
    };
    if items.is_empty() || items.len() > PATTERNS_MAX {
        let fix = format!("give 1 to {PATTERNS_MAX} patterns, or remove the key to allow every topic");
        return Err(Complaint::new(format!("has {} patterns", items.len()), fix));
    }
    let pattern = |text: &&str| {
        TopicPattern::parse(text).ok_or_else(|| {
            let fix = format!("write {ALLOWED}, with * for any of them");
            Complaint::new(format!("{} is not a topic pattern", shown(text)), fix)
        })
    };
    items.iter().map(pattern).collect()
}

/// Parses the dead-letter topic.
pub(super) fn dead_letter_topic(value: &TreeValue) -> Result<TopicName, Complaint> {
    let topic = TopicName::parse(value.as_text()?)?;
    match kept(topic.as_str()) {
        Some(forbidden) => Err(Complaint::new(forbidden.reason(topic.as_str()), "choose another name")),
        None => Ok(topic),
    }
}

/// Checks the part of a table's topic that does not depend on rows.
pub(super) fn check_template(parts: &[TemplatePart], destinations: &Destinations) -> Result<(), Complaint> {
    let (topic, forbidden) = match parts {
        [TemplatePart::Literal(topic)] => (topic, destinations.check(topic).err()),
        // Whatever the rest becomes.
        [TemplatePart::Literal(start), ..] => {
            (start, kept(&format!("{start}x")).filter(|kept| *kept == Forbidden::Internal))
        }
        _ => return Ok(()),
    };
    let fix = match forbidden {
        None => return Ok(()),
        Some(Forbidden::NotListed) => "choose another topic, or add it to relay.topics",
        Some(_) => "choose another topic",
    };
    Err(Complaint::new(forbidden.map(|forbidden| forbidden.reason(topic)).unwrap_or_default(), fix))
}
