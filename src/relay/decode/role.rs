//! The parts that columns play in an event.

/// The part that a column plays in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The event's id.
    Id,
    SchemaName,
    SchemaVersion,
    /// A topic that overrides the schema version's.
    Topic,
    /// The message key.
    Key,
    Payload,
    /// A JSON object of additional headers.
    Headers,
    /// When the event was created.
    CreatedAt,
    /// A payload that is not JSON, in place of `Payload`.
    PayloadBytes,
    /// The record's timestamp, in place of the commit's.
    Timestamp,
    /// The writer's trace context, as the text of Java's `Properties`.
    TracingSpanContext,
}

impl Role {
    /// How many roles there are.
    pub const COUNT: usize = 11;

    /// The columns of `outbox.event`.
    pub const OF_EVENT: [Self; 9] = [
        Self::Id,
        Self::SchemaName,
        Self::SchemaVersion,
        Self::Topic,
        Self::Key,
        Self::Payload,
        Self::Headers,
        Self::CreatedAt,
        Self::PayloadBytes,
    ];

    /// The role's name in the configuration, which is the column name in `outbox.event` if that has one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::SchemaName => "schema_name",
            Self::SchemaVersion => "schema_version",
            Self::Topic => "topic",
            Self::Key => "key",
            Self::Payload => "payload",
            Self::Headers => "headers",
            Self::CreatedAt => "created_at",
            Self::PayloadBytes => "payload_bytes",
            Self::Timestamp => "timestamp",
            Self::TracingSpanContext => "tracingspancontext",
        }
    }
}
