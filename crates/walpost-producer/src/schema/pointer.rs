//! JSON pointers (RFC 6901), which name locations in documents, schemas and payloads.

/// Maximum nesting of a document or a schema. The standard needs three levels for each level of a payload.
pub const DEPTH_MAX: usize = 96;

/// The pointer to the value under a key of the value at `pointer`.
#[must_use]
pub fn step(pointer: &str, part: &str) -> String {
    format!("{pointer}/{}", part.replace('~', "~0").replace('/', "~1"))
}
