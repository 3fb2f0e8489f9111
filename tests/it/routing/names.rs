//! Case 6: names of any form that both systems accept.

use super::values;
use crate::harness::{Harness, Relay, config};

/// Quotes a name for TOML and SQL.
fn toml(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn sql(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[tokio::test(flavor = "multi_thread")]
async fn case_06_names_with_capitals_dashes_quotes_non_ascii_and_keywords_work() {
    let harness = Harness::migrated("identifiers").await;
    let names = [
        ("Sales", "OutBox", "Pub"),
        ("out-box", "order-event", "pub-lication"),
        ("say \"hi\"", "it's \"quoted\"", "p'u\"b"),
        ("select", "table", "user"),
        ("Größe", "дело 事件", "Öffentlich ☃"),
        ("back\\slash", "per%cent %s $1", "a.b,c"),
    ];
    let columns = ["Id", "from-key", "pay\"load", "select", "Überschrift"];
    let [id, key, payload, word, header] = columns.map(sql);
    for (number, (schema, table, publication)) in names.into_iter().enumerate() {
        let (qualified, publication_sql) = (format!("{}.{}", sql(schema), sql(table)), sql(publication));
        let insert = |value: &str| {
            format!(
                "insert into {qualified} ({key}, {payload}, {word}, {header}) values ('k', '{value}', 'Word-{number}', 'ü{number}')"
            )
        };
        harness
            .execute(&format!(
                "create schema {schema}; create table {qualified} ({id} uuid default gen_random_uuid(), {key} text, \
                 {payload} json, {word} text, {header} text); create publication {publication_sql} for table {qualified}; {insert}",
                schema = sql(schema),
                insert = insert("\"before\""),
            ))
            .await;
        // Keywords and plain names need no quotes; here they all have them.
        let outbox = format!(
            "[[outbox]]\ntable = {}\ntopic = {}\ncolumns = {{ id = {}, key = {}, payload = {}, headers = false }}\nheader_columns = {{ {} = \"Ü header\" }}",
            toml(&qualified),
            toml(&harness.topic("T-{select}.x_Y")),
            toml(columns[0]),
            toml(columns[1]),
            toml(columns[2]),
            toml(columns[4]),
        );
        let configuration =
            config(&harness, &outbox).replacen("[kafka]", &format!("publication = {}\n[kafka]", toml(publication)), 1);
        let slot = format!("slot = \"{}\"", harness.name());
        let configuration = configuration.replacen(&slot, &format!("slot = \"s{number}_{}\"", harness.name()), 1);
        let mut relay = Relay::start_with(&configuration);
        relay.ready().await;
        harness.execute(&insert("\"after\"")).await;
        let records = harness.consume(&harness.topic(&format!("T-Word-{number}.x_Y")), 2).await;
        assert_eq!(values(&records), [Some("\"before\""), Some("\"after\"")], "{qualified}");
        assert_eq!(records[1].header("Ü header"), Some(format!("ü{number}").as_str()), "{qualified}");
        assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_06_any_schema_name_and_every_legal_topic_name_work() {
    let harness = Harness::migrated("schema_names").await;
    let topic = harness.topic("AZaz09._-");
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let client = harness.session().await;
    // Each of them, percent-encoded.
    let names = [
        ("Order.Placed", "Order.Placed"),
        ("größe/'quoted' \"twice\"", "gr%C3%B6%C3%9Fe%2F'quoted'%20%22twice%22"),
        ("事件", "%E4%BA%8B%E4%BB%B6"),
        ("select", "select"),
    ];
    for (name, _) in names {
        let register = "select outbox.register_schema_version(name => $1, version => '2.1.0-β', topic => $2)";
        client.execute(register, &[&name, &topic]).await.expect("a schema version is registered");
        let emit = "select outbox.emit($1, 'k', '1'::text), outbox.emit_message($1, 'k', '1'::text)";
        client.execute(emit, &[&name]).await.expect("events are emitted");
    }
    let records = harness.consume(&topic, names.len() * 2).await;
    for ((name, encoded), pair) in names.into_iter().zip(records.chunks(2)) {
        for record in pair {
            assert_eq!(record.header("ce_type"), Some(name));
            assert_eq!(
                record.header("ce_dataschema"),
                Some(format!("urn:walpost:schema:{encoded}/2.1.0-%CE%B2").as_str())
            );
        }
    }
}
