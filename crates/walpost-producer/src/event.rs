//! The event as a service builds it.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// One event: a schema name, a payload, and optionally a key, version, headers and topic.
///
/// The payload is anything that serializes to JSON. To send existing JSON unchanged, use
/// [`RawValue`](serde_json::value::RawValue). Events with one key reach Kafka in the order in which they were emitted.
///
/// ```
/// use walpost_producer::Event;
///
/// #[derive(serde::Serialize)]
/// struct OrderPlaced { order_id: u64, total: &'static str }
///
/// let payload = OrderPlaced { order_id: 42, total: "44.80" };
/// let placed = Event::new("order.placed", &payload).key("42").version("2").header("tenant", "acme");
///
/// let verbatim = serde_json::value::RawValue::from_string(r#"{"total": 1.50}"#.to_owned())?;
/// let same_bytes = Event::new("order.placed", &*verbatim).key("42");
///
/// let gone = Event::tombstone("customer", "c-1138");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "an event does nothing until it is emitted"]
pub struct Event<'a, P: ?Sized> {
    schema: &'a str,
    version: Option<&'a str>,
    key: Option<&'a str>,
    payload: Option<&'a P>,
    headers: Vec<(&'a str, &'a str)>,
    topic: Option<&'a str>,
}

impl<'a, P: Serialize + ?Sized> Event<'a, P> {
    /// An event of the registered schema `schema`. A payload that serializes to `null` is the JSON value null, not a
    /// tombstone: see [`Event::tombstone`].
    pub const fn new(schema: &'a str, payload: &'a P) -> Self {
        Self { schema, version: None, key: None, payload: Some(payload), headers: Vec::new(), topic: None }
    }
}

impl<'a, P: AsRef<[u8]> + ?Sized> Event<'a, P> {
    /// An event of a registered schema whose format is not JSON, such as Avro or Protobuf, for `emit_bytes`: its payload is these
    /// bytes.
    pub const fn of_bytes(schema: &'a str, payload: &'a P) -> Self {
        Self { schema, version: None, key: None, payload: Some(payload), headers: Vec::new(), topic: None }
    }
}

impl<'a> Event<'a, ()> {
    /// An event without a value: in a compacted topic it deletes its key.
    pub const fn tombstone(schema: &'a str, key: &'a str) -> Self {
        Self { schema, version: None, key: Some(key), payload: None, headers: Vec::new(), topic: None }
    }
}

impl<'a, P: ?Sized> Event<'a, P> {
    /// Sets the schema version. Default: the latest registered active one.
    pub const fn version(mut self, version: &'a str) -> Self {
        self.version = Some(version);
        self
    }

    /// Sets the record's key. Without a key, the event is not ordered relative to others.
    pub const fn key(mut self, key: &'a str) -> Self {
        self.key = Some(key);
        self
    }

    /// Adds a header to the record, such as `traceparent`. If given twice, the last value wins.
    pub fn header(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Sets the record's topic, overriding the schema version's.
    pub const fn topic(mut self, topic: &'a str) -> Self {
        self.topic = Some(topic);
        self
    }
}

/// An event as arguments of the SQL functions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row<'a, T = String> {
    pub(crate) schema: &'a str,
    pub(crate) version: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
    /// JSON, or bytes; `None` is a tombstone.
    pub(crate) payload: Option<T>,
    /// A JSON object.
    pub(crate) headers: Option<String>,
    pub(crate) topic: Option<&'a str>,
}

impl<P: Serialize + ?Sized> Event<'_, P> {
    pub(crate) fn to_row(&self) -> Result<Row<'_>, serde_json::Error> {
        self.with(self.payload.map(serde_json::to_string).transpose()?)
    }
}

impl<P: AsRef<[u8]> + ?Sized> Event<'_, P> {
    pub(crate) fn to_row_of_bytes(&self) -> Result<Row<'_, &[u8]>, serde_json::Error> {
        self.with(self.payload.map(AsRef::as_ref))
    }
}

impl<P: ?Sized> Event<'_, P> {
    fn with<T>(&self, payload: Option<T>) -> Result<Row<'_, T>, serde_json::Error> {
        Ok(Row {
            schema: self.schema,
            version: self.version,
            key: self.key,
            payload,
            headers: if self.headers.is_empty() {
                None
            } else {
                Some(serde_json::to_string(&AsObject(&self.headers))?)
            },
            topic: self.topic,
        })
    }
}

/// Pairs, written as an object.
struct AsObject<'a>(&'a [(&'a str, &'a str)]);

impl Serialize for AsObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn unset_parts_of_an_event_are_null_in_its_row() {
        let row = Event::new("order.placed", &[1, 2]).to_row().expect("numbers serialize").payload;
        assert_eq!(row.as_deref(), Some("[1,2]"));

        let event = Event::new("s", "p").version("2").key("k").topic("t").header("a", "1").header("b", "\"");
        let full = event.to_row().expect("text serializes");
        assert_eq!(
            full,
            Row {
                schema: "s",
                version: Some("2"),
                key: Some("k"),
                payload: Some("\"p\"".to_owned()),
                headers: Some(r#"{"a":"1","b":"\""}"#.to_owned()),
                topic: Some("t"),
            }
        );
    }

    #[test]
    fn raw_json_keeps_its_bytes_and_null_is_not_a_tombstone() {
        let written = r#"{ "b": 1.50,  "a": "é" }"#;
        let raw: Box<RawValue> = serde_json::from_str(written).expect("it is JSON");
        let row = Event::new("s", &*raw).to_row().expect("raw JSON serializes").payload;
        assert_eq!(row.as_deref(), Some(written));

        let null = Event::new("s", &None::<u8>).to_row().expect("null serializes").payload;
        assert_eq!(null.as_deref(), Some("null"));
        assert_eq!(Event::tombstone("s", "k").to_row().expect("nothing serializes").payload, None);
    }

    #[test]
    fn bytes_are_a_payload_as_they_are() {
        let event = Event::of_bytes("s", [0_u8, 255].as_slice()).key("k").header("a", "1");
        let row = event.to_row_of_bytes().expect("headers serialize");
        assert_eq!(
            (row.payload, row.key, row.headers.as_deref()),
            (Some(&[0, 255][..]), Some("k"), Some(r#"{"a":"1"}"#))
        );
    }
}
