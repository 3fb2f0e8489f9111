//! Numbers for the partitions that records go to.

use std::collections::HashMap;

use super::partition::partition_of;

/// A partition of a topic, or all records without a key of a topic, by a number of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct PartitionIndex(pub(crate) u32);

/// Where a record goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) index: PartitionIndex,
    /// The partition of the topic; `None` if the record has no key, and goes to any of several.
    pub(crate) partition: Option<u32>,
}

/// All topics that records went to.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// The place of each topic in `topics`.
    places: HashMap<String, usize>,
    topics: Vec<Topic>,
    /// Numbers that are taken.
    count: u32,
    /// The place of the topic that was looked up last.
    last: usize,
}

#[derive(Debug)]
struct Topic {
    name: String,
    partitions: u32,
    /// The number of its records without a key; those of its partitions follow.
    index: u32,
}

impl Routes {
    /// Where a record goes; `partitions` returns the topic's number of partitions if the topic is new here.
    pub(crate) fn find(&mut self, topic: &str, key: Option<&[u8]>, partitions: impl FnOnce() -> u32) -> Destination {
        if self.topics.get(self.last).is_none_or(|last| last.name != topic) {
            self.last = self.places.get(topic).copied().unwrap_or_else(|| self.add(topic, partitions()));
        }
        let topic = &self.topics[self.last];
        let partition = match key {
            Some(key) => Some(partition_of(key, topic.partitions)),
            None => (topic.partitions == 1).then_some(0),
        };
        let index = PartitionIndex(topic.index + partition.map_or(0, |partition| 1 + partition));
        Destination { index, partition }
    }

    fn add(&mut self, topic: &str, partitions: u32) -> usize {
        let (index, partitions) = (self.count, partitions.max(1));
        self.count += partitions + 1;
        self.topics.push(Topic { name: topic.to_owned(), partitions, index });
        self.places.insert(topic.to_owned(), self.topics.len() - 1);
        self.topics.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_and_records_without_a_key_have_separate_indexes() {
        let mut routes = Routes::default();
        let mut find = |topic: &str, key: Option<&str>| routes.find(topic, key.map(str::as_bytes), || 2);
        // By the hash of Kafka's Java client, "foobar" goes to 0 and "abc" to 1 of two partitions.
        let found = [
            find("t", Some("foobar")),
            find("t", Some("abc")),
            find("t", None),
            find("u", Some("foobar")),
            find("u", Some("abc")),
            find("u", None),
        ];
        assert_eq!(found.map(|it| it.partition), [Some(0), Some(1), None, Some(0), Some(1), None]);
        assert_eq!(found.map(|it| it.index.0), [1, 2, 0, 4, 5, 3]);
        assert_eq!(find("t", Some("foobar")), found[0]);
    }

    #[test]
    fn all_records_of_a_topic_with_one_partition_keep_their_order() {
        let mut routes = Routes::default();
        assert_eq!(routes.find("t", None, || 1), routes.find("t", Some(b"k"), || 1));
    }
}
