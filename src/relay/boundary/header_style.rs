//! How events' fields become headers.

/// How an event's own fields become headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderStyle {
    /// The Kafka protocol binding of CloudEvents 1.0, binary mode.
    #[default]
    CloudEvents,
    /// `id`, `schema`, `schema-version`.
    Plain,
    /// `id` and the placed columns, like the Debezium outbox event router.
    Debezium,
}

impl HeaderStyle {
    /// The headers that the relay writes in this style in addition to those of every style; `has_schema` says that
    /// the table's events name a schema version. A row can set none of them.
    #[must_use]
    pub const fn own(self, has_schema: bool) -> &'static [&'static str] {
        match (self, has_schema) {
            (Self::CloudEvents, true) => {
                &["ce_specversion", "ce_id", "ce_source", "ce_time", "ce_type", "ce_dataschema", "content-type"]
            }
            (Self::CloudEvents, false) => &["ce_specversion", "ce_id", "ce_source", "ce_time"],
            (Self::Plain, true) => &["id", "schema", "schema-version"],
            (Self::Plain, false) | (Self::Debezium, _) => &["id"],
        }
    }
}
