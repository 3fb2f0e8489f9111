//! Why an event could not be emitted.

/// SQLSTATE of an event whose schema or version is not registered, or whose schema has no active version.
const UNKNOWN_SCHEMA: &str = "WP001";

/// SQLSTATE of an event whose schema version is retired.
const RETIRED_SCHEMA: &str = "WP002";

/// An event was not emitted. `D` is the client's error type. Except for [`EmitError::Serialize`], the transaction has failed.
#[derive(Debug, thiserror::Error)]
pub enum EmitError<D: std::error::Error + 'static> {
    /// The schema or its version is not registered, or, without a version, the schema has no active one.
    #[error("schema {name}{} is not registered or not active", version.as_ref().map(|v| format!(", version {v},")).unwrap_or_default())]
    UnknownSchema {
        /// The schema name of the event.
        name: String,
        /// The version, if the event named one.
        version: Option<String>,
        /// PostgreSQL's error, which lists the existing versions.
        source: D,
    },
    /// The schema version is retired: existing events are still published, new ones are rejected.
    #[error("schema version {name}/{version} is retired")]
    RetiredSchema {
        /// The schema's name.
        name: String,
        /// The version that the event named.
        version: String,
        /// PostgreSQL's error.
        source: D,
    },
    /// The payload does not serialize to JSON. Nothing was sent.
    #[error("the event's payload does not serialize to JSON")]
    Serialize(#[from] serde_json::Error),
    /// Any other error of PostgreSQL or the connection.
    #[error("the database rejected the event")]
    Database(#[source] D),
}

/// The fields of a database error that identify it, by PostgreSQL's names
/// (<https://www.postgresql.org/docs/current/protocol-error-fields.html>).
pub(crate) struct Fields<'a> {
    pub(crate) sqlstate: &'a str,
    /// Holds the schema's name.
    pub(crate) data_type: Option<&'a str>,
    /// Holds the version; empty if the event named none.
    pub(crate) constraint: Option<&'a str>,
}

impl<D: std::error::Error + 'static> EmitError<D> {
    /// Classifies a database error by its fields, never by its text.
    pub(crate) fn classify(error: D, fields: impl FnOnce(&D) -> Option<Fields<'_>>) -> Self {
        enum Kind {
            Unknown { name: String, version: String },
            Retired { name: String, version: String },
            Other,
        }
        let kind = fields(&error).map_or(Kind::Other, |fields| {
            let name = fields.data_type.unwrap_or_default().to_owned();
            let version = fields.constraint.unwrap_or_default().to_owned();
            match fields.sqlstate {
                UNKNOWN_SCHEMA => Kind::Unknown { name, version },
                RETIRED_SCHEMA => Kind::Retired { name, version },
                _ => Kind::Other,
            }
        });
        match kind {
            Kind::Unknown { name, version } => {
                Self::UnknownSchema { name, version: Some(version).filter(|v| !v.is_empty()), source: error }
            }
            Kind::Retired { name, version } => Self::RetiredSchema { name, version, source: error },
            Kind::Other => Self::Database(error),
        }
    }
}
