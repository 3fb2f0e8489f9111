//! URIs and URI references (RFC 3986), which CloudEvents requires of some headers.

use super::error::Complaint;
use super::tree::{TreeValue, shown};
use crate::relay::route::data_schema::is_absolute;

/// Longest URI, in bytes: it is part of every record.
const BYTES_MAX: usize = 256;

/// Checks `relay.source`: a nonempty URI reference.
pub(super) fn source(value: &TreeValue) -> Result<String, Complaint> {
    let text = value.as_text()?;
    // A colon in the first segment would make it a scheme.
    let is_relative = !text.split(['/', '?', '#']).next().unwrap_or_default().contains(':');
    if !text.is_empty() && has_legal_characters(text) && (is_relative || is_absolute(text)) {
        return Ok(text.to_owned());
    }
    let fix =
        format!("write at most {BYTES_MAX} characters, such as \"/orders\", with other characters percent-encoded");
    Err(Complaint::new(format!("{} is not a URI reference", shown(text)), fix))
}

/// Checks `relay.schema_base`: the prefix of absolute URIs.
pub(super) fn schema_base(value: &TreeValue) -> Result<String, Complaint> {
    let text = value.as_text()?;
    if has_legal_characters(text) && is_absolute(text) {
        return Ok(text.to_owned());
    }
    let fix = format!(
        "write at most {BYTES_MAX} characters with a scheme, such as \"urn:example:schema:\" or \"https://schemas.example.com/\", \
         others percent-encoded"
    );
    Err(Complaint::new(format!("{} is not the start of an absolute URI", shown(text)), fix))
}

fn has_legal_characters(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c);
    let is_escape =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    text.len() <= BYTES_MAX
        && text.chars().all(legal)
        && text.split('%').skip(1).all(is_escape)
        && text.matches('#').count() <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_uri_reference_and_a_schema_base_a_uri() {
        let text = |text: &str| TreeValue::Text(text.to_owned());
        for (legal, is_base) in [
            ("/shop", false),
            ("shop", false),
            ("./a:b", false),
            ("//host/a%20b", false),
            ("urn:walpost:schema:", true),
            ("https://schemas.example.com/v1/", true),
        ] {
            assert_eq!(source(&text(legal)).as_deref(), Ok(legal));
            assert_eq!(schema_base(&text(legal)).is_ok(), is_base, "{legal}");
        }
        for bad in ["", "my shop", "größe", "/a%2", "/a%zz", "/a#b#c", "1a:b", "a b:c", &"x".repeat(257)] {
            assert!(source(&text(bad)).is_err() && schema_base(&text(bad)).is_err(), "{bad}");
        }
    }
}
