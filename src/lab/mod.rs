//! Temporary servers, a demo and benchmarks on this machine. Only with the feature `lab`.

pub mod sandbox;
pub mod environment;
pub mod demo;
pub mod bench;
