//! How an outbox table's events are written.

use super::*;
use crate::relay::decode::rendering::{Converter, Rendering};

fn table(keys: &str) -> Result<Outbox, String> {
    let text = format!("{LEAST}[[outbox]]\ntable = 'public.a'\npreset = 'debezium'\n{keys}");
    load(text, &[]).map(|mut config| config.outboxes.remove(0)).map_err(|errors| errors.to_string())
}

#[test]
fn a_table_has_its_own_headers_and_converters() {
    let keys = "headers = 'debezium'\nkey_converter = 'json'\nvalue_converter = 'json'\nexpand_json_payload = true\n\
                envelope_columns = ['type', 'tenant']\ntombstone_on_empty_payload = true\nheader_columns = ['ce_my-type']";
    let outbox = table(keys).expect("all of it is right");
    let expected = Rendering {
        style: Some(HeaderStyle::Debezium),
        key: Converter::Json,
        value: Converter::Json,
        expands_json: true,
        envelope_columns: vec![("type".into(), "type".into()), ("tenant".into(), "tenant".into())],
        empty_is_tombstone: true,
    };
    assert_eq!(outbox.rendering, expected);
    assert_eq!(table("").expect("no key is needed").rendering, Rendering::default());
    let variable = [
        ("WALPOST_OUTBOX__0__TABLE", "public.a"),
        ("WALPOST_OUTBOX__0__TOPIC", "a"),
        ("WALPOST_OUTBOX__0__VALUE_CONVERTER", "json"),
        ("WALPOST_OUTBOX__0__ENVELOPE_COLUMNS", "{ kind = 'eventType' }"),
    ];
    let config = load(LEAST, &variable).expect("all of it is right");
    assert_eq!(config.outboxes[0].rendering.envelope_columns, [("kind".to_owned(), "eventType".to_owned())]);
}

#[test]
fn the_record_time_and_the_trace_context_are_columns() {
    let outbox = table("columns = { timestamp = 'at' }").expect("all of it is right");
    assert_eq!(column(&outbox, Role::Timestamp), Some(("at", true)));
    assert_eq!(column(&outbox, Role::TracingSpanContext), Some(("tracingspancontext", false)));
    let outbox = table("columns = { tracingspancontext = false }").expect("all of it is right");
    assert_eq!((column(&outbox, Role::Timestamp), column(&outbox, Role::TracingSpanContext)), (None, None));
}

#[test]
fn what_has_no_effect_or_no_meaning_is_refused() {
    for (keys, expected) in [
        ("expand_json_payload = true", "outbox.0.expand_json_payload: has no effect without the json converter"),
        ("envelope_columns = ['type']", "outbox.0.envelope_columns: needs the json converter"),
        (
            "value_converter = 'json'\nenvelope_columns = { type = 'payload' }",
            "outbox.0.envelope_columns: names a member \"payload\", which is the payload itself",
        ),
        (
            "value_converter = 'json'\nenvelope_columns = { type = 'x', kind = 'x' }",
            "outbox.0.envelope_columns: has two members \"x\"",
        ),
        ("key_converter = 'avro'", "outbox.0.key_converter: \"avro\""),
        ("headers = 'none'", "outbox.0.headers: \"none\""),
    ] {
        let errors = table(keys).expect_err(keys);
        assert!(errors.contains(expected), "{errors}");
    }
    let errors = load(format!("{LEAST}[[outbox]]\ntable = 'outbox.event'\nvalue_converter = 'json'"), &[]);
    let errors = errors.expect_err("the contract says what a value is").to_string();
    assert!(errors.contains("outbox.0.value_converter: is not possible without a topic"), "{errors}");
}
