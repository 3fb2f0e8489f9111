//! End to end, against a real PostgreSQL and a real Apache Kafka. Where they come from: see `harness`.

mod harness;
mod sandbox;
//! End to end against real servers. One binary, so that it links once.
#![cfg(feature = "cli")]

mod sink;
