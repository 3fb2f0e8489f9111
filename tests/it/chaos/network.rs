//! Network faults between the relay and both servers, at random points under load, determined by a seed.
//!
//! The long runs are not part of the suite:
//!
//! ```sh
//! WALPOST_TEST_FAULTS=100 WALPOST_TEST_SEED=1 cargo test --test it chaos::network -- --ignored --nocapture
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use walpost::lab::sandbox::{Durability, KafkaOptions, PostgresOptions};
use walpost::random::Random;

use super::{Delivery, PARTITIONS, number};
use crate::exactly_once::exact_with;
use crate::harness::{Harness, Load, NetworkFault, Proxy, Relay, Verdict, config, seeded};
use crate::lifecycle::{SCHEMA, named, prepare_with};

/// Faults in the suite's runs.
const FEW: u64 = 8;
/// Faults in the long runs, unless `WALPOST_TEST_FAULTS` is set.
const MANY: u64 = 100;
/// Events between two faults, at most.
const EVENTS_BETWEEN: u64 = 300;
/// How long a fault that is healed lasts, at most, in milliseconds.
const LASTS_MILLIS: u64 = 3_000;
/// Timeouts of the Kafka client that are shorter than the silence of a fault.
const CLIENT: &str = r#""socket.timeout.ms" = 3000, "request.timeout.ms" = 2000"#;

#[tokio::test(flavor = "multi_thread")]
async fn network_faults_lose_and_reorder_nothing() {
    let (seeded, seed) = seeded("WALPOST_TEST_SEED", 5);
    faults(Delivery::AtLeastOnce, seeded, seed, FEW).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn network_faults_cause_no_duplicates_with_exactly_once() {
    let (seeded, seed) = seeded("WALPOST_TEST_SEED", 6);
    faults(Delivery::ExactlyOnce, seeded, seed, FEW).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes several minutes; see the module's head for the command"]
async fn many_network_faults_lose_and_reorder_nothing() {
    let (seeded, seed) = seeded("WALPOST_TEST_SEED", 1);
    faults(Delivery::AtLeastOnce, seeded, seed, many()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes several minutes; see the module's head for the command"]
async fn many_network_faults_cause_no_duplicates_with_exactly_once() {
    let (seeded, seed) = seeded("WALPOST_TEST_SEED", 1);
    faults(Delivery::ExactlyOnce, seeded, seed, many()).await;
}

fn many() -> u64 {
    number("WALPOST_TEST_FAULTS", MANY)
}

async fn faults(delivery: Delivery, mut seeded: Random, seed: u64, count: u64) {
    let kafka = Proxy::without_target().await;
    // Kafka's clients connect to the address that it advertises.
    // So does the broker when it asks itself about transactions, and by default it waits 30 s for an answer.
    let properties = [
        ("advertised.listeners", format!("BROKER://127.0.0.1:{}", kafka.port())),
        ("request.timeout.ms", "3000".to_owned()),
    ];
    let properties = properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let settings = vec![("wal_sender_timeout".to_owned(), "5s".to_owned())];
    let servers = PostgresOptions { durability: Durability::NoFsync, settings, ..PostgresOptions::default() };
    let options = KafkaOptions { properties, ..KafkaOptions::default() };
    let mut harness = Harness::with_own_servers("network", servers, options).await;
    kafka.forward_to(port_of(harness.kafka()));
    let port = harness.own_postgres().port();
    let postgres = Proxy::before(port).await;
    prepare_with(&harness, PARTITIONS).await;
    let load = Load::start(&harness, SCHEMA, 4, Duration::from_millis(10), &mut seeded.fork());
    let mut relay = Relay::start_with(&through(&harness, delivery, &postgres, port, &kafka));
    relay.wait_for_log("initial backfill published").await;
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..count {
        let events = relay.status().await["events"].as_u64().expect("a number") + 1 + seeded.below(EVENTS_BETWEEN);
        relay.wait_for(&format!("{events} events"), |status| status["events"].as_u64() >= Some(events)).await;
        let (side, proxy) = if seeded.below(2) == 0 { ("Postgres", &postgres) } else { ("Kafka", &kafka) };
        let fault = any(&mut seeded);
        let name = format!("{fault:?}");
        *seen.entry(format!("{side} {}", name.split('(').next().unwrap_or_default())).or_default() += 1;
        proxy.inject(fault);
        if matches!(fault, NetworkFault::Refuse | NetworkFault::Delay(_)) {
            tokio::time::sleep(Duration::from_millis(seeded.below(LASTS_MILLIS))).await;
            proxy.heal();
        }
        assert!(relay.is_running(), "seed {seed}: the relay has ended by itself:\n{}", relay.log());
    }
    load.stop().await;
    relay.ready().await;
    let verdict = Verdict::of(&harness, SCHEMA).await;
    eprintln!(
        "{delivery:?}, seed {seed}: faults {seen:?}, events committed {}, records {}, lost {}, invented {}, reordered {}, \
         duplicates {}",
        verdict.committed,
        verdict.records,
        verdict.lost.len(),
        verdict.invented.len(),
        verdict.reordered.len(),
        verdict.duplicates
    );
    match delivery {
        Delivery::ExactlyOnce => verdict.assert_exact(),
        // A batch whose producer failed for good with its answer on the way may be sent again.
        Delivery::AtLeastOnce => verdict.assert_complete(),
    }
}

fn any(seeded: &mut Random) -> NetworkFault {
    match seeded.below(7) {
        0 => NetworkFault::Silence,
        1 => NetworkFault::SilentAnswers,
        2 => NetworkFault::SilentRequests,
        3 => NetworkFault::Cut,
        4 => NetworkFault::CutWithin(u32::try_from(seeded.below(5_000)).unwrap_or_default()),
        5 => NetworkFault::Refuse,
        _ => NetworkFault::Delay(Duration::from_millis(seeded.below(300))),
    }
}

/// The configuration of a relay that reaches both servers through the proxies.
fn through(harness: &Harness, delivery: Delivery, postgres: &Proxy, port: u16, kafka: &Proxy) -> String {
    let config = match delivery {
        Delivery::AtLeastOnce => {
            let with_timeouts = format!("[kafka]\nproperties = {{ {CLIENT} }}\n");
            config(harness, &named("network")).replace("[kafka]\n", &with_timeouts)
        }
        Delivery::ExactlyOnce => exact_with(harness, CLIENT, ""),
    };
    config
        .replace(&format!(":{port}/"), &format!(":{}/", postgres.port()))
        .replace(harness.kafka(), &format!("127.0.0.1:{}", kafka.port()))
}

fn port_of(address: &str) -> u16 {
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
}
