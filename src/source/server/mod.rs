//! The server: which one it is, its timelines, and why it refuses.

pub(super) mod answer;
pub(super) mod identity;
pub(super) mod encoding;
pub(super) mod timeline;
pub(super) mod refusal;
