//! Operator tools beside the relay: diagnosis, replay and dead letters.

pub mod doctor;
pub mod replay;
pub mod dead_letters;
