//! Temporary servers, a demo and benchmarks on this machine. Only with the feature `lab`.

pub mod sandbox;
pub(crate) mod environment;
pub(crate) mod demo;
pub(crate) mod bench;
