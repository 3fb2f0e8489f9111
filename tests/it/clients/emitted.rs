//! The events that the clients read, of every preset and format, with their expected contents.

use crate::harness::{Harness, Received};

/// A compressible payload, repeated often enough to fill batches.
const FILLER: &str = "a line that is like the others, Größe, 日本, so that a codec has something to do; ";
const FILLERS: usize = 200;

/// User-defined outbox tables in addition to `outbox.event`.
const TABLES: &str = "
    create table public.bytes (id uuid, schema_name text, schema_version text, topic text, key text, payload bytea, headers json);
    create table public.debezium (id uuid, aggregatetype text, aggregateid text, type text, payload jsonb);
    create table public.routed (id bigint, key text, payload text);
    alter publication outbox add table public.bytes, public.debezium, public.routed";

/// One event with its expected record.
#[derive(Debug, Default)]
pub(super) struct Emitted {
    /// The column; `None` is null.
    pub(super) id: Option<String>,
    /// Name and version of its schema, if its table has one.
    pub(super) schema: Option<(&'static str, &'static str)>,
    /// The same as in `ce_dataschema`.
    pub(super) data_schema: Option<&'static str>,
    pub(super) content_type: Option<&'static str>,
    pub(super) key: Option<&'static str>,
    pub(super) value: Option<Vec<u8>>,
    /// The row's headers.
    pub(super) headers: Vec<(&'static str, Option<&'static str>)>,
    /// Those that are CloudEvents attributes.
    pub(super) extensions: Vec<(&'static str, &'static str)>,
    /// Debezium's `type` column.
    pub(super) event_type: Option<&'static str>,
}

/// Registers schemas of every format, and creates the tables.
pub(super) async fn prepare(harness: &Harness) {
    let register = |name: &str, version: &str, format: &str| {
        format!(
            "select outbox.register_schema_version(name => '{name}', version => '{version}', format => '{format}', topic => null)"
        )
    };
    let mut statements = vec![TABLES.to_owned(), register("größe/事件 %", "2.1.0-β", "json")];
    statements.extend(
        ["json", "text", "bytes", "avro", "protobuf"].map(|format| register(&format!("of.{format}"), "1", format)),
    );
    harness.execute(&statements.join(";")).await;
}

/// The outbox tables of a relay that sends all events to this topic.
pub(super) fn outboxes(topic: &str, type_header: &str) -> String {
    format!(
        "[[outbox]]\ntable = \"outbox.event\"\n[[outbox]]\ntable = \"public.bytes\"\n\
         [[outbox]]\ntable = \"public.debezium\"\npreset = \"debezium\"\ntopic = \"{topic}\"\n\
         header_columns = {{ type = \"{type_header}\" }}\n\
         [[outbox]]\ntable = \"public.routed\"\ntopic = \"{topic}\"\n"
    )
}

/// Emits everything in one transaction, in this order. `number` distinguishes the ids of the rounds.
pub(super) async fn emit(harness: &Harness, number: usize, topic: &str) -> Vec<Emitted> {
    let events = events(number);
    let mut sql = "begin;".to_owned();
    for event in &events {
        sql += &insert(event, topic);
    }
    harness.execute(&(sql + "commit")).await;
    events
}

fn insert(event: &Emitted, topic: &str) -> String {
    let quoted = |text: Option<&str>| text.map_or("null".to_owned(), |text| format!("'{}'", text.replace('\'', "''")));
    let (id, key) = (quoted(event.id.as_deref()), quoted(event.key));
    let text = event.value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
    match (event.schema, event.event_type) {
        (None, None) => format!("insert into public.routed values ({id}, {key}, {});", quoted(text)),
        (None, kind) => {
            format!("insert into public.debezium values ({id}, 'Order', {key}, {}, {});", quoted(kind), quoted(text))
        }
        (Some((name, version)), _) => {
            let headers: serde_json::Map<String, serde_json::Value> =
                event.headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
            let headers = quoted(Some(&serde_json::Value::Object(headers).to_string()));
            let (table, payload) = match (event.content_type, &event.value) {
                (Some("application/json"), _) => ("outbox.event", quoted(text)),
                (_, value) => {
                    let hex: String = value.iter().flatten().map(|byte| format!("{byte:02x}")).collect();
                    ("public.bytes", format!("'\\x{hex}'"))
                }
            };
            format!(
                "insert into {table} (id, schema_name, schema_version, topic, key, payload, headers) \
                 values ({id}, '{name}', '{version}', '{topic}', {key}, {payload}, {headers});"
            )
        }
    }
}

