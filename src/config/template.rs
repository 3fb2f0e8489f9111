//! `outbox.N.topic`: a topic name with placeholders for column values.

use super::error::Complaint;
use super::names::TopicName;
use super::tree::shown;
use crate::relay::decode::outbox::TemplatePart;
use crate::relay::route::topic_name::is_legal_char;

/// Parses a name with `{role}` or `{column}`; `column_of` resolves the placeholder to a column.
pub(super) fn parse(
    text: &str,
    column_of: impl Fn(&str) -> Result<String, Complaint>,
) -> Result<Vec<TemplatePart>, Complaint> {
    let refused = |what: &str, fix: &str| Complaint::new(format!("{} {what}", shown(text)), fix);
    if !text.contains(['{', '}']) {
        let name = TopicName::parse(text)?;
        return Ok(vec![TemplatePart::Literal(name.as_str().to_owned())]);
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (literal, after) = rest.split_at(rest.find(['{', '}']).unwrap_or(rest.len()));
        if !literal.chars().all(is_legal_char) {
            return Err(refused(
                "has a character that is not allowed in topic names",
                "write a-z, A-Z, 0-9, ., _ and -",
            ));
        }
        if !literal.is_empty() {
            parts.push(TemplatePart::Literal(literal.to_owned()));
        }
        let Some(inside) = after.strip_prefix('{') else {
            if after.is_empty() {
                break;
            }
            return Err(refused("has a } without a {", "write {column}"));
        };
        let Some((name, after)) = inside.split_once('}') else {
            return Err(refused("has a { without a }", "write {column}"));
        };
        if name.is_empty() || name.contains('{') {
            return Err(refused("has empty braces", "write {column}"));
        }
        parts.push(TemplatePart::Column(column_of(name)?));
        rest = after;
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<TemplatePart>> {
        parse(text, |name| Ok(if name == "aggregatetype" { "Kind".to_owned() } else { name.to_owned() })).ok()
    }

    #[test]
    fn a_template_has_literals_and_columns() {
        let literal = |text: &str| TemplatePart::Literal(text.to_owned());
        let column = |name: &str| TemplatePart::Column(name.to_owned());
        assert_eq!(read("outbox.event.{aggregatetype}"), Some(vec![literal("outbox.event."), column("Kind")]));
        assert_eq!(read("{a}{b}-x"), Some(vec![column("a"), column("b"), literal("-x")]));
        assert_eq!(read("orders"), Some(vec![literal("orders")]));
    }

    #[test]
    fn bad_templates_are_refused() {
        for bad in ["", "a b", "a/{b}", "{", "}", "a}", "{}", "{a", "{a{b}}", "{a}}", "ä{b}", ".."] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
