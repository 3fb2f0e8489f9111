//! The compatibility data of Confluent Schema Registry and of Apicurio Registry, which is read where it is:
//!
//! ```text
//! git clone --depth 1 https://github.com/confluentinc/schema-registry suites/schema-registry
//! git clone --depth 1 https://github.com/Apicurio/apicurio-registry suites/apicurio-registry
//! WALPOST_TEST_SUITES=$PWD/suites cargo test --lib registries -- --ignored --nocapture
//! ```
//!
//! Schemas of older drafts are converted. Where the verdicts differ, payloads decide: a pair is never compatible if a payload is found
//! that the writer allows and the reader refuses.

use std::path::Path;
use std::{env, fs};

use serde_json::{Value, json};
use walpost_producer::schema::Schema;

use super::super::{breaches, inline};
use super::generate::{Random, payload};
use super::older_drafts::converted;
use super::tolerant::tolerant;

/// Payloads tried for a pair.
const PAYLOADS: usize = 4_000;

/// Whether consumers of `reader` can read events of `writer`, as a registry sees it.
struct Pair {
    name: String,
    reader: Value,
    writer: Value,
    is_compatible: bool,
}

/// JSON that may have a comma after the last entry.
fn lenient(text: &str) -> Value {
    let mut strict = String::with_capacity(text.len());
    let mut is_quoted = false;
    for (at, symbol) in text.char_indices() {
        is_quoted ^= symbol == '"' && !text[..at].ends_with('\\');
        let closes = || text[at + 1..].trim_start().starts_with(['}', ']']);
        if is_quoted || symbol != ',' || !closes() {
            strict.push(symbol);
        }
    }
    serde_json::from_str(&strict).expect("it is JSON")
}

fn read(suites: &Path, path: &str) -> Value {
    let path = suites.join(path);
    lenient(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display())))
}

fn of_confluent(suites: &Path) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for file in ["diff-schema-examples", "diff-combined-schema-examples"] {
        for draft in ["", "-2020-12"] {
            let cases =
                read(suites, &format!("schema-registry/json-schema-provider/src/test/resources/{file}{draft}.json"));
            pairs.extend(cases.as_array().expect("a list").iter().map(|case| Pair {
                name: format!("{file}{draft}: {}", case["description"].as_str().unwrap_or_default()),
                reader: converted(&case["update_schema"]),
                writer: converted(&case["original_schema"]),
                is_compatible: case["compatible"] == true,
            }));
        }
    }
    pairs
}

fn of_apicurio(suites: &Path) -> Vec<Pair> {
    const DATA: &str = "apicurio-registry/schema-util/json/src/test/resources/io/apicurio/registry/rules/compatibility/\
                        jsonschema/compatibility-test-data.json";
    let data = read(suites, DATA);
    let both_ways = |case: &Value| {
        let kind = case["compatibility"].as_str().expect("a kind");
        let [old, new] = ["original", "updated"].map(|key| converted(&case[key]));
        let name = |way: &str| format!("{} ({way})", case["id"].as_str().unwrap_or_default());
        let backward = matches!(kind, "backward" | "both");
        [
            Pair { name: name("backward"), reader: new.clone(), writer: old.clone(), is_compatible: backward },
            Pair { name: name("forward"), reader: old, writer: new, is_compatible: kind == "both" },
        ]
    };
    data["tests"].as_array().expect("a list").iter().flat_map(both_ways).collect()
}

/// A payload near both schemas, with other texts, numbers and lengths than theirs.
fn candidate(pair: &[Value; 3], random: &mut Random) -> Value {
    let mut payload = payload::of(&random.pick(pair), random, 6);
    vary(&mut payload, random);
    payload
}

fn vary(payload: &mut Value, random: &mut Random) {
    match payload {
        Value::String(_) if random.once_in(4) => *payload = json!("x".repeat(random.below(40))),
        Value::Number(_) if random.once_in(4) => *payload = json!(random.below(300)),
        Value::Array(items) => {
            if random.once_in(3) && !items.is_empty() {
                let more = vec![random.pick(items); random.below(20)];
                items.extend(more);
            }
            items.iter_mut().for_each(|item| vary(item, random));
        }
        Value::Object(entries) => {
            if random.once_in(4) {
                entries.extend((0..random.below(16)).map(|more| (format!("more{more}"), json!(more))));
            }
            entries.values_mut().for_each(|entry| vary(entry, random));
        }
        _ => {}
    }
}

