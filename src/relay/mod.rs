//! The pure core: frames in, records and feedback out. No input or output, no clock, no randomness, no async.
//!
//! The parts stand in the order in which data moves.

pub mod boundary;
