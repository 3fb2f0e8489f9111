//! Reports for people. Contracts and database rows are untrusted: control characters are escaped.

use std::fmt::Write;

use serde_json::Value;

use crate::contracts::emissions::{Emissions, Emitted};
use crate::contracts::odcs::Remark;
use crate::contracts::plan::{Plan, Refusal, TopicAction, TopicPlan, VersionAction, VersionPlan};
use crate::contracts::registered::Registered;
use crate::terminal::{Colour, visible, visible_lines};

const NO_FAILURE: &str = "writing to a string does not fail";

/// One line per version and topic, marked `+` new, `~` changed, `=` unchanged, `-` skipped or `!` refused.
pub(super) fn plan(plan: &Plan, remarks: &[Remark], is_done: bool, colour: Colour) -> String {
    let mut text = String::new();
    for version in &plan.versions {
        version_line(version, colour, &mut text).expect(NO_FAILURE);
    }
    for topic in &plan.topics {
        topic_line(topic, colour, &mut text).expect(NO_FAILURE);
    }
    for Remark { place, what } in remarks {
        line('-', &place.to_string(), what, colour, &mut text).expect(NO_FAILURE);
    }
    let [registered, statuses, created, altered] = plan.counts();
    let refused = plan.refusals().count();
    let counts = [
        (registered, "schema version to register", "schema versions to register"),
        (statuses, "status to set", "statuses to set"),
        (created, "topic to create", "topics to create"),
        (altered, "topic to alter", "topics to alter"),
    ];
    let counts = counts.into_iter().filter(|(count, ..)| *count > 0);
    let counts: Vec<String> =
        counts.map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many })).collect();
    let head = if is_done { "applied" } else { "plan" };
    let what = if counts.is_empty() { "no changes".to_owned() } else { counts.join(", ") };
    let what = if is_done {
        what.replace(" to register", " registered")
            .replace(" to set", " set")
            .replace(" to create", " created")
            .replace(" to alter", " altered")
    } else {
        what
    };
    write!(text, "{head}: {what}").expect(NO_FAILURE);
    if refused > 0 {
        write!(text, "; {}", colour.paint(Colour::RED, &format!("{refused} refused"))).expect(NO_FAILURE);
    }
    text.push('\n');
    text
}

fn version_line(plan: &VersionPlan, colour: Colour, text: &mut String) -> std::fmt::Result {
    let definition = &plan.definition;
    let (sign, what) = match &plan.action {
        _ if !plan.refusals.is_empty() => ('!', "refused".to_owned()),
        VersionAction::Register => ('+', format!("register, to topic {}", definition.topic)),
        VersionAction::Unchanged => ('=', "registered".to_owned()),
        VersionAction::SetStatus { from, to } => ('~', format!("{from} -> {to}")),
        VersionAction::Draft => ('-', "draft, skipped".to_owned()),
    };
    line(sign, &format!("{}/{}", definition.name, definition.version), &what, colour, text)?;
    if !plan.refusals.is_empty() {
        writeln!(text, "    at {}", visible(&definition.place.to_string()))?;
    }
    refusals(&plan.refusals, text)
}

fn topic_line(plan: &TopicPlan, colour: Colour, text: &mut String) -> std::fmt::Result {
    let (sign, what) = match &plan.action {
        _ if !plan.refusals.is_empty() => ('!', "refused".to_owned()),
        TopicAction::Create { settings } => {
            let number = |number: Option<String>, what: &str| number.map(|number| format!("{number} {what}"));
            let numbers = [
                number(settings.partitions.map(|n| n.to_string()), "partitions"),
                number(settings.replication_factor.map(|n| n.to_string()), "replicas"),
            ];
            let config = settings.config.iter().map(|(name, value)| format!("{name}={value}"));
            let all: Vec<String> =
                ["create".to_owned()].into_iter().chain(numbers.into_iter().flatten()).chain(config).collect();
            ('+', all.join(", "))
        }
        TopicAction::Alter { partitions, config, .. } => {
            let partitions = partitions.map(|(from, to)| format!("partitions {from} -> {to}"));
            let config = config.iter().map(|change| format!("{} {} -> {}", change.name, change.present, change.wanted));
            ('~', partitions.into_iter().chain(config).collect::<Vec<_>>().join(", "))
        }
        TopicAction::Unchanged => ('=', "unchanged".to_owned()),
        TopicAction::Unknown => ('-', "not checked (offline)".to_owned()),
    };
    line(sign, &format!("topic {}", plan.name), &what, colour, text)?;
    if !plan.refusals.is_empty() {
        writeln!(text, "    at {}", visible(&plan.place.to_string()))?;
    }
    for warning in &plan.warnings {
        writeln!(text, "    warning: {}", visible(warning))?;
    }
    refusals(&plan.refusals, text)
}

