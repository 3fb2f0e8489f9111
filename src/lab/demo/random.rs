//! Random numbers for the order service.

use uuid::Uuid;

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and far better than an order service needs.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    /// A generator with a random seed.
    pub(super) fn new() -> Self {
        // The second half of a version 7 UUID is random except for two bits.
        Self(Uuid::now_v7().as_u64_pair().1)
    }

    /// A number from 0 to `bound` - 1. The modulus of 64 bits has no bias that matters here.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        u32::try_from(mixed % u64::from(bound)).expect("less than a bound of 32 bits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_below_the_bound_occurs() {
        let mut random = Random::new();
        let mut seen = [false; 10];
        (0..1_000).for_each(|_| seen[random.below(10) as usize] = true);
        assert_eq!(seen, [true; 10]);
    }
}
