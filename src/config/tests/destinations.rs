//! Allowed topics and headers.

use expect_test::expect;

use super::{LEAST, check, load};
use crate::relay::route::destination::Forbidden;

#[test]
fn case_39_reserved_topics_are_refused_in_the_configuration() {
    let text = format!(
        "{LEAST}
        relay.topics = ['orders.*', 'a b']
        relay.dead_letter_topic = '__consumer_offsets'
        [[outbox]]
        table = 'public.a'
        topic = 'walpost_positions'
        [[outbox]]
        table = 'public.b'
        topic = '__{{key}}'
        [[outbox]]
        table = 'public.c'
        topic = 'outbox.dead-letter'
        [[outbox]]
        table = 'public.d'
        topic = 'orders.{{key}}'"
    );
    check(
        text,
        &[],
        expect![[r#"
            the configuration has 5 mistakes:
              walpost.toml:5: relay.topics: "a b" is not a topic pattern; write 1 to 249 of a-z, A-Z, 0-9, ., _ and -, with * for any of them
              walpost.toml:6: relay.dead_letter_topic: topic __consumer_offsets is reserved: names starting with two underscores are Kafka's internal topics; choose another name
              walpost.toml:9: outbox.0.topic: topic walpost_positions is reserved for walpost's own state; choose another topic
              walpost.toml:12: outbox.1.topic: topic __ is reserved: names starting with two underscores are Kafka's internal topics; choose another topic
              walpost.toml:15: outbox.2.topic: topic outbox.dead-letter is reserved: it is the relay's dead-letter topic; choose another topic"#]],
    );
}

#[test]
fn the_allow_list_applies_to_the_topics_of_tables_and_may_be_a_variable() {
    let table = "[[outbox]]\ntable = 'public.a'\ntopic = 'payments'";
    let errors = load(format!("{LEAST}relay.topics = ['orders.*']\n{table}"), &[]).expect_err("it is outside");
    assert!(errors.to_string().contains("outbox.0.topic: topic payments is not allowed: no pattern of [relay] topics"));
    let variable = [("WALPOST_RELAY__TOPICS", "orders.*, pay*")];
    let config = load(format!("{LEAST}{table}"), &variable).expect("it is inside");
    let destinations = config.relay.destinations();
    assert_eq!((destinations.check("orders.eu"), destinations.check("stock")), (Ok(()), Err(Forbidden::NotListed)));
    assert!(load(format!("{LEAST}relay.topics = []"), &[]).is_err(), "no topic at all");
}

#[test]
fn case_40_a_column_cannot_replace_a_header_that_the_relay_writes() {
    let table = |style: &str, preset: &str, headers: &str| {
        let keys = format!("table = 'public.a'\npreset = '{preset}'\nheader_columns = {{ type = '{headers}' }}");
        load(format!("{LEAST}relay.headers = '{style}'\n[[outbox]]\n{keys}"), &[]).map_err(|errors| errors.to_string())
    };
    for (style, preset, header) in [
        ("cloudevents", "walpost", "ce_id"),
        ("cloudevents", "walpost", "ce_type"),
        ("cloudevents", "walpost", "content-type"),
        ("cloudevents", "debezium", "ce_source"),
        ("plain", "walpost", "schema-version"),
        ("plain", "debezium", "id"),
        ("debezium", "debezium", "id"),
        ("debezium", "debezium", "outbox-replay"),
    ] {
        let errors = table(style, preset, header).expect_err(header);
        assert!(errors.contains(&format!("outbox.0.header_columns: \"{header}\"")), "{errors}");
    }
    // A table without schemas has no type; other CloudEvents attributes are extensions.
    for (style, preset, header) in [
        ("cloudevents", "debezium", "ce_type"),
        ("cloudevents", "walpost", "ce_subject"),
        ("plain", "walpost", "ce_id"),
    ] {
        assert!(table(style, preset, header).is_ok(), "{style} {preset} {header}");
    }
}

#[test]
fn case_39_two_databases_have_different_relay_names() {
    let of = |database: &str| {
        let url = [("WALPOST_POSTGRES__URL", format!("postgres://walpost@localhost/{database}"))];
        let url: Vec<(&str, &str)> = url.iter().map(|(name, value)| (*name, value.as_str())).collect();
        load(LEAST, &url).expect("valid").relay.name
    };
    assert_eq!((of("shop").as_str(), of("billing").as_str()), ("shop", "billing"));
    assert!(of("my%20shop").starts_with("my-shop-") && of("my%20shop") != of("my%2Fshop"));
    let named = load(format!("{LEAST}relay.name = 'walpost'"), &[]).expect("valid");
    assert_eq!(named.relay.name, "walpost");
}