fn line(sign: char, name: &str, what: &str, colour: Colour, text: &mut String) -> std::fmt::Result {
    let code = match sign {
        '+' | '~' => Colour::GREEN,
        '!' => Colour::RED,
        _ => Colour::DIM,
    };
    writeln!(text, "{}", colour.paint(code, &format!("{sign} {}: {}", visible(name), visible(what))))
}

fn refusals(refusals: &[Refusal], text: &mut String) -> std::fmt::Result {
    refusals.iter().try_for_each(|refusal| writeln!(text, "    {}", visible_lines(&refusal.to_string())))
}

pub(super) fn list(registered: &[Registered]) -> String {
    if registered.is_empty() {
        return "no schema versions are registered; `walpost contract apply` registers those of contract files\n"
            .to_owned();
    }
    let mut rows = vec![["SCHEMA", "VERSIONS", "TOPIC", "OWNER", "FRESHNESS"].map(str::to_owned)];
    for versions in registered.chunk_by(|a, b| a.name == b.name) {
        let last = &versions[versions.len() - 1];
        let state = |version: &Registered| match version.status.as_str() {
            "active" => version.version.clone(),
            status => format!("{} ({status})", version.version),
        };
        let freshness = last.sla.as_ref().and_then(|sla| sla.get("freshness_seconds"));
        let row = [
            last.name.clone(),
            versions.iter().map(state).collect::<Vec<_>>().join(", "),
            last.topic.clone().unwrap_or_default(),
            last.owner.clone().unwrap_or_default(),
            freshness.map(|seconds| format!("{seconds} s")).unwrap_or_default(),
        ];
        rows.push(row.map(|cell| visible(&cell).into_owned()));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

pub(super) fn show(version: &Registered, versions: &[Registered], emissions: &Emissions) -> String {
    let mut text = String::new();
    sections(version, versions, emissions, &mut text).expect(NO_FAILURE);
    visible_lines(&text).into_owned()
}

fn sections(
    version: &Registered,
    versions: &[Registered],
    emissions: &Emissions,
    text: &mut String,
) -> std::fmt::Result {
    writeln!(text, "{}/{} ({}, registered {})", version.name, version.version, version.status, version.registered_at)?;
    for line in version.description.iter().flat_map(|description| description.lines()) {
        writeln!(text, "  {line}")?;
    }
    let pairs = [
        ("owner", version.owner.clone()),
        ("topic", version.topic.clone()),
        ("topic settings", version.topic_config.as_ref().map(ToString::to_string)),
        ("format", Some(version.format.clone())),
        ("compatibility", Some(version.compatibility.clone())),
        ("on violation", version.on_violation.clone()),
        (
            "freshness",
            version.sla.as_ref().and_then(|sla| sla.get("freshness_seconds")).map(|seconds| format!("{seconds} s")),
        ),
    ];
    for (name, value) in pairs {
        writeln!(text, "{name:<15} {}", value.as_deref().map_or("-".into(), visible))?;
    }
    for level in version.sla.iter().filter_map(|sla| sla.get("properties")?.as_array()).flatten() {
        let part = |key: &str| {
            level.get(key).map(|value| format!(" {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        };
        let parts = ["property", "value", "unit"].map(|key| part(key).unwrap_or_default());
        writeln!(text, "{:<15}{}", "service level", parts.concat())?;
    }
    for (property, from) in
        version.lineage.iter().filter_map(|lineage| lineage.get("properties")?.as_object()).flatten()
    {
        let sources = from.get("sources").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let logic = from.get("logic").and_then(Value::as_str).map(|logic| format!(" by {logic}")).unwrap_or_default();
        writeln!(text, "{:<15} {property} from {}{logic}", "lineage", sources.collect::<Vec<_>>().join(", "))?;
    }
    for other in versions {
        writeln!(text, "{:<15} {} ({}, registered {})", "version", other.version, other.status, other.registered_at)?;
    }
    match emissions {
        Emissions::Unknown(why) => writeln!(text, "{:<15} unknown: {why}", "emitted")?,
        Emissions::Counted(emitted) if emitted.is_empty() => {
            writeln!(text, "{:<15} no events in outbox.event", "emitted")?
        }
        Emissions::Counted(emitted) => {
            for of in emitted {
                let Emitted { version, events, payload_bytes, first_at, last_at, last_id, last_headers } = of;
                let by = last_headers.as_ref().map(|headers| format!(", with headers {headers}")).unwrap_or_default();
                writeln!(
                    text,
                    "{:<15} {version}: {events} events, {payload_bytes} bytes, from {first_at} to {last_at}; last id {last_id}{by}",
                    "emitted"
                )?;
            }
        }
    }
    let schema = version.schema.as_ref().map(|schema| serde_json::to_string_pretty(schema).expect("a value is JSON"));
    writeln!(text, "{:<15} {}", "schema", schema.as_deref().unwrap_or("-"))
}
