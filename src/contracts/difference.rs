//! Differences between a definition and what is registered under its name and version.

use serde_json::Value;
use walpost_producer::schema::pointer::step;

use super::compatibility::equal;
use super::definition::Definition;
use super::registered::Registered;
use crate::relay::boundary::OnViolation;
use crate::terminal::visible;

/// Most differences listed; the rest are counted.
const TOLD_MAX: usize = 12;
/// Longest excerpt of a value, in characters.
const SHOWN_MAX: usize = 100;

/// Each difference as column, place in it, registered value and file's value. JSON is compared by value.
#[must_use]
pub fn differences(registered: &Registered, definition: &Definition) -> Vec<String> {
    let text = |text: &Option<String>| text.as_deref().map_or(Value::Null, Value::from);
    let json = |value: Option<&Value>| value.cloned().unwrap_or(Value::Null);
    let policy = definition.on_violation.map(OnViolation::as_str);
    let columns = [
        ("topic", text(&registered.topic), Value::from(definition.topic.as_str())),
        ("format", Value::from(registered.format.as_str()), Value::from(definition.format_column())),
        ("schema", json(registered.schema.as_ref()), json(definition.schema.as_ref().map(|schema| &schema.value))),
        (
            "compatibility",
            Value::from(registered.compatibility.as_str()),
            Value::from(definition.compatibility.as_str()),
        ),
        ("owner", text(&registered.owner), text(&definition.owner)),
        ("description", text(&registered.description), text(&definition.description)),
        ("sla", json(registered.sla.as_ref()), json(definition.sla.as_ref())),
        ("lineage", json(registered.lineage.as_ref()), json(definition.lineage.as_ref())),
        ("on_violation", text(&registered.on_violation), policy.map_or(Value::Null, Value::from)),
        ("topic_config", json(registered.topic_config.as_ref()), json(definition.topic_config().as_ref())),
    ];
    let mut found = Vec::new();
    for (column, registered, defined) in &columns {
        compare(column, "", Some(registered), Some(defined), &mut found);
    }
    if found.len() > TOLD_MAX {
        let further = found.len() - TOLD_MAX;
        found.truncate(TOLD_MAX);
        found.push(format!("and {further} more"));
    }
    found
}

fn compare(column: &str, pointer: &str, registered: Option<&Value>, defined: Option<&Value>, found: &mut Vec<String>) {
    match (registered, defined) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let added = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(added) {
                compare(column, &step(pointer, key), a.get(key), b.get(key), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(column, &format!("{pointer}/{index}"), Some(a), Some(b), found);
            }
        }
        (Some(a), Some(b)) if equal(a, b) => {}
        (a, b) => {
            let place = if pointer.is_empty() { column.to_owned() } else { format!("{column} {}", visible(pointer)) };
            found.push(format!("{place}: {}, not {}", shown(a), shown(b)));
        }
    }
}

fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => return "nothing".to_owned(),
        Some(value) => value.to_string(),
    };
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
