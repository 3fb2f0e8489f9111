use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::super::definition::JsonSchema;
use super::*;
use crate::relay::boundary::Format;

fn definition(name: &str, version: &str, schema: Value) -> Definition {
    let file: Arc<Path> = Arc::from(Path::new("c.yaml"));
    Definition {
        place: Place::start_of(&file),
        name: name.to_owned(),
        version: version.to_owned(),
        topic: "orders".to_owned(),
        format: Format::Json,
        schema: Some(JsonSchema { text: schema.to_string(), value: schema }),
        compatibility: Compatibility::Backward,
        owner: Some("checkout".to_owned()),
        description: None,
        sla: Some(json!({"freshness_seconds": 5})),
        lineage: None,
        on_violation: None,
        topic_settings: TopicSettings::default(),
        status: Status::Unsaid,
    }
}

/// The database's row after this was registered.
fn registered(definition: &Definition, ordinal: i32) -> Registered {
    Registered {
        name: definition.name.clone(),
        version: definition.version.clone(),
        ordinal,
        topic: Some(definition.topic.clone()),
        format: "json".to_owned(),
        schema: definition.schema.as_ref().map(|schema| schema.value.clone()),
        compatibility: definition.compatibility.as_str().to_owned(),
        owner: definition.owner.clone(),
        description: definition.description.clone(),
        sla: definition.sla.clone(),
        lineage: definition.lineage.clone(),
        on_violation: definition.on_violation.map(|policy| policy.as_str().to_owned()),
        topic_config: definition.topic_config(),
        status: "active".to_owned(),
        registered_at: "2026-01-01T00:00:00Z".to_owned(),
    }
}

fn text(length: u64) -> Value {
    json!({"type": "object", "properties": {"a": {"type": "string", "maxLength": length}}, "additionalProperties": false})
}

fn refusals(plan: &Plan) -> Vec<(String, &'static str)> {
    plan.refusals().map(|(what, refusal)| (what, refusal.rule())).collect()
}

#[test]
fn registered_versions_are_unchanged_and_new_ones_are_registered_in_order() {
    let all = ["1", "2", "10"].map(|version| definition("s", version, text(5)));
    let plan = Plan::new(&all, &[registered(&all[0], 1)], None);
    let actions: Vec<_> = plan.versions.iter().map(|plan| (plan.definition.version.as_str(), &plan.action)).collect();
    let new = &VersionAction::Register;
    assert_eq!(actions, [("1", &VersionAction::Unchanged), ("2", new), ("10", new)]);
    assert!(plan.may_apply());
    assert_eq!(plan.counts(), [2, 0, 0, 0]);
}

#[test]
fn a_changed_registered_version_is_refused_with_each_difference() {
    let old = definition("s", "1", text(5));
    let mut new = definition("s", "1", text(6));
    new.owner = None;
    new.topic_settings.partitions = Some(3);
    let Plan { versions, .. } = Plan::new(&[new.clone()], &[registered(&old, 1)], None);
    let Refusal::Immutable { differences } = &versions[0].refusals[0] else { panic!("{versions:?}") };
    let expected = [
        "schema /properties/a/maxLength: 5, not 6",
        "owner: \"checkout\", not nothing",
        "topic_config: nothing, not {\"partitions\":3}",
    ];
    assert_eq!(differences.as_slice(), expected);
    // Numbers are compared by value, as jsonb does.
    let mut same = registered(&old, 1);
    same.sla = Some(json!({"freshness_seconds": 5.0}));
    assert!(Plan::new(&[old], &[same], None).may_apply());
}

#[test]
fn a_new_version_must_be_compatible_with_registered_and_new_ones() {
    let (v1, v2, v3) = (definition("s", "1", text(5)), definition("s", "2", text(6)), definition("s", "3", text(4)));
    let other = definition("t", "1", text(1));
    let expected = [("s/3".to_owned(), "max_length_decreased")];
    assert_eq!(refusals(&Plan::new(&[v1.clone(), v2.clone(), v3.clone(), other.clone()], &[], None)), expected);
    let plan = Plan::new(&[v2.clone(), v3.clone(), other], &[registered(&v1, 1), registered(&v2, 2)], None);
    assert_eq!(refusals(&plan), expected);
    let found = plan.refusals().next().and_then(|(_, refusal)| refusal.property().map(str::to_owned));
    assert_eq!(found.as_deref(), Some("/a"));
    // Against the last registered only, and against all.
    let wide = definition("s", "4", text(5));
    let all = [registered(&v1, 1), registered(&v3, 2)];
    assert_eq!(refusals(&Plan::new(std::slice::from_ref(&wide), &all, None)), []);
    let mut transitive = definition("s", "5", text(4));
    transitive.compatibility = Compatibility::BackwardTransitive;
    assert_eq!(refusals(&Plan::new(&[transitive], &all, None)), [("s/5".to_owned(), "max_length_decreased")]);
}

#[test]
fn an_older_version_is_not_registered_after_a_newer_one() {
    let (v1, v2) = (definition("s", "1.9", text(5)), definition("s", "1.10", text(5)));
    let plan = Plan::new(&[v1.clone(), v2.clone()], &[registered(&v2, 1)], None);
    assert_eq!(refusals(&plan), [("s/1.9".to_owned(), "version_order")]);
    // Names have no order that one could be before.
    let (blue, green) = (definition("s", "blue", text(5)), definition("s", "green", text(5)));
    assert!(Plan::new(&[blue], &[registered(&green, 1)], None).may_apply());
}

