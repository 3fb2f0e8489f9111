//! Names with rules of other systems: slots, Postgres identifiers, Kafka topics.

use std::fmt;

use sha2::{Digest, Sha256};

use super::error::Complaint;
use super::tree::shown;
use crate::relay::route::topic_name::{ALLOWED, is_legal, is_legal_char};

/// Longest Postgres identifier, in bytes (`NAMEDATALEN` - 1).
pub(super) const IDENTIFIER_BYTES_MAX: usize = 63;

/// Longest relay name, in bytes: it is part of names in Kafka.
const RELAY_NAME_BYTES_MAX: usize = 128;

/// The name of a replication slot: 1 to 63 of `a-z`, `0-9` and `_` (Postgres: `ReplicationSlotValidateName`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotName(String);

impl Default for SlotName {
    fn default() -> Self {
        Self("walpost".to_owned())
    }
}

impl SlotName {
    pub(super) fn parse(text: &str) -> Result<Self, Complaint> {
        let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        if text.len() <= IDENTIFIER_BYTES_MAX && !text.is_empty() && text.bytes().all(legal) {
            return Ok(Self(text.to_owned()));
        }
        let what = format!("{} is not a valid slot name", shown(text));
        Err(Complaint::new(what, "write 1 to 63 of a-z, 0-9 and _"))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a Kafka topic: 1 to 249 of `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`, not `.` or `..`
/// (`org.apache.kafka.common.internals.Topic`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicName(String);

impl TopicName {
    /// The default dead-letter topic.
    pub(super) fn dead_letters() -> Self {
        Self("outbox.dead-letter".to_owned())
    }

    pub(super) fn parse(text: &str) -> Result<Self, Complaint> {
        if is_legal(text) {
            return Ok(Self(text.to_owned()));
        }
        let what = format!("{} is not a valid topic name", shown(text));
        Err(Complaint::new(what, format!("use {ALLOWED}")))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A table by schema and name, unquoted as in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QualifiedName {
    pub schema: String,
    /// The table.
    pub name: String,
}

impl QualifiedName {
    /// Parses `schema.table`, each a plain or a "quoted" identifier. A plain one with capitals is refused, because SQL would fold it to
    /// lower case, which is easily overlooked.
    pub(super) fn parse(text: &str) -> Result<Self, Complaint> {
        let refused = |fix: &str| Complaint::new(format!("{} is not schema.table", shown(text)), fix);
        let (schema, rest) = part(text).map_err(refused)?;
        let Some(rest) = rest.strip_prefix('.') else {
            return Err(refused("include the schema: \"public.my_table\""));
        };
        let (name, rest) = part(rest).map_err(refused)?;
        if !rest.is_empty() {
            return Err(refused(
                "put identifiers with characters other than letters, digits, _ and $ in double quotes",
            ));
        }
        Ok(Self { schema: identifier(&schema)?, name: identifier(&name)? })
    }
}

impl fmt::Display for QualifiedName {
    /// As SQL, with both parts quoted if necessary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |f: &mut fmt::Formatter<'_>, text: &str| {
            let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if starts && text.chars().all(plain) {
                f.write_str(text)
            } else {
                write!(f, "\"{}\"", text.replace('"', "\"\""))
            }
        };
        part(f, &self.schema)?;
        f.write_str(".")?;
        part(f, &self.name)
    }
}

/// Checks an unquoted identifier: 1 to 63 bytes without a zero.
pub(super) fn identifier(text: &str) -> Result<String, Complaint> {
    if (1..=IDENTIFIER_BYTES_MAX).contains(&text.len()) && !text.contains('\0') {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(
        format!("{} is not a Postgres identifier", shown(text)),
        "write 1 to 63 bytes, none of them zero",
    ))
}

/// Checks a relay name. It is used in headers and names in Kafka, so only a topic name's characters are allowed.
pub(super) fn relay_name(text: &str) -> Result<String, Complaint> {
    if (1..=RELAY_NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(is_legal_char) {
        return Ok(text.to_owned());
    }
    let fix = format!("write 1 to {RELAY_NAME_BYTES_MAX} of a-z, A-Z, 0-9, ., _ and -");
    Err(Complaint::new(format!("{} is not a valid relay name", shown(text)), fix))
}

/// The default relay name: the database's name, so that the relays of two databases share no position, dead letter or transactional
/// id. Characters that a relay name does not allow become `-`, and part of a hash is appended to keep names distinct.
#[must_use]
pub(super) fn default_relay_name(database: &str) -> String {
    if let Ok(name) = relay_name(database) {
        return name;
    }
    let legal = |c: char| if is_legal_char(c) { c } else { '-' };
    let hash: String = Sha256::digest(database).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let name: String = database.chars().map(legal).take(RELAY_NAME_BYTES_MAX - hash.len() - 1).collect();
    format!("{name}-{hash}")
}

/// Splits off the identifier at the start of a text, unquoted. The error says how to fix it.
fn part(text: &str) -> Result<(String, &str), &'static str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
        let (identifier, rest) = text.split_at(text.find(|c| !plain(c)).unwrap_or(text.len()));
        if identifier.is_empty() || identifier.starts_with(|c: char| c.is_numeric() || c == '$') {
            return Err("write \"schema.table\"; an identifier starts with a letter or _, or is in double quotes");
        }
        if identifier.chars().any(char::is_uppercase) {
            return Err("put identifiers with capitals in double quotes, '\"Schema\".\"Table\"', or use lower case");
        }
        return Ok((identifier.to_owned(), rest));
    };
    let mut identifier = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '"' {
            identifier.push(c);
        } else if chars.next_if(|(_, next)| *next == '"').is_some() {
            identifier.push('"');
        } else {
            return Ok((identifier, &quoted[at + 1..]));
        }
    }
    Err("close the double quote")
}

