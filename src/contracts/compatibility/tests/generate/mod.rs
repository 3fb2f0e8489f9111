//! Random pairs of schemas with every keyword that the comparison knows: whenever a pair is called compatible, the reader accepts each
//! generated payload that the writer allows.
//!
//! `WALPOST_SCHEMA_PAIRS` sets the number of pairs, `WALPOST_SCHEMA_SEED` the first seed. A failure names its seed.

pub(super) mod payload;
mod schema;

use std::env;

use serde_json::{Map, Value, json};
use walpost_producer::schema::{Schema, inspect};

use super::super::{breaches, inline};
use super::tolerant::tolerant;

/// Pairs without the variable.
const PAIRS: u64 = 2_000;
/// Payloads tried for a compatible pair.
const PAYLOADS: usize = 24;
/// The names under `$defs`, and references to them.
const DEFINITIONS: [(&str, &str); 5] = [
    ("a b", "#/$defs/a%20b"),
    ("c/d", "#/$defs/c~1d"),
    ("e~f", "#/$defs/e~0f"),
    ("g%h", "#/$defs/g%25h"),
    ("é", "#/$defs/%C3%A9"),
];

/// SplitMix64: the same seed gives the same schemas.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).expect("less than a limit of this type")
    }

    /// True once in so many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

/// How many pairs were compatible, and how many payloads were tried.
#[derive(Debug, Default)]
struct Tally {
    pairs: u64,
    compatible: u64,
    unequal: u64,
    payloads: u64,
}

fn number(variable: &str, otherwise: u64) -> u64 {
    env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}

#[test]
fn case_43_compatible_pairs_of_random_schemas_read_every_generated_payload() {
    let pairs = number("WALPOST_SCHEMA_PAIRS", PAIRS);
    let first = number("WALPOST_SCHEMA_SEED", 1);
    let mut tally = Tally::default();
    for seed in first..first + pairs {
        try_pair(seed, &mut tally);
    }
    eprintln!("{tally:?}");
    // A comparison that refuses everything would pass, too.
    assert!(tally.unequal * 10 > pairs, "{tally:?}");
    assert!(tally.payloads > tally.compatible * 4, "{tally:?}");
}

#[test]
fn case_43_a_fractional_multiple_of_is_exact_for_large_integers() {
    // A large whole number was rounded before it was divided by a fraction.
    try_pair(1_247_406, &mut Tally::default());
}

fn try_pair(seed: u64, tally: &mut Tally) {
    let random = &mut Random(seed);
    let writer = schema::root(random);
    let reader = if random.once_in(8) { schema::root(random) } else { schema::changed(&writer, random) };
    if inspect::inspect(&writer).is_err() || inspect::inspect(&reader).is_err() {
        return;
    }
    tally.pairs += 1;
    let (reads, writes) = (inline(&reader), inline(&writer));
    if !breaches(&reads, &writes).is_empty() {
        assert!(reads != writes, "seed {seed}: a schema is compatible with itself: {writer}");
        return;
    }
    tally.compatible += 1;
    tally.unequal += u64::from(reads != writes);
    // The references are followed here by another way than the comparison's.
    let expanded = expand(&reader, &reader);
    let compile =
        |schema: &Value| Schema::compile(schema).unwrap_or_else(|fault| panic!("seed {seed}: {fault}: {schema}"));
    let (reads, writes) = (compile(&tolerant(&expanded)), compile(&writer));
    let written = expand(&writer, &writer);
    for _ in 0..PAYLOADS {
        let payload = payload::of(&written, random, 6);
        if writes.check_value(&payload).is_ok() {
            tally.payloads += 1;
            assert!(reads.check_value(&payload).is_ok(), "seed {seed}: {payload}\nreader {reader}\nwriter {writer}");
        }
    }
}

/// Replaces references by what they refer to.
fn expand(root: &Value, schema: &Value) -> Value {
    match schema {
        Value::Object(keywords) => {
            let mut kept: Map<String, Value> = keywords
                .iter()
                .filter(|(keyword, _)| *keyword != "$ref" && *keyword != "$defs")
                .map(|(keyword, value)| (keyword.clone(), expand(root, value)))
                .collect();
            if let Some(reference) = keywords.get("$ref") {
                let (name, _) = DEFINITIONS.iter().find(|(_, known)| reference == known).expect("it is one of these");
                let target = expand(root, &root["$defs"][name]);
                if kept.is_empty() {
                    return target;
                }
                let parts = kept.entry("allOf").or_insert_with(|| json!([]));
                parts.as_array_mut().expect("a list").push(target);
            }
            Value::Object(kept)
        }
        Value::Array(items) => items.iter().map(|item| expand(root, item)).collect(),
        other => other.clone(),
    }
}