/// What payloads show of a pair: one that the reader refuses as written, and one that it refuses although it ignores what it does not
/// name.
struct Shown {
    strictly: Option<Value>,
    tolerantly: Option<Value>,
}

fn try_payloads(reader: &Value, writer: &Value) -> Shown {
    let compile = |schema: &Value| Schema::compile(schema).unwrap_or_else(|fault| panic!("{fault}: {schema}"));
    let [strict, reads, writes] = [compile(reader), compile(&tolerant(reader)), compile(writer)];
    let random = &mut Random(1);
    let near = [writer.clone(), reader.clone(), json!({"allOf": [writer, reader]})];
    let allowed: Vec<Value> =
        (0..PAYLOADS).map(|_| candidate(&near, random)).filter(|payload| writes.check_value(payload).is_ok()).collect();
    let refused_by = |schema: &Schema| allowed.iter().find(|payload| schema.check_value(payload).is_err()).cloned();
    Shown { strictly: refused_by(&strict), tolerantly: refused_by(&reads) }
}

#[derive(Default)]
struct Tally {
    pairs: usize,
    refused: Vec<String>,
    agreed: usize,
    /// Compatible here, and the registry refuses it.
    as_ignored: Vec<String>,
    as_safe: Vec<String>,
    /// Refused here, and the registry calls it compatible.
    as_shown: Vec<String>,
    unproved: Vec<String>,
}

impl Tally {
    fn add(&mut self, pair: &Pair) {
        let Pair { name, reader, writer, is_compatible } = pair;
        self.pairs += 1;
        if let Some(fault) = [reader, writer].into_iter().find_map(|schema| Schema::compile(schema).err()) {
            return self.refused.push(format!("{name}: {fault}"));
        }
        let (reader, writer) = (inline(reader), inline(writer));
        let found = breaches(&reader, &writer);
        let shown = try_payloads(&reader, &writer);
        if found.is_empty() {
            assert!(shown.tolerantly.is_none(), "{name}: {:?}\nreader {reader}\nwriter {writer}", shown.tolerantly);
        }
        let breaches: Vec<String> = found.iter().map(|breach| format!("{} {}", breach.rule, breach.property)).collect();
        let text = |payload: &Option<Value>| payload.as_ref().map(ToString::to_string).unwrap_or_default();
        match (found.is_empty(), is_compatible) {
            (true, true) | (false, false) => self.agreed += 1,
            (true, false) if shown.strictly.is_some() => {
                self.as_ignored.push(format!("{name}: {}", text(&shown.strictly)));
            }
            (true, false) => self.as_safe.push(name.clone()),
            (false, true) if shown.tolerantly.is_some() => {
                self.as_shown.push(format!("{name}: {}: {}", breaches.join(", "), text(&shown.tolerantly)));
            }
            (false, true) => {
                self.unproved.push(format!("{name}: {}\n    reader {reader}\n    writer {writer}", breaches.join(", ")))
            }
        }
    }

    fn print(&self, registry: &str) {
        eprintln!("{registry}: {} of {} verdicts agree", self.agreed, self.pairs);
        for (what, all) in [
            ("have a schema that is not accepted", &self.refused),
            (
                "are compatible only because a reader ignores what it does not name; as written it refuses, for example",
                &self.as_ignored,
            ),
            ("are compatible, and no payload was found that the reader refuses", &self.as_safe),
            ("are refused, and the reader refuses, for example", &self.as_shown),
            ("are refused without a payload that shows why", &self.unproved),
        ] {
            eprintln!("  {} {what}\n    {}", all.len(), all.join("\n    "));
        }
    }
}

#[test]
#[ignore = "needs the registries' sources in WALPOST_TEST_SUITES"]
fn case_43_no_verdict_on_the_registries_data_is_refuted_by_a_payload() {
    let suites = env::var_os("WALPOST_TEST_SUITES").expect("WALPOST_TEST_SUITES names a folder");
    let suites = Path::new(&suites);
    for (registry, pairs) in [("Confluent", of_confluent(suites)), ("Apicurio", of_apicurio(suites))] {
        let mut tally = Tally::default();
        pairs.iter().for_each(|pair| tally.add(pair));
        tally.print(registry);
        assert!(tally.pairs > 100 && tally.agreed * 10 > tally.pairs * 7, "{registry}");
    }
}