/// Prefix of walpost's environment variables.
pub(super) const PREFIX: &str = "WALPOST_";

/// The variable for a key: `WALPOST_RELAY__NAME` for `relay.name`.
#[must_use]
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_name_is_parsed_like_sql() {
        let read = |text| {
            QualifiedName::parse(text).ok().map(|table| (table.schema.clone(), table.name.clone(), table.to_string()))
        };
        let table = |schema: &str, name: &str, sql: &str| Some((schema.to_owned(), name.to_owned(), sql.to_owned()));
        assert_eq!(read("outbox.event"), table("outbox", "event", "outbox.event"));
        assert_eq!(read(r#""Sales"."Out.Box""#), table("Sales", "Out.Box", r#""Sales"."Out.Box""#));
        assert_eq!(read(r#"public."say ""hi""""#), table("public", "say \"hi\"", r#"public."say ""hi""""#));
        assert_eq!(read("öffentlich.ereignis"), table("öffentlich", "ereignis", "\"öffentlich\".ereignis"));
        assert_eq!(read(r#""1"."select-1""#), table("1", "select-1", r#""1"."select-1""#));
        let long = format!("public.{}", "x".repeat(64));
        for bad in
            ["", ".", "event", "a.b.c", "Public.Event", "a.\"b", "a.\"\"", "a b.c", "1a.b", "a.b ", "a.\"\0\"", &long]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn slot_and_topic_names_follow_their_systems_rules() {
        assert!(SlotName::parse("walpost_2").is_ok());
        for bad in ["", "Walpost", "wal-post", "ä", &"x".repeat(64)] {
            assert!(SlotName::parse(bad).is_err(), "{bad}");
        }
        assert!(TopicName::parse("outbox.dead-letter_1").is_ok());
        assert!(TopicName::parse("a/b").is_err());
    }

    #[test]
    fn the_default_relay_name_is_the_databases_and_never_shared() {
        assert_eq!(default_relay_name("shop"), "shop");
        assert_eq!(default_relay_name("Shop.eu-1_x"), "Shop.eu-1_x");
        let others = ["my shop", "my-shop", "my/shop", "m\u{fc} shop", "", "-"].map(default_relay_name);
        assert!(others[0].starts_with("my-shop-") && others[0].len() == "my-shop-".len() + 8, "{others:?}");
        assert!(others.iter().all(|name| relay_name(name).is_ok()), "{others:?}");
        let distinct: std::collections::BTreeSet<_> = others.iter().collect();
        assert_eq!(distinct.len(), others.len(), "{others:?}");
        assert!(relay_name(&default_relay_name(&"\u{e4}".repeat(500))).is_ok());
    }

    #[test]
    fn a_refused_text_that_may_hold_a_password_is_not_shown() {
        let complaint = SlotName::parse("postgres://u:hunter2@host/db").expect_err("no slot name");
        assert!(!complaint.what.contains("hunter2"), "{}", complaint.what);
    }
}
