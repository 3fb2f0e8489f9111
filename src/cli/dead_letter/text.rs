//! Reports for people. Dead letters are untrusted: control characters are escaped.

use std::fmt::Write;

use crate::ops::dead_letters::{DeadLetter, DiscardOutcome, Listing, Mark, Others, RedriveOutcome, Summary};
use crate::terminal::{grouped, is_command, visible};

const NO_FAILURE: &str = "writing to a string does not fail";

pub(super) fn list(topic: &str, listing: &Listing, others: &Others) -> String {
    if listing.dead_letters == 0 {
        return format!("no matching dead letters in topic {topic}\n{}", skipped_foreign(others));
    }
    let mut rows = vec![["ID", "CODE", "CONTRACT", "TOPIC", "TIME", "BYTES", "EVENT", "STATE"].map(str::to_owned)];
    for summary in listing.summaries() {
        let text = |text: &Option<String>| text.as_deref().map_or("-".into(), visible).into_owned();
        rows.push([
            summary.dead_letter.clone(),
            summary.code.unwrap_or("-").to_owned(),
            text(&summary.contract),
            text(&summary.topic),
            text(&summary.time),
            grouped(u64::try_from(summary.bytes).unwrap_or(u64::MAX)),
            text(&summary.event),
            summary.state.to_owned(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    let shown = listing.summaries().len();
    if u64::try_from(shown).unwrap_or(u64::MAX) < listing.dead_letters {
        writeln!(text, "showing the newest {shown} of {}; raise --limit to see more", grouped(listing.dead_letters))
            .expect(NO_FAILURE);
    }
    let open = listing.open.iter().map(|(code, count)| format!("{} {code}", grouped(*count)));
    let ended = [(listing.redriven, "redriven"), (listing.discarded, "discarded")];
    let ended = ended.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{} {what}", grouped(*count)));
    writeln!(text, "{topic}: {}", open.chain(ended).collect::<Vec<_>>().join(", ")).expect(NO_FAILURE);
    text + &skipped_foreign(others)
}

/// How many were skipped because they belong to other relays; empty if none were.
fn skipped_foreign(others: &Others) -> String {
    if others.dead_letters == 0 {
        return String::new();
    }
    let relays = others.relays.iter().map(|(relay, count)| format!("{}: {}", visible(relay), grouped(*count)));
    let relays = relays.collect::<Vec<_>>().join(", ");
    format!("skipped {} of other relays ({relays}); --relay NAME selects them\n", grouped(others.dead_letters))
}

pub(super) fn show(dead_letter: &DeadLetter, mark: Option<&Mark>, hex: bool) -> String {
    let summary = Summary::of(dead_letter, mark);
    let mut text = String::new();
    let code = summary.code.unwrap_or("not written by walpost");
    writeln!(text, "{} {code} ({})", summary.dead_letter, summary.state).expect(NO_FAILURE);
    if let (Some(at), Some(reason)) = (&summary.discarded_at, &summary.reason) {
        writeln!(text, "discarded {at}: {}", visible(reason)).expect(NO_FAILURE);
    }
    let pairs = [
        ("reason", dead_letter.detail().map(shown)),
        ("event", summary.event.as_deref().map(shown)),
        ("contract", summary.contract.as_deref().map(shown)),
        ("topic", summary.topic.as_deref().map(shown)),
        ("position", summary.position.as_deref().map(shown)),
        ("time", summary.time.clone()),
        ("bytes", Some(grouped(u64::try_from(summary.bytes).unwrap_or(u64::MAX)))),
        ("key", Some(bytes(dead_letter.record.key.as_deref(), hex))),
    ];
    for (name, value) in pairs {
        writeln!(text, "{name:<9} {}", value.as_deref().unwrap_or("-")).expect(NO_FAILURE);
    }
    for (name, value) in &dead_letter.record.headers {
        writeln!(text, "{:<9} {}: {}", "header", visible(name), bytes(value.as_deref(), hex)).expect(NO_FAILURE);
    }
    writeln!(text, "value     {}", payload(dead_letter.record.value.as_deref(), hex)).expect(NO_FAILURE);
    text
}

/// A payload; text keeps its line breaks.
fn payload(payload: Option<&[u8]>, hex: bool) -> String {
    let lines = payload.and_then(|payload| std::str::from_utf8(payload).ok()).filter(|_| !hex);
    match lines.filter(|text| !text.is_empty() && text.chars().all(|c| !is_command(c) || matches!(c, '\n' | '\t'))) {
        Some(text) => text.to_owned(),
        None => bytes(payload, hex),
    }
}

/// Escaped text, or hexadecimal if it is not UTF-8 or `hex` is set.
fn bytes(bytes: Option<&[u8]>, hex: bool) -> String {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => "null".to_owned(),
        Some(([], _)) => "empty".to_owned(),
        Some((_, Ok(text))) if !hex => shown(text),
        Some((bytes, _)) => format!("hex {}", self::hex(bytes)),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xF)]).collect()
}

fn shown(text: &str) -> String {
    visible(text).into_owned()
}

pub(super) fn outcome(topic: &str, outcome: &RedriveOutcome, is_dry_run: bool) -> String {
    let mut text = String::new();
    let sign = if is_dry_run { "would redrive" } else { "redriven" };
    for redriven in &outcome.redriven_records {
        let version = redriven.version.as_deref().map(|version| format!(" as {}", visible(version)));
        writeln!(
            text,
            "{} {sign} to {}{}",
            redriven.dead_letter,
            visible(&redriven.topic),
            version.unwrap_or_default()
        )
        .expect(NO_FAILURE);
    }
    for remaining in &outcome.remaining {
        let detail = shown(&remaining.reason.detail());
        writeln!(text, "{} not redriven: {}: {detail}", remaining.dead_letter, remaining.reason.code())
            .expect(NO_FAILURE);
    }
    let listed = outcome.redriven_records.len() + outcome.remaining.len();
    if u64::try_from(listed).unwrap_or(u64::MAX) < outcome.redriven + outcome.stays {
        writeln!(text, "... (only the first of each kind are listed)").expect(NO_FAILURE);
    }
    let counts = [
        (outcome.redriven, sign),
        (outcome.stays, "not redriven"),
        (outcome.before, "already redriven"),
        (outcome.discarded_before, "discarded (--discarded includes them)"),
    ];
    writeln!(text, "{topic}: {}", counted(&counts)).expect(NO_FAILURE);
    text + &skipped_foreign(&outcome.others)
}

pub(super) fn discarded(topic: &str, outcome: &DiscardOutcome, is_dry_run: bool) -> String {
    let mut text = String::new();
    let sign = if is_dry_run { "would be discarded" } else { "discarded" };
    for discarded in &outcome.records {
        let code = discarded.code.map_or("not written by walpost", |code| code.as_str());
        let event = discarded.event.as_deref().map_or("-".into(), visible);
        writeln!(text, "{} {sign}: {code}, event {event}", discarded.dead_letter).expect(NO_FAILURE);
    }
    if u64::try_from(outcome.records.len()).unwrap_or(u64::MAX) < outcome.discarded {
        writeln!(text, "... (only the first are listed)").expect(NO_FAILURE);
    }
    let counts = [
        (outcome.discarded, sign),
        (outcome.redriven_before, "already redriven"),
        (outcome.discarded_before, "already discarded"),
    ];
    writeln!(text, "{topic}: {}", counted(&counts)).expect(NO_FAILURE);
    text + &skipped_foreign(&outcome.others)
}

/// The nonzero counts.
fn counted(counts: &[(u64, &str)]) -> String {
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, what)| format!("{} {what}", grouped(*count))).collect();
    if counts.is_empty() { "no matching dead letters".to_owned() } else { counts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(bytes(Some(b"a\x1b[2Jb\n"), false), "a\\u{1b}[2Jb\\n");
        assert_eq!(payload(Some(b"{\n\t\"a\": 1\n}"), false), "{\n\t\"a\": 1\n}");
        assert_eq!(payload(Some(b"{\x07}"), false), "{\\u{7}}");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_hexadecimal() {
        assert_eq!(bytes(Some(&[0xFF, 0x0A]), false), "hex ff0a");
        assert_eq!(bytes(Some(b"AB"), true), "hex 4142");
        assert_eq!((bytes(None, false), bytes(Some(b""), true)), ("null".to_owned(), "empty".to_owned()));
    }
}
