//! The reports of `--json`, a line each.

use serde_json::{Value, json};

use crate::ops::dead_letters::{DiscardOutcome, Letter, Listing, Mark, Others, Outcome, Summary};

pub(super) fn list(topic: &str, listing: &Listing, others: &Others) -> String {
    line(&json!({
        "topic": topic,
        "letters": listing.summaries(),
        "matching": listing.letters,
        "redriven": listing.redriven,
        "discarded": listing.discarded,
        "open": listing.open,
        "of_other_relays": others.letters,
        "other_relays": others.relays,
    }))
}

pub(super) fn show(letter: &Letter, mark: Option<&Mark>, hex: bool) -> String {
    let mut report = json!(Summary::of(letter, mark));
    // Whole, not as short as in a list.
    report["detail"] = json!(letter.detail());
    let headers = letter.record.headers.iter();
    let headers = headers.map(|(name, value)| json!({"name": name, "value": bytes(value.as_deref(), hex)}));
    report["headers"] = headers.collect();
    report["key"] = bytes(letter.record.key.as_deref(), hex);
    report["value"] = bytes(letter.record.value.as_deref(), hex);
    line(&report)
}

/// `{"text": ...}`, `{"hex": ...}`, or null.
fn bytes(bytes: Option<&[u8]>, hex: bool) -> Value {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) if !hex => json!({ "text": text }),
        Some((bytes, _)) => json!({ "hex": super::text::hex(bytes) }),
    }
}

pub(super) fn outcome(topic: &str, outcome: &Outcome, is_dry_run: bool) -> String {
    let redriven = outcome.redriven_letters.iter().map(|redriven| {
        json!({
            "letter": redriven.letter.to_string(),
            "event": redriven.event,
            "topic": redriven.topic,
            "schema_version": redriven.version,
        })
    });
    let stays = outcome.staying_letters.iter().map(|staying| {
        json!({
            "letter": staying.letter.to_string(),
            "event": staying.event,
            "code": staying.stay.code(),
            "detail": staying.stay.detail(),
        })
    });
    line(&json!({
        "topic": topic,
        "dry_run": is_dry_run,
        "redriven": outcome.redriven,
        "redriven_letters": redriven.collect::<Vec<_>>(),
        "stay": outcome.stays,
        "staying_letters": stays.collect::<Vec<_>>(),
        "redriven_before": outcome.before,
        "discarded_before": outcome.discarded_before,
        "missing": outcome.missing.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "of_other_relays": outcome.others.letters,
        "other_relays": outcome.others.relays,
    }))
}

pub(super) fn discarded(topic: &str, outcome: &DiscardOutcome, is_dry_run: bool) -> String {
    let letters = outcome.discarded_letters.iter().map(|discarded| {
        json!({
            "letter": discarded.letter.to_string(),
            "event": discarded.event,
            "code": discarded.code.map(|code| code.as_str()),
        })
    });
    line(&json!({
        "topic": topic,
        "dry_run": is_dry_run,
        "discarded": outcome.discarded,
        "discarded_letters": letters.collect::<Vec<_>>(),
        "redriven_before": outcome.redriven_before,
        "discarded_before": outcome.discarded_before,
        "missing": outcome.missing.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "of_other_relays": outcome.others.letters,
        "other_relays": outcome.others.relays,
    }))
}

fn line(report: &Value) -> String {
    format!("{report}\n")
}
