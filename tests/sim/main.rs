//! The seeded simulator: the core between a faulty Postgres and a faulty Kafka, over many seeds.
//!
//! Every step of a run is drawn from its seed: batches of any size, acknowledgements in any order, a full queue, returned records,
//! refusals, lost connections, failed notes, crashes of the relay, and accidents of slots and servers: dropped, advanced, promoted,
//! restored. After every step the invariants of the design are checked. `WALPOST_SIM_SEEDS=N` runs the first N seeds,
//! `WALPOST_SIM_SEED=S` runs only one.

mod accidents;
mod checks;
mod confirming;
mod kafka;
mod pgoutput;
mod postgres;
mod transactions;
mod world;

use world::{Faults, World};

fn run(seed: u64, faults: Faults) -> u64 {
    let outcome = std::panic::catch_unwind(|| World::new(seed, faults).run());
    outcome.unwrap_or_else(|cause| {
        eprintln!("the simulator failed with WALPOST_SIM_SEED={seed}");
        std::panic::resume_unwind(cause)
    })
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
    };
    match number("WALPOST_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WALPOST_SIM_SEEDS").unwrap_or(1_000),
    }
}

fn run_all(faults: Faults) {
    let seeds = seeds();
    let count = seeds.end - seeds.start;
    let steps: u64 = seeds.map(|seed| run(seed, faults)).sum();
    eprintln!("{count} seeds, {steps} steps");
}

/// Invariants 1, 2, 4, 6 and 7 with crashes of the relay; duplicates may follow a crash.
#[test]
fn nothing_is_lost_or_reordered_whatever_fails() {
    run_all(Faults { crashes: true, exactly_once: false });
}

/// Invariant 3: without a crash nothing is published twice, whatever happens to the connections.
#[test]
fn nothing_is_published_twice_while_the_relay_lives() {
    run_all(Faults { crashes: false, exactly_once: false });
}

/// Invariant 3 with exactly-once delivery: a reader of committed records sees each event once and in order, whatever crashes.
#[test]
fn nothing_is_committed_twice_whatever_crashes() {
    run_all(Faults { crashes: true, exactly_once: true });
}
