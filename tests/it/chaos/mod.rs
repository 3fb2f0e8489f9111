//! Everything is killed at random points under load, determined by a seed; then every committed event must be in Kafka.
//!
//! The long run is not part of the suite:
//!
//! ```sh
//! WALPOST_TEST_KILLS=150 WALPOST_TEST_SEED=1 cargo test --test it chaos::everything -- --ignored --nocapture
//! ```
//!
//! With `everything_killed_at_random_points_with_exactly_once_causes_no_duplicates` instead, no event may arrive
//! twice.

mod failure;
mod network;

use std::collections::BTreeMap;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use walpost::lab::sandbox::{Durability, KafkaOptions, PostgresOptions};

use crate::exactly_once::exact;
use crate::harness::{Harness, Load, Relay, Verdict, config, seeded};
use crate::lifecycle::{SCHEMA, named, prepare_with};
use failure::Failure;
use walpost::random::Random;

/// Kills in the suite's run.
const FEW: u64 = 12;
/// Kills in the long run, unless `WALPOST_TEST_KILLS` is set.
const MANY: u64 = 120;
/// Partitions of the topic, unless `WALPOST_TEST_PARTITIONS` is set: a few keys to each.
const PARTITIONS: i32 = 24;
/// Maximum events that a process publishes between two failures.
const EVENTS_BETWEEN: u64 = 600;
/// Maximum additional wait before a failure, in milliseconds: longer than a relay takes to start.
const WAIT_MILLIS: u64 = 700;

