//! Servers, a demo and benchmarks on this machine. Left out of builds without the feature `lab`.

pub mod sandbox;
pub mod environment;
pub mod demo;
pub mod bench;
