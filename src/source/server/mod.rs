//! The server: which one it is, its timelines, why it refuses, and sessions with it.

pub(super) mod answer;
pub(super) mod identity;
pub(super) mod encoding;
pub(super) mod timeline;
pub(super) mod service;
pub(super) mod refusal;
pub(super) mod session;
