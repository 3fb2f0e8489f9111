//! The reports of `--json`, a line each.

use serde_json::{Value, json};

use crate::dead_letters::{Letter, Listing, Outcome, Summary};

pub(super) fn list(topic: &str, listing: &Listing) -> String {
    line(&json!({
        "topic": topic,
        "letters": listing.summaries(),
        "matching": listing.letters,
        "redriven": listing.redriven,
        "open": listing.open,
    }))
}

pub(super) fn show(letter: &Letter, is_redriven: bool, hex: bool) -> String {
    let mut report = json!(Summary::of(letter, is_redriven));
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
        "missing": outcome.missing.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }))
}

fn line(report: &Value) -> String {
    format!("{report}\n")
}
