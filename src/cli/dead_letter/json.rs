//! Reports for `--json`: one line each.

use serde_json::{Value, json};

use crate::ops::dead_letters::{DeadLetter, DiscardOutcome, Listing, Mark, Others, RedriveOutcome, Summary};

pub(super) fn list(topic: &str, listing: &Listing, others: &Others) -> String {
    line(&json!({
        "topic": topic,
        "letters": listing.summaries(),
        "matching": listing.dead_letters,
        "redriven": listing.redriven,
        "discarded": listing.discarded,
        "open": listing.open,
        "of_other_relays": others.dead_letters,
        "other_relays": others.relays,
    }))
}

pub(super) fn show(dead_letter: &DeadLetter, mark: Option<&Mark>, hex: bool) -> String {
    let mut report = json!(Summary::of(dead_letter, mark));
    // In full; a list truncates it.
    report["detail"] = json!(dead_letter.detail());
    let headers = dead_letter.record.headers.iter();
    let headers = headers.map(|(name, value)| json!({"name": name, "value": bytes(value.as_deref(), hex)}));
    report["headers"] = headers.collect();
    report["key"] = bytes(dead_letter.record.key.as_deref(), hex);
    report["value"] = bytes(dead_letter.record.value.as_deref(), hex);
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

pub(super) fn outcome(topic: &str, outcome: &RedriveOutcome, is_dry_run: bool) -> String {
    let redriven = outcome.redriven_records.iter().map(|redriven| {
        json!({
            "letter": redriven.dead_letter.to_string(),
            "event": redriven.event,
            "topic": redriven.topic,
            "schema_version": redriven.version,
        })
    });
    let stays = outcome.remaining.iter().map(|remaining| {
        json!({
            "letter": remaining.dead_letter.to_string(),
            "event": remaining.event,
            "code": remaining.reason.code(),
            "detail": remaining.reason.detail(),
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
        "of_other_relays": outcome.others.dead_letters,
        "other_relays": outcome.others.relays,
    }))
}

pub(super) fn discarded(topic: &str, outcome: &DiscardOutcome, is_dry_run: bool) -> String {
    let dead_letters = outcome.records.iter().map(|discarded| {
        json!({
            "letter": discarded.dead_letter.to_string(),
            "event": discarded.event,
            "code": discarded.code.map(|code| code.as_str()),
        })
    });
    line(&json!({
        "topic": topic,
        "dry_run": is_dry_run,
        "discarded": outcome.discarded,
        "discarded_letters": dead_letters.collect::<Vec<_>>(),
        "redriven_before": outcome.redriven_before,
        "discarded_before": outcome.discarded_before,
        "missing": outcome.missing.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "of_other_relays": outcome.others.dead_letters,
        "other_relays": outcome.others.relays,
    }))
}

fn line(report: &Value) -> String {
    format!("{report}\n")
}
