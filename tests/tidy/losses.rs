//! The table "Where a row can be lost" lists exactly the files that can lose one.

use std::collections::BTreeMap;

use super::{Source, none, read, sources};

/// What a file does that could lose a row, by tokens in its code.
const CALLS: [(&str, &[&str]); 7] = [
    ("advances a slot", &["pg_replication_slot_advance(", "source::advance(", "confirm_without_stream("]),
    ("drops a slot", &["pg_drop_replication_slot(", "drop_slot("]),
    ("reports an LSN", &["status_update(", ".stream.confirm"]),
    (
        "writes relay state",
        &[
            "finish_backfill(",
            "relay_state::adopt(",
            "relay_state::begin_recovery(",
            "relay_state::note_end(",
            "relay_state::skip(",
            "relay_state::write(",
            "confirm_limit =",
        ],
    ),
    ("decides on a stored position", &["StoredPosition::new(", "StoredPosition::decode(", "KafkaError::PartitionEOF("]),
    ("skips an event", &["counters.skipped +=", "forged_messages +=", "ignored_rows +=", "stray_messages +="]),
    ("drops a partition", &["drop table outbox.", "truncate outbox.", "outbox.maintain($1"]),
];

/// The same for tickets. Separate, because a line may do both.
const SETTLES: (&str, &[&str]) = (
    "settles a ticket",
    &["ledger.settle(", ".handle_acknowledged(", "acked.push(", "acked.append(", "(&mut into.acked"],
);

/// What a file does that could lose a row, with line numbers.
fn calls(source: &Source) -> Vec<(usize, &'static str)> {
    let is_sql = source.path.ends_with(".sql");
    let code = source.code().take_while(|(_, line)| !line.starts_with("mod tests {"));
    let code = code.filter(|(_, line)| !(is_sql && line.trim_start().starts_with("--")));
    // Statements that a message advises an operator to run.
    let code = code.filter(|(_, line)| !line.contains("`select"));
    let kinds = || CALLS.iter().chain(std::iter::once(&SETTLES));
    let found = |line: &str| {
        let found = kinds().filter(|(_, tokens)| tokens.iter().any(|token| line.contains(token)));
        found.map(|(kind, _)| *kind).collect::<Vec<_>>()
    };
    code.flat_map(|(number, line)| found(line).into_iter().map(move |kind| (number, kind))).collect()
}

/// The files in the table, each with its row.
fn table() -> BTreeMap<String, String> {
    let page = read("src/lib.rs");
    let section = page.split("//! # Where a row can be lost\n").nth(1).expect("lib.rs has the table");
    let rows =
        section.lines().take_while(|line| !line.starts_with("//! # ")).filter(|line| line.starts_with("//! | `"));
    let rows = rows.flat_map(|row| {
        let files = row.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2);
        files.map(move |file| (file.to_owned(), row.to_owned()))
    });
    rows.collect()
}

#[test]
fn the_table_of_losses_lists_exactly_the_files_that_can_lose_a_row() {
    let table = table();
    assert!(table.len() > 10, "{table:?}");
    let mut files = sources(&["src"], ".rs");
    files.extend(sources(&["migrations"], ".sql"));
    files.retain(|source| !source.path.ends_with("tests.rs") && !source.path.contains("/tests/"));
    let mut findings = Vec::new();
    for source in &files {
        let calls = calls(source);
        if let Some(row) = table.get(&source.path) {
            let unsaid = calls.iter().filter(|(_, kind)| !row.contains(kind));
            findings.extend(unsaid.map(|(number, kind)| {
                format!("{}:{number}: {kind}, and its row in the table does not say so", source.path)
            }));
        } else {
            findings.extend(calls.iter().map(|(number, kind)| format!("{}:{number}: {kind}", source.path)));
        }
        if calls.is_empty() && table.contains_key(&source.path) {
            findings.push(format!("{}: is in the table, and can lose nothing", source.path));
        }
    }
    let gone = table.keys().filter(|file| !files.iter().any(|source| source.path == **file));
    findings.extend(gone.map(|file| format!("{file}: is in the table, and not there")));
    none("the table `Where a row can be lost` in src/lib.rs names each file that can lose one", &findings);
}
