//! Operator tools beside the relay: diagnosis, replay, bookmarks and dead letters.

pub mod doctor;
pub mod positions;
pub mod replay;
pub mod dead_letters;
