//! End to end, against a real PostgreSQL and a real Apache Kafka. Where they come from: see `harness`.
#![cfg(all(feature = "cli", feature = "tokio-postgres"))]

mod bench;
mod chaos;
mod contracts;
mod doctor;
mod dead_letters;
mod first;
mod demo;
mod examples;
mod exactly_once;
mod harness;
mod lifecycle;
mod routing;
mod http;
mod refusals;
mod replay;
mod sandbox;
mod service_levels;
mod setup;
mod sink;
mod slot;
mod sql;