#[tokio::test(flavor = "multi_thread")]
async fn case_11_a_relay_killed_at_random_points_loses_and_reorders_nothing() {
    let (seeded, seed) = seeded("WALPOST_TEST_SEED", 11);
    let harness = Harness::new("killed").await;
    let mut chaos = Chaos::start(harness, Delivery::AtLeastOnce, seeded).await;
    for _ in 0..FEW {
        chaos.strike(Failure::KillRelay).await;
    }
    chaos.conclude(seed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_failures_of_everything_with_exactly_once_cause_no_duplicates() {
    let (seeded, seed) = seeded("WALPOST_TEST_SEED", 4);
    everything(Delivery::ExactlyOnce, seeded, seed, FEW / 2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes several minutes; see the module's head for the command"]
async fn everything_killed_at_random_points_with_exactly_once_causes_no_duplicates() {
    let (seeded, seed) = seeded("WALPOST_TEST_SEED", 1);
    everything(Delivery::ExactlyOnce, seeded, seed, kills()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes several minutes; see the module's head for the command"]
async fn everything_killed_at_random_points_loses_and_reorders_nothing() {
    let (seeded, seed) = seeded("WALPOST_TEST_SEED", 1);
    everything(Delivery::AtLeastOnce, seeded, seed, kills()).await;
}

fn kills() -> u64 {
    number("WALPOST_TEST_KILLS", MANY)
}

fn partitions() -> i32 {
    number("WALPOST_TEST_PARTITIONS", PARTITIONS)
}

/// A number from the environment.
fn number<T: FromStr<Err = ParseIntError>>(name: &str, otherwise: T) -> T {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

async fn everything(delivery: Delivery, seeded: Random, seed: u64, kills: u64) {
    let postgres = PostgresOptions { durability: Durability::NoFsync, ..PostgresOptions::default() };
    let harness = Harness::with_own_servers("chaos", postgres, KafkaOptions::default()).await;
    let mut chaos = Chaos::start(harness, delivery, seeded).await;
    for number in 0..kills {
        let failure = Failure::any(&mut chaos.seeded);
        eprintln!("{number}: {failure:?}");
        chaos.strike(failure).await;
    }
    chaos.conclude(seed).await;
}

/// What the relays guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// Each process has a different name, which shows whose events it repeats.
    AtLeastOnce,
    /// All have the same name, which relays that take over from one another require.
    ExactlyOnce,
}

/// A load, a relay, and the failures so far.
struct Chaos {
    harness: Harness,
    delivery: Delivery,
    seeded: Random,
    load: Load,
    /// Every relay process, the running one last. Ended ones are kept for their logs.
    relays: Vec<Relay>,
    /// Those that were stopped cleanly, by index in `relays`.
    stopped: Vec<usize>,
    blows: BTreeMap<String, u64>,
}

impl Chaos {
    async fn start(harness: Harness, delivery: Delivery, mut seeded: Random) -> Self {
        prepare_with(&harness, partitions()).await;
        let load = Load::start(&harness, SCHEMA, 4, Duration::from_millis(10), &mut seeded.fork());
        let (relays, stopped, blows) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut chaos = Self { harness, delivery, seeded, load, relays, stopped, blows };
        chaos.succeed();
        // An interrupted first backfill is the one exception: the next process repeats it, and rows that it has from
        // the stream too.
        chaos.running().wait_for_log("initial backfill published").await;
        chaos
    }

    /// Waits for a point determined by the seed, and injects a failure.
    async fn strike(&mut self, failure: Failure) {
        // Some are killed before they have published anything.
        if self.seeded.below(4) > 0 {
            let events = 1 + self.seeded.below(EVENTS_BETWEEN);
            let relay = self.running();
            relay.wait_for(&format!("{events} events"), |status| status["events"].as_u64() >= Some(events)).await;
        }
        tokio::time::sleep(Duration::from_millis(self.seeded.below(WAIT_MILLIS))).await;
        let log = self.running().log();
        assert!(self.running().is_running(), "the relay has ended by itself:\n{log}");
        *self.blows.entry(format!("{failure:?}")).or_default() += 1;
        failure.strike(self).await;
    }

    fn running(&mut self) -> &mut Relay {
        self.relays.last_mut().expect("there is always one")
    }

    /// A slot falls back to its last checkpoint. Only a relay that has streamed from it knows better: before that, it
    /// may repeat what its predecessor, which stopped cleanly, had published.
    fn forgive_repeats(&mut self) {
        let (current, log) = (self.relays.len() - 1, self.running().log());
        if !log.contains("streaming") {
            self.stopped.retain(|stopped| stopped + 1 != current);
        }
    }

    /// Starts the next process.
    fn succeed(&mut self) {
        let config = match self.delivery {
            Delivery::AtLeastOnce => config(&self.harness, &named(&format!("r{}", self.relays.len()))),
            Delivery::ExactlyOnce => exact(&self.harness, ""),
        };
        self.relays.push(Relay::start_with(&config));
    }

    /// Waits until everything has arrived, and checks it.
    async fn conclude(mut self, seed: u64) {
        let transactions = self.load.stop().await;
        self.relays.last_mut().expect("there is always one").ready().await;
        let verdict = Verdict::of(&self.harness, SCHEMA).await;
        eprintln!(
            "{:?}, seed {seed}: blows {:?}, relay processes {}, transactions {transactions}, events committed {}, records {}, \
             lost {}, invented {}, reordered {}, duplicates {}, repeated by one process {}",
            self.delivery,
            self.blows,
            self.relays.len(),
            verdict.committed,
            verdict.records,
            verdict.lost.len(),
            verdict.invented.len(),
            verdict.reordered.len(),
            verdict.duplicates,
            verdict.repeated_by_one_process.len(),
        );
        if self.delivery == Delivery::ExactlyOnce {
            return verdict.assert_exact();
        }
        verdict.assert_sound();
        for stopped in &self.stopped {
            let next = verdict.repeats.get(&format!("r{}", stopped + 1));
            let repeats = next.is_some_and(|names| names.contains(&format!("r{stopped}")));
            assert!(!repeats, "r{stopped} had stopped cleanly, and the next repeated its events: {verdict:#?}");
        }
    }
}
