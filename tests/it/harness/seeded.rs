//! Generators of random choices whose seed the environment can set.

use walpost::random::Random;

/// A generator seeded from this environment variable, or with this default; and its seed.
pub(crate) fn seeded(variable: &str, otherwise: u64) -> (Random, u64) {
    let seed = std::env::var(variable).ok().map(|text| text.parse().expect("a seed is a number"));
    let seed = seed.unwrap_or(otherwise);
    (Random::new(seed), seed)
}
