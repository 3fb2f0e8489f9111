//! `delivery = "exactly-once"`: a reader of committed records sees each event once and in order, whatever crashes.

mod acls;
mod fencing;
mod forged;
mod forgotten;
mod histories;
mod kills;
mod dead_letters;
mod renamed;
mod slow_path;
mod steady;

use crate::harness::{Harness, Relay, config};
use crate::lifecycle::named;

/// The positions topic.
const POSITIONS: &str = "walpost.positions";

/// The configuration of a relay with exactly-once delivery. All relays of a test have the same name, as those that
/// take over from one another do; `further` are keys of `[relay]`.
pub(crate) fn exact(harness: &Harness, further: &str) -> String {
    exact_with(harness, "", further)
}

/// The same with client properties, such as `"linger.ms" = 5`.
pub(crate) fn exact_with(harness: &Harness, properties: &str, further: &str) -> String {
    let delivery = format!("[kafka]\ndelivery = \"exactly-once\"\nproperties = {{ {properties} }}\n");
    config(harness, &(named("exact") + further)).replace("[kafka]\n", &delivery)
}

/// Starts one and waits until it is ready.
async fn ready(harness: &Harness) -> Relay {
    let mut relay = Relay::start_with(&exact(harness, ""));
    relay.ready().await;
    relay
}
