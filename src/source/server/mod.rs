//! The server: which one it is, its timelines, why it refuses, and sessions with it.

pub(super) mod session;
pub(super) mod refusal;
pub(super) mod identity;
pub(super) mod timeline;
pub(super) mod encoding;
pub(super) mod answer;
