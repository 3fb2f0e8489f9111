//! `relay.topics` and `relay.dead_letter_topic`: where records may go, as far as the configuration itself says where they go.

use super::error::Complaint;
use super::names::TopicName;
use super::tree::{Node, Value, shown};
use crate::relay::decode::outbox::TemplatePart;
use crate::relay::publish::encode::HeaderStyle;
use crate::relay::route::destination::{Destinations, Forbidden, PATTERN_BYTES_MAX, TopicPattern, kept};

/// Most patterns of `relay.topics`.
const PATTERNS_MAX: usize = 1_000;

/// What an outbox table is held to.
pub(super) struct Rules<'a> {
    pub(super) destinations: &'a Destinations,
    pub(super) style: HeaderStyle,
}

/// Parses `["orders.*"]`, or the same parted by commas.
pub(super) fn patterns(value: &Value) -> Result<Vec<TopicPattern>, Complaint> {
    let items: Vec<&str> = match value {
        Value::List(items) => items.iter().map(|Node { value, .. }| value.as_text()).collect::<Result<_, _>>()?,
        Value::Text(_) | Value::Variable(_) => value.as_text()?.split(',').map(str::trim).collect(),
        other => return Err(other.is_not("a list of patterns", "write [\"orders.*\", \"payments\"]")),
    };
    if items.is_empty() || items.len() > PATTERNS_MAX {
        let mend = format!("give 1 to {PATTERNS_MAX} patterns, or leave it out to allow every topic");
        return Err(Complaint::new(format!("has {} patterns", items.len()), mend));
    }
    let pattern = |text: &&str| {
        TopicPattern::parse(text).ok_or_else(|| {
            let mend = format!("write 1 to {PATTERN_BYTES_MAX} of a-z, A-Z, 0-9, ., _ and -, with * for any of them");
            Complaint::new(format!("{} is no pattern of topic names", shown(text)), mend)
        })
    };
    items.iter().map(pattern).collect()
}

/// Parses the name of a topic that the relay may write dead letters to.
pub(super) fn dead_letter_topic(value: &Value) -> Result<TopicName, Complaint> {
    let topic = TopicName::parse(value.as_text()?)?;
    match kept(topic.as_str()) {
        Some(forbidden) => Err(Complaint::new(forbidden.reason(topic.as_str()), "choose another name")),
        None => Ok(topic),
    }
}

/// Checks a table's topic, as far as it does not depend on the rows.
pub(super) fn check_template(parts: &[TemplatePart], destinations: &Destinations) -> Result<(), Complaint> {
    let (topic, forbidden) = match parts {
        [TemplatePart::Literal(topic)] => (topic, destinations.check(topic).err()),
        // Whatever follows.
        [TemplatePart::Literal(start), ..] => {
            (start, kept(&format!("{start}x")).filter(|kept| *kept == Forbidden::Internal))
        }
        _ => return Ok(()),
    };
    let mend = match forbidden {
        None => return Ok(()),
        Some(Forbidden::NotListed) => "choose another topic, or add it to relay.topics",
        Some(_) => "choose another topic",
    };
    Err(Complaint::new(forbidden.map(|forbidden| forbidden.reason(topic)).unwrap_or_default(), mend))
}
