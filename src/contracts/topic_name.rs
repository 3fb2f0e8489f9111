//! Names of Kafka topics (`org.apache.kafka.common.internals.Topic`).

/// Longest name, in bytes.
const BYTES_MAX: usize = 249;

/// Whether Kafka accepts this topic name.
#[must_use]
pub fn is_legal(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= BYTES_MAX && name != "." && name != ".." && name.bytes().all(legal)
}

/// Whether two different names collide in Kafka, whose metric names replace `.` by `_` (`Topic.hasCollision`).
#[must_use]
pub fn collide(a: &str, b: &str) -> bool {
    a != b && a.replace('.', "_") == b.replace('.', "_")
}
