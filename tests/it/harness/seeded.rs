//! Choices determined by a seed.

/// A small generator of numbers (SplitMix64): the same seed gives the same numbers.
#[derive(Debug, Clone)]
pub(crate) struct Seeded(u64);

impl Seeded {
    /// Seeded from this environment variable, or with this default.
    pub(crate) fn from_environment(variable: &str, otherwise: u64) -> (Self, u64) {
        let seed = std::env::var(variable).ok().map(|text| text.parse().expect("a seed is a number"));
        let seed = seed.unwrap_or(otherwise);
        (Self(seed), seed)
    }

    /// Another generator, which does not affect this one's numbers.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl From<u64> for Seeded {
    fn from(seed: u64) -> Self {
        Self(seed)
    }
}
