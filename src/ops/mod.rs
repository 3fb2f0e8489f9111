//! What operators do beside the relay: diagnose it, publish again, and deal with dead letters.

pub mod doctor;
pub mod positions;
pub mod replay;
pub mod dead_letters;
