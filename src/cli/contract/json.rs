//! Reports for `--json`: one line each.

use serde_json::{Value, json};

use crate::contracts::diagnostic::{Diagnostics, Place};
use crate::contracts::emissions::Emissions;
use crate::contracts::odcs::Remark;
use crate::contracts::plan::{Plan, Refusal, TopicAction, TopicPlan, VersionAction, VersionPlan};
use crate::contracts::registered::Registered;

pub(super) fn diagnostics(diagnostics: &Diagnostics) -> String {
    let diagnostics = diagnostics.as_slice().iter().map(|diagnostic| {
        json!({
            "file": diagnostic.place.file.display().to_string(),
            "line": diagnostic.place.line,
            "column": diagnostic.place.column,
            "rule": diagnostic.rule.as_str(),
            "what": diagnostic.what,
        })
    });
    line(&json!({ "mistakes": diagnostics.collect::<Vec<_>>() }))
}

pub(super) fn plan(plan: &Plan, remarks: &[Remark], is_done: bool) -> String {
    line(&json!({
        "applied": is_done,
        "may_apply": plan.may_apply(),
        "versions": plan.versions.iter().map(version).collect::<Vec<_>>(),
        "topics": plan.topics.iter().map(topic).collect::<Vec<_>>(),
        "remarks": remarks.iter().map(remark).collect::<Vec<_>>(),
    }))
}

fn remark(remark: &Remark) -> Value {
    let Place { file, line, column } = &remark.place;
    json!({"file": file.display().to_string(), "line": line, "column": column, "what": remark.what})
}

fn version(plan: &VersionPlan) -> Value {
    let definition = &plan.definition;
    let action = match &plan.action {
        VersionAction::Register => "register",
        VersionAction::Unchanged => "unchanged",
        VersionAction::SetStatus { .. } => "set_status",
        VersionAction::Draft => "draft",
    };
    let mut report = json!({
        "name": definition.name,
        "version": definition.version,
        "topic": definition.topic,
        "file": definition.place.file.display().to_string(),
        "line": definition.place.line,
        "action": action,
        "refused": plan.refusals.iter().map(refusal).collect::<Vec<_>>(),
    });
    if let VersionAction::SetStatus { from, to } = &plan.action {
        report["status"] = json!({"from": from, "to": to});
    }
    report
}

fn refusal(refusal: &Refusal) -> Value {
    let mut report = json!({"rule": refusal.rule(), "what": refusal.to_string()});
    match refusal {
        Refusal::Immutable { differences } => report["differences"] = json!(differences),
        Refusal::Incompatible(incompatibility) => {
            report["property"] = json!(incompatibility.breach.property);
            report["reader"] = json!(incompatibility.reader);
            report["writer"] = json!(incompatibility.writer);
        }
        Refusal::Incomparable { version, .. } => report["version"] = json!(version),
        Refusal::Older { latest } => report["latest"] = json!(latest),
        Refusal::Topic(_) => {}
    }
    report
}

fn topic(plan: &TopicPlan) -> Value {
    let mut report = json!({
        "topic": plan.name,
        "warnings": plan.warnings,
        "refused": plan.refusals.iter().map(refusal).collect::<Vec<_>>(),
    });
    report["action"] = json!(match &plan.action {
        TopicAction::Create { .. } => "create",
        TopicAction::Alter { .. } => "alter",
        TopicAction::Unchanged => "unchanged",
        TopicAction::Unknown => "unknown",
    });
    match &plan.action {
        TopicAction::Create { settings } => {
            report["partitions"] = json!(settings.partitions);
            report["replication_factor"] = json!(settings.replication_factor);
            report["config"] = json!(settings.config);
        }
        TopicAction::Alter { partitions, config, .. } => {
            report["partitions"] = json!(partitions.map(|(from, to)| json!({"from": from, "to": to})));
            let changes =
                config.iter().map(|change| (change.name.clone(), json!({"from": change.present, "to": change.wanted})));
            report["config"] = Value::Object(changes.collect());
        }
        TopicAction::Unchanged | TopicAction::Unknown => {}
    }
    report
}

pub(super) fn list(registered: &[Registered]) -> String {
    let schemas = registered.chunk_by(|a, b| a.name == b.name).map(|versions| {
        let last = &versions[versions.len() - 1];
        json!({
            "name": last.name,
            "owner": last.owner,
            "topic": last.topic,
            "sla": last.sla,
            "lineage": last.lineage,
            "compatibility": last.compatibility,
            "on_violation": last.on_violation,
            "versions": versions.iter().map(state).collect::<Vec<_>>(),
        })
    });
    line(&json!({ "schemas": schemas.collect::<Vec<_>>() }))
}

fn state(version: &Registered) -> Value {
    json!({"version": version.version, "status": version.status, "topic": version.topic, "registered_at": version.registered_at})
}

pub(super) fn show(version: &Registered, versions: &[Registered], emissions: &Emissions) -> String {
    line(&json!({
        "name": version.name,
        "version": version.version,
        "status": version.status,
        "registered_at": version.registered_at,
        "topic": version.topic,
        "topic_config": version.topic_config,
        "format": version.format,
        "schema": version.schema,
        "compatibility": version.compatibility,
        "on_violation": version.on_violation,
        "owner": version.owner,
        "description": version.description,
        "sla": version.sla,
        "lineage": version.lineage,
        "versions": versions.iter().map(state).collect::<Vec<_>>(),
        "emitted": match emissions {
            Emissions::Counted(emitted) => json!(emitted),
            Emissions::Unknown(_) => Value::Null,
        },
    }))
}

fn line(report: &Value) -> String {
    format!("{report}\n")
}
