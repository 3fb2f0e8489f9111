//! End to end, against a real PostgreSQL and a real Apache Kafka. Where they come from: see `harness`.
#![cfg(feature = "cli")]

mod first;
mod demo;
mod harness;
mod http;
mod refusals;
mod sandbox;
mod setup;
mod sink;