#[test]
fn drafts_are_skipped_and_a_contracts_status_is_set() {
    let mut draft = definition("s", "2", text(1));
    draft.status = Status::Draft;
    let v1 = definition("s", "1", text(5));
    let v3 = definition("s", "3", text(5));
    let plan = Plan::new(&[v1.clone(), draft, v3], &[], None);
    assert_eq!(plan.versions[1].action, VersionAction::Draft);
    assert!(plan.may_apply(), "nothing is compared with a draft: {:?}", refusals(&plan));
    for (said, present, action) in [
        (Status::Unsaid, "retired", VersionAction::Unchanged),
        (Status::Active, "active", VersionAction::Unchanged),
        (Status::Active, "deprecated", VersionAction::SetStatus { from: "deprecated".to_owned(), to: "active" }),
        (Status::Retired, "active", VersionAction::SetStatus { from: "active".to_owned(), to: "retired" }),
    ] {
        let mut here = registered(&v1, 1);
        here.status = present.to_owned();
        let plan = Plan::new(&[Definition { status: said, ..v1.clone() }], &[here], None);
        assert_eq!(plan.versions[0].action, action, "{said:?} {present}");
    }
}

fn present(partitions: i32, config: &[(&str, &str)]) -> BTreeMap<String, TopicState> {
    let config: BTreeMap<String, String> = config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let set =
        config.iter().filter(|(name, _)| *name != "cleanup.policy").map(|(k, v)| (k.clone(), v.clone())).collect();
    BTreeMap::from([("orders".to_owned(), TopicState::Present { partitions, replication_factor: 1, config, set })])
}

fn with_settings(partitions: Option<i32>, replication_factor: Option<i16>, config: &[(&str, &str)]) -> Definition {
    let config = config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Definition {
        topic_settings: TopicSettings { partitions, replication_factor, config },
        ..definition("s", "1", text(5))
    }
}

#[test]
fn a_topic_is_created_altered_or_unchanged() {
    let topic = |definition: Definition, state: Option<&BTreeMap<String, TopicState>>| {
        Plan::new(&[definition], &[], state).topics.pop().expect("there is a topic")
    };
    let wanted = || with_settings(Some(3), None, &[("retention.ms", "1000")]);
    assert_eq!(topic(wanted(), None).action, TopicAction::Unknown);
    let missing = BTreeMap::from([("orders".to_owned(), TopicState::Missing)]);
    assert_eq!(topic(wanted(), Some(&missing)).action, TopicAction::Create { settings: wanted().topic_settings });
    let as_is = present(3, &[("retention.ms", "1000"), ("cleanup.policy", "delete")]);
    assert_eq!(topic(wanted(), Some(&as_is)).action, TopicAction::Unchanged);
    // Settings that the contract does not name are left alone.
    assert_eq!(topic(with_settings(None, None, &[]), Some(&as_is)).action, TopicAction::Unchanged);
    let other = present(2, &[("retention.ms", "500"), ("cleanup.policy", "delete"), ("segment.ms", "7")]);
    let plan = topic(wanted(), Some(&other));
    let change =
        PropertyChange { name: "retention.ms".to_owned(), present: "500".to_owned(), wanted: "1000".to_owned() };
    let keep = BTreeMap::from([("segment.ms".to_owned(), "7".to_owned())]);
    assert_eq!(plan.action, TopicAction::Alter { partitions: Some((2, 3)), config: vec![change], keep });
    assert!(plan.warnings[0].contains("keys move to other partitions"), "{:?}", plan.warnings);
    let plan = topic(with_settings(None, Some(3), &[]), Some(&as_is));
    assert!(plan.refusals.is_empty() && plan.warnings[0].contains("kafka-reassign-partitions"), "{plan:?}");
}

#[test]
fn topic_changes_that_kafka_cannot_make_are_refused() {
    let state = present(3, &[("retention.ms", "1000")]);
    for (definition, what) in [
        (with_settings(Some(2), None, &[]), "can't remove partitions"),
        (with_settings(None, None, &[("retention", "1")]), "no topic property retention"),
    ] {
        let plan = Plan::new(&[definition], &[], Some(&state));
        let refusals: Vec<_> = plan.refusals().map(|(_, refusal)| refusal.to_string()).collect();
        assert!(refusals.len() == 1 && refusals[0].contains(what), "{refusals:?}");
    }
}

#[test]
fn the_newest_versions_topic_settings_apply() {
    let old = with_settings(Some(9), None, &[]);
    let new = Definition { version: "2".to_owned(), ..with_settings(Some(3), None, &[]) };
    let mut draft = Definition { version: "3".to_owned(), ..with_settings(Some(12), None, &[]) };
    draft.status = Status::Draft;
    let plan = Plan::new(&[old, new.clone(), draft], &[], Some(&BTreeMap::new()));
    assert_eq!(plan.topics.len(), 1);
    assert_eq!(plan.topics[0].action, TopicAction::Create { settings: new.topic_settings });
}

#[test]
fn an_unusable_registered_schema_is_refused_for_comparison() {
    let mut circle = registered(&definition("s", "1", text(5)), 1);
    circle.schema = Some(json!({"$ref": "#"}));
    let v2 = definition("s", "2", text(5));
    let expected = [("s/2".to_owned(), "incomparable")];
    assert_eq!(refusals(&Plan::new(std::slice::from_ref(&v2), std::slice::from_ref(&circle), None)), expected);
    // It does not matter if nothing is compared with it.
    let v3 = definition("s", "3", text(5));
    assert_eq!(refusals(&Plan::new(std::slice::from_ref(&v3), &[circle.clone(), registered(&v2, 2)], None)), []);
    let free = Definition { compatibility: Compatibility::None, ..v2 };
    assert_eq!(refusals(&Plan::new(&[free], &[circle], None)), []);
}
