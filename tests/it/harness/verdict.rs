//! Compares what is in Kafka with what was committed.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Harness, Received};

/// The outcome of a schema's events, according to `outbox.event` and the topic.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Rows in `outbox.event`.
    pub(crate) committed: usize,
    /// Records read.
    pub(crate) records: usize,
    /// Events committed and not read.
    pub(crate) lost: Vec<String>,
    /// Events read that were never committed.
    pub(crate) invented: Vec<String>,
    /// First deliveries that arrived after a later event of their key.
    pub(crate) reordered: Vec<String>,
    /// Deliveries beyond the first.
    pub(crate) duplicates: usize,
    /// Duplicates of an event that the same relay process had published before.
    pub(crate) repeated_by_one_process: Vec<String>,
    /// For each relay process, by name: the names of earlier ones whose events it published again.
    pub(crate) repeats: BTreeMap<String, HashSet<String>>,
}

impl Verdict {
    /// Reads the schema's topic until every event in `outbox.event` has arrived, and then to its end. Each relay
    /// process must have had a different name (`[relay] name`).
    ///
    /// # Panics
    /// If not all have arrived within [`PATIENCE`](super::PATIENCE).
    pub(crate) async fn of(harness: &Harness, schema: &str) -> Self {
        let sql = format!("select id::text, key, payload ->> 'n' from outbox.event where schema_name = '{schema}'");
        let rows = harness.query(&sql).await;
        let committed: HashMap<String, (String, u64)> = rows
            .iter()
            .map(|row| {
                let number: String = row.get(2);
                (row.get(0), (row.get(1), number.parse().expect("an event's number")))
            })
            .collect();
        let mut missing: HashSet<String> = committed.keys().cloned().collect();
        let mut seen = 0;
        let wanted = format!("all {} events", missing.len());
        let topic = harness.topic(schema);
        let all_here = move |records: &[Received]| {
            for record in &records[seen..] {
                missing.remove(id(record));
            }
            seen = records.len();
            missing.is_empty()
        };
        let records = harness.consume_until(&[&topic], &wanted, all_here).await;
        Self::judge(&committed, &records)
    }

    fn judge(committed: &HashMap<String, (String, u64)>, records: &[Received]) -> Self {
        let mut verdict = Self { committed: committed.len(), records: records.len(), ..Self::default() };
        let mut publishers: HashMap<&str, HashSet<&str>> = HashMap::new();
        let mut last: HashMap<&str, u64> = HashMap::new();
        for record in records {
            let Some((key, number)) = committed.get(id(record)) else {
                verdict.invented.push(format!("{:?} {:?}", record.key_text(), record.value_text()));
                continue;
            };
            assert_eq!(record.key_text(), Some(key.as_str()), "a record has its event's key");
            let relay = record.header("outbox-relay").expect("a record names its relay");
            let before = publishers.entry(id(record)).or_default();
            if before.is_empty() {
                if last.insert(key, *number).is_some_and(|last| last > *number) {
                    verdict.reordered.push(format!("{key} {number}"));
                }
            } else {
                verdict.duplicates += 1;
                verdict.repeats.entry(relay.to_owned()).or_default().extend(before.iter().map(|&name| name.to_owned()));
            }
            if !before.insert(relay) {
                verdict.repeated_by_one_process.push(format!("{key} {number} by {relay}"));
            }
        }
        let lost = committed.iter().filter(|(id, _)| !publishers.contains_key(id.as_str()));
        verdict.lost = lost.map(|(_, (key, number))| format!("{key} {number}")).collect();
        verdict
    }

    /// Nothing is lost, invented or out of order.
    #[track_caller]
    pub(crate) fn assert_complete(&self) {
        assert!(self.lost.is_empty() && self.invented.is_empty(), "lost or invented: {self:#?}");
        assert!(self.reordered.is_empty(), "out of order: {self:#?}");
    }

    /// Fails unless everything arrived, in order, and no process repeated its own events.
    #[track_caller]
    pub(crate) fn assert_sound(&self) {
        self.assert_complete();
        assert!(self.repeated_by_one_process.is_empty(), "repeated by the same process: {self:#?}");
    }

    /// [`Self::assert_sound`], and nothing arrived twice.
    #[track_caller]
    pub(crate) fn assert_exact(&self) {
        self.assert_sound();
        assert_eq!(self.duplicates, 0, "{self:#?}");
    }
}

fn id(record: &Received) -> &str {
    record.header("ce_id").expect("a record has its event's id")
}
