//! Operator tools beside the relay: diagnosis, replay and dead letters.

pub(crate) mod doctor;
pub(crate) mod replay;
pub(crate) mod dead_letters;
