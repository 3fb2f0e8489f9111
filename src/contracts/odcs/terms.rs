//! Parts of a contract other than the schema: owner, description, service levels, lineage.

use serde_json::{Map, Value, json};
use walpost_producer::schema::pointer::step;

use super::cursor::Cursor;
use super::property::payload_name;
use crate::contracts::diagnostic::{ContractRule, Diagnostic};

/// The team's name; before version 3.1, the member with the role owner, or the first.
pub(super) fn owner(contract: &Cursor<'_>) -> Option<String> {
    let team = contract.get("team")?;
    if let Some(name) = team.text("name") {
        return Some(name.to_owned());
    }
    let members = if team.value.is_array() { team.elements() } else { team.items("members") };
    let is_owner = |member: &&Cursor<'_>| member.text("role").is_some_and(|role| role.eq_ignore_ascii_case("owner"));
    let member = members.iter().find(is_owner).or(members.first())?;
    member.text("username").or_else(|| member.text("name")).map(str::to_owned)
}

/// The object's description, then the contract's purpose, usage and limitations, one line each.
pub(super) fn description(contract: &Cursor<'_>, object: &Cursor<'_>) -> Option<String> {
    let of_contract = contract.get("description");
    let part = |key: &str, label: &str| {
        let text = of_contract.as_ref()?.text(key)?;
        Some(format!("{label}: {}", text.trim()))
    };
    let own = object.text("description").map(|text| text.trim().to_owned());
    let parts = [own, part("purpose", "Purpose"), part("usage", "Usage"), part("limitations", "Limitations")];
    let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join("\n"))
}

/// `{"freshness_seconds": 5, "properties": [...]}`: the promise that the relay measures, and all entries of the contract. An entry
/// applies to every object of the contract, or to those that its `element` names, which `slaDefaultElement` stands in for.
pub(super) fn service_levels(
    contract: &Cursor<'_>,
    object: &Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Value> {
    let name = object.text("name").unwrap_or_default();
    let is_for_object = |level: &Cursor<'_>| {
        let elements = level.text("element").or_else(|| contract.text("slaDefaultElement")).unwrap_or(name);
        elements
            .split(',')
            .map(str::trim)
            .any(|element| element == name || element.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    };
    let levels: Vec<Cursor<'_>> = contract.items("slaProperties").into_iter().filter(is_for_object).collect();
    if levels.is_empty() {
        return None;
    }
    let mut sla = Map::new();
    for level in &levels {
        // The standard's preferred name is latency, short ly; freshness is the older one.
        let property = level.text("property").unwrap_or_default().to_lowercase();
        if !matches!(property.as_str(), "freshness" | "latency" | "ly") {
            continue;
        }
        match seconds(level) {
            Ok(seconds) => {
                let number = if seconds.fract() == 0.0 && seconds < 1e15 {
                    format!("{seconds:.0}").parse().ok().map(|s: i64| json!(s))
                } else {
                    None
                };
                sla.entry("freshness_seconds").or_insert(number.unwrap_or_else(|| json!(seconds)));
            }
            Err(what) => diagnostics.push(level.diagnostic(ContractRule::ServiceLevel, format!("{property}: {what}"))),
        }
    }
    sla.insert("properties".to_owned(), levels.iter().map(|level| level.value.clone()).collect());
    Some(Value::Object(sla))
}

/// A duration in seconds, from ISO's and the standard's unit names.
fn seconds(level: &Cursor<'_>) -> Result<f64, String> {
    let value = level.value.get("value").unwrap_or(&Value::Null);
    let number = value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    let number = number
        .filter(|number| number.is_finite() && *number > 0.0)
        .ok_or_else(|| format!("{value} is not a positive number"))?;
    let unit = level.text("unit").ok_or("the unit is missing: ms, s, m, h, d or y")?;
    let seconds = match unit.to_lowercase().as_str() {
        "ms" | "millisecond" | "milliseconds" => 0.001,
        "s" | "sec" | "second" | "seconds" => 1.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        "y" | "yr" | "year" | "years" => 365.0 * 86_400.0,
        _ => return Err(format!("unit {unit} is not one of ms, s, m, h, d and y")),
    };
    Ok(number * seconds)
}

/// `{"sources": [...], "properties": {"/total": {"sources": [...], "logic": "...", "description": "..."}}}`
pub(super) fn lineage(object: &Cursor<'_>) -> Option<Value> {
    let mut sources: Vec<String> = Vec::new();
    let mut properties = Map::new();
    let mut open: Vec<(String, Cursor<'_>)> = below("", object);
    while let Some((path, property)) = open.pop() {
        open.extend(below(&path, &property));
        let own: Vec<&str> =
            property.items("transformSourceObjects").iter().filter_map(|source| source.value.as_str()).collect();
        let mut entry = Map::new();
        if !own.is_empty() {
            entry.insert("sources".to_owned(), json!(own));
        }
        for (key, name) in [("transformLogic", "logic"), ("transformDescription", "description")] {
            entry.extend(property.text(key).map(|text| (name.to_owned(), Value::from(text))));
        }
        sources.extend(own.into_iter().map(str::to_owned));
        if !entry.is_empty() {
            properties.insert(path, Value::Object(entry));
        }
    }
    sources.sort();
    sources.dedup();
    (!properties.is_empty()).then(|| json!({"sources": sources, "properties": properties}))
}

/// The properties below this one, each with its path in the payload.
fn below<'a>(path: &str, element: &Cursor<'a>) -> Vec<(String, Cursor<'a>)> {
    let named = element.items("properties").into_iter().map(|property| (step(path, payload_name(&property)), property));
    let items = element.get("items").map(|items| (step(path, "*"), items));
    let values = element.get("map").and_then(|map| map.get("value")).map(|value| (step(path, "*"), value));
    named.chain(items).chain(values).collect()
}