fn events(number: usize) -> Vec<Emitted> {
    let (json, text) = (Some("application/json"), Some("text/plain; charset=utf-8"));
    let of = |schema, data_schema, content_type, key, value: Option<&[u8]>| Emitted {
        schema: Some((schema, "1")),
        data_schema: Some(data_schema),
        content_type,
        key,
        value: value.map(<[u8]>::to_vec),
        ..Emitted::default()
    };
    let of_json = |key, value| of("of.json", "urn:walpost:schema:of.json/1", json, key, value);
    let of_text = |value: &str| of("of.text", "urn:walpost:schema:of.text/1", text, Some("f"), Some(value.as_bytes()));
    let order = r#"{"id": 42, "who": "Größe \"日本\"", "lines": [{"sku": "A-1", "quantity": 2}], "none": null}"#;
    let mut events = vec![
        Emitted {
            headers: vec![
                ("traceparent", Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")),
                ("ce_tenant", Some("Größe 日本")),
                ("none", None),
                ("ce_subject", None),
            ],
            extensions: vec![("tenant", "Größe 日本")],
            ..of_json(Some("42"), Some(order.as_bytes()))
        },
        Emitted {
            schema: Some(("größe/事件 %", "2.1.0-β")),
            data_schema: Some("urn:walpost:schema:gr%C3%B6%C3%9Fe%2F%E4%BA%8B%E4%BB%B6%20%25/2.1.0-%CE%B2"),
            ..of_json(None, Some(br#"{"a": [1, true, 1.5]}"#))
        },
        of_json(Some("gone"), None),
        of_text("kein JSON: {Größe, 日本\n"),
        of(
            "of.bytes",
            "urn:walpost:schema:of.bytes/1",
            Some("application/octet-stream"),
            Some("b"),
            Some(b"\0\xFF\0\xFE"),
        ),
        of("of.bytes", "urn:walpost:schema:of.bytes/1", Some("application/octet-stream"), None, Some(b"")),
        of(
            "of.avro",
            "urn:walpost:schema:of.avro/1",
            Some("application/avro"),
            Some("Ключ"),
            Some(b"\x02\x80\xF6\x00"),
        ),
        of(
            "of.protobuf",
            "urn:walpost:schema:of.protobuf/1",
            Some("application/protobuf"),
            Some("p"),
            Some(b"\x08\x96\x01"),
        ),
        Emitted {
            key: Some("7"),
            value: Some(br#"{"orderId": 7}"#.to_vec()),
            event_type: Some("OrderPlaced"),
            ..Emitted::default()
        },
        Emitted { value: Some("ohne Schema, ohne Schlüssel".into()), ..Emitted::default() },
    ];
    events.extend((0..FILLERS).map(|line| of_text(&format!("{line} {}", FILLER.repeat(20)))));
    for (place, event) in events.iter_mut().enumerate() {
        let id = number * 1_000 + place;
        let is_routed = event.schema.is_none() && event.event_type.is_none();
        event.id = (!is_routed).then(|| format!("00000000-0000-4000-8000-{id:012}"));
    }
    events
}

impl Emitted {
    /// Whether this is its record, apart from the headers.
    pub(super) fn is(&self, record: &Received) -> bool {
        record.key.as_deref() == self.key.map(str::as_bytes) && record.value == self.value
    }
}
