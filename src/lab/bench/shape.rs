//! The shape of a load: the number of topics, partitions and keys, and the size of its events.

use std::fmt;

use serde::Serialize;

use crate::terminal::grouped;

/// Topics, keys and payloads of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Shape {
    /// Topics, each with its own schema version.
    pub topics: u32,
    /// Partitions per topic.
    pub partitions: u32,
    /// Distinct keys.
    pub keys: u64,
    /// Payload size in bytes.
    pub payload_bytes: u32,
    /// Headers in each row.
    pub row_headers: u32,
}

/// A list for each property of a [`Shape`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shapes {
    /// Topics.
    pub topics: Vec<u32>,
    /// Partitions per topic.
    pub partitions: Vec<u32>,
    /// Distinct keys.
    pub keys: Vec<u64>,
    /// Payload size in bytes.
    pub payload_bytes: Vec<u32>,
    /// Headers in each row.
    pub row_headers: Vec<u32>,
}

impl Shape {
    /// One partition, and payloads of 240 bytes.
    pub(crate) const DEFAULT: Self = Self { topics: 1, partitions: 1, keys: 5_000, payload_bytes: 240, row_headers: 0 };

    /// Partitions of all topics together.
    #[must_use]
    pub(crate) const fn all_partitions(&self) -> u32 {
        self.topics.saturating_mul(self.partitions)
    }
}

impl Shapes {
    /// All shapes: the n-th values of the lists form the n-th shape, and a shorter list repeats its last value.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<Shape> {
        let lengths = [
            self.topics.len(),
            self.partitions.len(),
            self.keys.len(),
            self.payload_bytes.len(),
            self.row_headers.len(),
        ];
        let nth = |place| Shape {
            topics: at(&self.topics, place, Shape::DEFAULT.topics),
            partitions: at(&self.partitions, place, Shape::DEFAULT.partitions),
            keys: at(&self.keys, place, Shape::DEFAULT.keys),
            payload_bytes: at(&self.payload_bytes, place, Shape::DEFAULT.payload_bytes),
            row_headers: at(&self.row_headers, place, Shape::DEFAULT.row_headers),
        };
        (0..lengths.into_iter().max().unwrap_or(1).max(1)).map(nth).collect()
    }
}

fn at<T: Copy>(list: &[T], place: usize, default: T) -> T {
    list.get(place).or(list.last()).copied().unwrap_or(default)
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topics, partitions, keys, payload_bytes, row_headers } = *self;
        let (topics, partitions) = (counted(topics.into(), "topic"), counted(partitions.into(), "partition"));
        let (keys, bytes) = (counted(keys, "key"), counted(payload_bytes.into(), "byte"));
        write!(f, "{topics} of {partitions}, {keys}, {bytes}")?;
        if row_headers > 0 { write!(f, ", {}", counted(row_headers.into(), "row header")) } else { Ok(()) }
    }
}

fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_values_form_the_nth_shape() {
        let shapes = Shapes {
            topics: vec![1, 50, 200],
            partitions: vec![1, 12],
            keys: vec![5_000],
            payload_bytes: vec![240],
            row_headers: vec![0, 2],
        };
        let spread: Vec<_> = shapes.all().iter().map(|shape| (shape.topics, shape.partitions, shape.keys)).collect();
        assert_eq!(spread, [(1, 1, 5_000), (50, 12, 5_000), (200, 12, 5_000)]);
        assert_eq!(shapes.all()[0], Shape::DEFAULT);
        assert_eq!(shapes.all()[1].to_string(), "50 topics of 12 partitions, 5,000 keys, 240 bytes, 2 row headers");
    }
}
