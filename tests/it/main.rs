//! End to end, against a real PostgreSQL and a real Apache Kafka. Where they come from: see `harness`.
#![cfg(feature = "cli")]

mod chaos;
mod first;
mod demo;
mod examples;
mod harness;
mod routing;
mod http;
mod refusals;
mod lifecycle;
mod sandbox;
mod setup;
mod sink;
