//! Each dead letter is redriven once, whatever crashes and however many redrives run.

use std::collections::HashMap;

use rustix::process::Signal;

use super::{Commands, counts, refuse};
use crate::harness::Harness;

/// Enough for several transactions.
const LETTERS: usize = 2_000;

/// A reader of committed records sees every event once, and those of each key in order.
async fn assert_once(harness: &Harness, topic: &str) {
    let records = harness.consume(topic, LETTERS).await;
    let mut numbers: HashMap<&str, Vec<usize>> = HashMap::new();
    for record in &records {
        let number = record.value_text().and_then(|text| text.parse().ok()).expect("a number");
        numbers.entry(record.key_text().expect("a key")).or_default().push(number);
    }
    for (key, numbers) in numbers {
        let key = key.trim_start_matches('k').parse::<usize>().expect("a key's number");
        let expected: Vec<usize> = (1..=LETTERS).filter(|number| number % 3 == key).collect();
        assert_eq!(numbers, expected, "key {key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_29_killed_redrives_neither_omit_nor_repeat_a_dead_letter() {
    let harness = Harness::migrated("redrive_killed").await;
    let commands = Commands::new(&harness);
    let mut relay = refuse(&harness, "order.lost", LETTERS).await;
    harness.register("order.lost").await;
    for _ in 0..3 {
        let redriving = commands.start_redrive();
        redriving.signal(Signal::KILL);
        redriving.end();
    }
    let ended = commands.redrive(&["--all"]);
    let [redriven, stays, before] = counts(&ended);
    assert_eq!((ended.code(), stays), (Some(0), 0), "{ended:?}");
    assert!(redriven > 0 && before > 0, "no run was killed in the middle: {redriven} and {before}");
    assert_eq!(redriven + before, LETTERS as u64);
    assert_once(&harness, &harness.topic("order.lost")).await;
    assert_eq!(relay.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_concurrent_redrives_the_second_fences_the_first() {
    let harness = Harness::migrated("redrive_twice").await;
    let commands = Commands::new(&harness);
    let mut relay = refuse(&harness, "order.lost", LETTERS).await;
    harness.register("order.lost").await;
    let first = commands.start_redrive();
    // Suspended, most likely with an open transaction.
    first.signal(Signal::STOP);
    let second = commands.redrive(&["--all"]);
    let [redriven, _, before] = counts(&second);
    assert_eq!(second.code(), Some(0), "{second:?}");
    assert!(redriven > 0 && before > 0 && redriven + before == LETTERS as u64, "{redriven} and {before}");
    first.signal(Signal::CONT);
    let first = first.end();
    assert_eq!(first.code(), Some(69), "{first:?}");
    assert!(first.stderr.contains("another command took over"), "{first:?}");
    assert_once(&harness, &harness.topic("order.lost")).await;
    assert_eq!(relay.terminate().await.code(), Some(0));
}
