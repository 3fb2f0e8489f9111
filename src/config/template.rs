//! `outbox.N.topic`: a topic's name with places for the values of columns.

use std::fmt;

use super::error::Complaint;
use super::names::{TopicName, is_topic_char};
use super::tree::shown;

/// A topic's name, in which some parts come from a row's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTemplate(Vec<TopicPart>);

/// A part of a topic's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicPart {
    /// These characters.
    Literal(String),
    /// The value of this column.
    Column(String),
}

impl TopicTemplate {
    /// The topic of Debezium's outbox event router.
    pub(super) fn debezium() -> Self {
        Self(vec![TopicPart::Literal("outbox.event.".to_owned()), TopicPart::Column("aggregatetype".to_owned())])
    }

    /// Parses a name with `{column}` in it.
    pub(super) fn parse(text: &str) -> Result<Self, Complaint> {
        let refused = |what: &str, mend: &str| Complaint::new(format!("{} {what}", shown(text)), mend);
        if !text.contains(['{', '}']) {
            return TopicName::parse(text).map(|name| Self(vec![TopicPart::Literal(name.as_str().to_owned())]));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, after) = rest.split_at(rest.find(['{', '}']).unwrap_or(rest.len()));
            if !literal.chars().all(is_topic_char) {
                return Err(refused("has a character that no topic takes", "write a-z, A-Z, 0-9, ., _ and -"));
            }
            if !literal.is_empty() {
                parts.push(TopicPart::Literal(literal.to_owned()));
            }
            let Some(inside) = after.strip_prefix('{') else {
                if after.is_empty() {
                    break;
                }
                return Err(refused("closes a brace that it did not open", "write {column}"));
            };
            let Some((column, after)) = inside.split_once('}') else {
                return Err(refused("does not close a brace", "write {column}"));
            };
            if column.is_empty() || column.contains('{') {
                return Err(refused("has no column in its braces", "write {column}"));
            }
            parts.push(TopicPart::Column(column.to_owned()));
            rest = after;
        }
        Ok(Self(parts))
    }

    /// The parts in order.
    #[must_use]
    pub fn parts(&self) -> &[TopicPart] {
        &self.0
    }

    /// The columns that the name needs.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            TopicPart::Column(column) => Some(column.as_str()),
            TopicPart::Literal(_) => None,
        })
    }

    /// The same template with the columns in the places of their roles.
    pub(super) fn with_columns<'c>(self, of_role: impl Fn(&str) -> Option<&'c str>) -> Self {
        let resolve = |part| match part {
            TopicPart::Column(role) => TopicPart::Column(of_role(&role).map_or(role, str::to_owned)),
            literal @ TopicPart::Literal(_) => literal,
        };
        Self(self.0.into_iter().map(resolve).collect())
    }
}

impl fmt::Display for TopicTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            TopicPart::Literal(text) => f.write_str(text),
            TopicPart::Column(column) => write!(f, "{{{column}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_literals_and_columns() {
        let template = TopicTemplate::parse("outbox.event.{aggregatetype}").expect("debezium's own");
        assert_eq!(template, TopicTemplate::debezium());
        assert_eq!(template.to_string(), "outbox.event.{aggregatetype}");
        let all = TopicTemplate::parse("{a}{b}-x").expect("two columns");
        assert_eq!(all.columns().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(TopicTemplate::parse("orders").expect("fixed").parts(), [TopicPart::Literal("orders".into())]);
    }

    #[test]
    fn a_role_becomes_its_column() {
        let template = TopicTemplate::debezium().with_columns(|role| (role == "aggregatetype").then_some("Kind"));
        assert_eq!(template.to_string(), "outbox.event.{Kind}");
    }

    #[test]
    fn bad_templates_are_refused() {
        for bad in ["", "a b", "a/{b}", "{", "}", "a}", "{}", "{a", "{a{b}}", "{a}}", "ä{b}", ".."] {
            assert!(TopicTemplate::parse(bad).is_err(), "{bad}");
        }
    }
}
