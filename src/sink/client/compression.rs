//! How record batches are compressed.

/// A codec of Kafka's record batches. Consumers need it too: Java, librdkafka and sarama have all of them, kafkajs only gzip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4: about 5 ns a byte, the least of all.
    #[default]
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// Every codec.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// As Kafka and librdkafka name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.as_str() == text)
    }

    /// Whether kafkajs reads it without a codec that its user registers.
    #[must_use]
    pub const fn is_read_by_kafkajs(self) -> bool {
        matches!(self, Self::None | Self::Gzip)
    }
}
