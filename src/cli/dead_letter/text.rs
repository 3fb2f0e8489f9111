//! The reports for people. What stands in a letter may be anybody's: nothing of it reaches a terminal as a control character.

use std::fmt::Write;

use crate::ops::dead_letters::{DeadLetter, DiscardOutcome, Listing, Mark, Others, RedriveOutcome, Summary};
use crate::terminal::{grouped, is_command, visible};

const NO_FAILURE: &str = "writing to a string does not fail";

pub(super) fn list(topic: &str, listing: &Listing, others: &Others) -> String {
    if listing.dead_letters == 0 {
        return format!("no such dead letter in topic {topic}\n{}", passed_over(others));
    }
    let mut rows = vec![["LETTER", "CODE", "CONTRACT", "TOPIC", "TIME", "BYTES", "EVENT", "STATE"].map(str::to_owned)];
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
        writeln!(text, "the newest {shown} of {}; --limit shows more", grouped(listing.dead_letters))
            .expect(NO_FAILURE);
    }
    let open = listing.open.iter().map(|(code, count)| format!("{} {code}", grouped(*count)));
    let ended = [(listing.redriven, "redriven"), (listing.discarded, "discarded")];
    let ended = ended.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{} {what}", grouped(*count)));
    writeln!(text, "{topic}: {}", open.chain(ended).collect::<Vec<_>>().join(", ")).expect(NO_FAILURE);
    text + &passed_over(others)
}

/// What was left out as it is of other relays; nothing if nothing was.
fn passed_over(others: &Others) -> String {
    if others.dead_letters == 0 {
        return String::new();
    }
    let relays = others.relays.iter().map(|(relay, count)| format!("{}: {}", visible(relay), grouped(*count)));
    let relays = relays.collect::<Vec<_>>().join(", ");
    format!("{} of other relays passed over ({relays}); --relay NAME takes theirs\n", grouped(others.dead_letters))
}

pub(super) fn show(dead_letter: &DeadLetter, mark: Option<&Mark>, hex: bool) -> String {
    let summary = Summary::of(dead_letter, mark);
    let mut text = String::new();
    let code = summary.code.unwrap_or("no dead letter of walpost's");
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

/// A payload of several lines keeps them.
fn payload(payload: Option<&[u8]>, hex: bool) -> String {
    let lines = payload.and_then(|payload| std::str::from_utf8(payload).ok()).filter(|_| !hex);
    match lines.filter(|text| !text.is_empty() && text.chars().all(|c| !is_command(c) || matches!(c, '\n' | '\t'))) {
        Some(text) => text.to_owned(),
        None => bytes(payload, hex),
    }
}

/// Text as it is; what is no text, or is to be so, in hexadecimal digits.
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
    for redriven in &outcome.redriven_letters {
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
    for staying in &outcome.staying_letters {
        let detail = shown(&staying.stay.detail());
        writeln!(text, "{} stays: {}: {detail}", staying.dead_letter, staying.stay.code()).expect(NO_FAILURE);
    }
    let listed = outcome.redriven_letters.len() + outcome.staying_letters.len();
    if u64::try_from(listed).unwrap_or(u64::MAX) < outcome.redriven + outcome.stays {
        writeln!(text, "... the first of each kind").expect(NO_FAILURE);
    }
    let counts = [
        (outcome.redriven, sign),
        (outcome.stays, "stay"),
        (outcome.before, "redriven before"),
        (outcome.discarded_before, "discarded before (--discarded takes them)"),
    ];
    writeln!(text, "{topic}: {}", counted(&counts)).expect(NO_FAILURE);
    text + &passed_over(&outcome.others)
}

pub(super) fn discarded(topic: &str, outcome: &DiscardOutcome, is_dry_run: bool) -> String {
    let mut text = String::new();
    let sign = if is_dry_run { "would be discarded" } else { "discarded" };
    for discarded in &outcome.discarded_letters {
        let code = discarded.code.map_or("no dead letter of walpost's", |code| code.as_str());
        let event = discarded.event.as_deref().map_or("-".into(), visible);
        writeln!(text, "{} {sign}: {code}, event {event}", discarded.dead_letter).expect(NO_FAILURE);
    }
    if u64::try_from(outcome.discarded_letters.len()).unwrap_or(u64::MAX) < outcome.discarded {
        writeln!(text, "... the first of them").expect(NO_FAILURE);
    }
    let counts = [
        (outcome.discarded, sign),
        (outcome.redriven_before, "redriven before"),
        (outcome.discarded_before, "discarded before"),
    ];
    writeln!(text, "{topic}: {}", counted(&counts)).expect(NO_FAILURE);
    text + &passed_over(&outcome.others)
}

/// The counts that are not zero.
fn counted(counts: &[(u64, &str)]) -> String {
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, what)| format!("{} {what}", grouped(*count))).collect();
    if counts.is_empty() { "no such dead letter".to_owned() } else { counts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(bytes(Some(b"a\x1b[2Jb\n"), false), "a\\u{1b}[2Jb\\n");
        assert_eq!(payload(Some(b"{\n\t\"a\": 1\n}"), false), "{\n\t\"a\": 1\n}");
        assert_eq!(payload(Some(b"{\x07}"), false), "{\\u{7}}");
    }

    #[test]
    fn bytes_that_are_no_text_are_digits() {
        assert_eq!(bytes(Some(&[0xFF, 0x0A]), false), "hex ff0a");
        assert_eq!(bytes(Some(b"AB"), true), "hex 4142");
        assert_eq!((bytes(None, false), bytes(Some(b""), true)), ("null".to_owned(), "empty".to_owned()));
    }
}
