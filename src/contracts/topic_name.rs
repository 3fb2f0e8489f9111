//! Names of Kafka topics (`org.apache.kafka.common.internals.Topic`).

/// Longest name, in bytes.
const BYTES_MAX: usize = 249;

/// Whether Kafka takes this name for a topic.
#[must_use]
pub fn is_legal(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= BYTES_MAX && name != "." && name != ".." && name.bytes().all(legal)
}

/// Whether Kafka refuses one of two different names because of the other: in the names of its metrics `.` becomes `_`
/// (`Topic.hasCollision`).
#[must_use]
pub fn collide(a: &str, b: &str) -> bool {
    a != b && a.replace('.', "_") == b.replace('.', "_")
}
