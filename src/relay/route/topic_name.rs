//! Names of Kafka topics (`org.apache.kafka.common.internals.Topic`).

/// Longest name, in bytes.
pub const BYTES_MAX: usize = 249;

/// What a name may consist of.
pub const ALLOWED: &str = "1 to 249 of a-z, A-Z, 0-9, ., _ and -";

/// Most characters of an invalid name that are shown.
const EXCERPT_CHARS: usize = 100;

/// A name that Kafka does not accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{excerpt:?} is not a valid topic name; use {ALLOWED}")]
pub struct InvalidTopicName {
    excerpt: String,
}

/// Checks that Kafka accepts this topic name.
///
/// # Errors
/// [`InvalidTopicName`].
pub fn check(name: &str) -> Result<(), InvalidTopicName> {
    if is_legal(name) { Ok(()) } else { Err(InvalidTopicName { excerpt: name.chars().take(EXCERPT_CHARS).collect() }) }
}

/// Whether Kafka accepts this topic name.
#[must_use]
pub fn is_legal(name: &str) -> bool {
    (1..=BYTES_MAX).contains(&name.len()) && !matches!(name, "." | "..") && name.chars().all(is_legal_char)
}

/// Whether a topic name may contain this character.
#[must_use]
pub fn is_legal_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Whether two names are the same to Kafka: it refuses to create a topic whose name differs from another's only in
/// `.` and `_`, which its metric names replace (`Topic.hasCollision`).
#[must_use]
pub fn is_same(a: &str, b: &str) -> bool {
    let fold = |byte: u8| if byte == b'.' { b'_' } else { byte };
    a.len() == b.len() && a.bytes().zip(b.bytes()).all(|(a, b)| fold(a) == fold(b))
}

/// Whether two different names collide in Kafka.
#[must_use]
pub fn collide(a: &str, b: &str) -> bool {
    a != b && is_same(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_kafka_does() {
        for legal in ["a", "Orders.v1_2-3", "outbox.dead-letter_1", "...", &"x".repeat(249)] {
            assert!(is_legal(legal), "{legal}");
        }
        for illegal in ["", ".", "..", "a b", "a/b", "\u{e4}", "a\0", &"x".repeat(250), &"\u{e4}".repeat(125)] {
            assert!(!is_legal(illegal), "{illegal:?}");
        }
        let long = check(&"/".repeat(1_000)).expect_err("it is not valid").to_string();
        assert!(long.ends_with("/\" is not a valid topic name; use 1 to 249 of a-z, A-Z, 0-9, ., _ and -"), "{long}");
        assert!(long.len() < 200 && ALLOWED.contains(&BYTES_MAX.to_string()));
        assert!(collide("a.b_c", "a_b.c") && !collide("a.b", "a.b") && !collide("a.b", "a-b"));
    }
}
