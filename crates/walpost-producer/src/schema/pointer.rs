//! JSON pointers (RFC 6901), by which places in documents, schemas and payloads are named.

/// Deepest nesting of a document or a schema. The standard needs three levels for each level of a payload.
pub const DEPTH_MAX: usize = 96;

/// The pointer to what stands under a key of what `pointer` leads to.
#[must_use]
pub fn step(pointer: &str, part: &str) -> String {
    format!("{pointer}/{}", part.replace('~', "~0").replace('/', "~1"))
}
