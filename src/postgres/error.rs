//! Errors of connections to Postgres.

use std::io;
use std::time::Duration;

use super::frame::{Body, ProtocolError};
use super::tls::TlsError;

/// The SQLSTATE codes that the relay branches on (Postgres manual, appendix A).
pub(crate) mod sqlstate {
    /// `protocol_violation`: also how PgBouncer answers a parameter that it does not know.
    pub(crate) const PROTOCOL_VIOLATION: &str = "08P01";
    /// `insufficient_privilege`.
    pub(crate) const INSUFFICIENT_PRIVILEGE: &str = "42501";
    /// `undefined_table`.
    pub(crate) const UNDEFINED_TABLE: &str = "42P01";
    /// `undefined_function`.
    pub(crate) const UNDEFINED_FUNCTION: &str = "42883";
    /// `undefined_column`.
    pub(crate) const UNDEFINED_COLUMN: &str = "42703";
    /// `undefined_object`: among others a slot or a publication that is not there.
    pub(crate) const UNDEFINED_OBJECT: &str = "42704";
    /// `duplicate_object`: among others a slot that is there already.
    pub(crate) const DUPLICATE_OBJECT: &str = "42710";
    /// `invalid_schema_name`.
    pub(crate) const INVALID_SCHEMA_NAME: &str = "3F000";
    /// A file of the server is gone.
    pub(crate) const UNDEFINED_FILE: &str = "58P01";
    /// `object_in_use`: among others a slot that another process holds.
    pub(crate) const OBJECT_IN_USE: &str = "55006";
    /// `object_not_in_prerequisite_state`: among others a wrong `wal_level` or an invalidated slot.
    pub(crate) const OBJECT_NOT_IN_PREREQUISITE_STATE: &str = "55000";
    /// `configuration_limit_exceeded`: among others no free replication slot.
    pub(crate) const CONFIGURATION_LIMIT_EXCEEDED: &str = "53400";
    /// `too_many_connections`: among others no free walsender.
    pub(crate) const TOO_MANY_CONNECTIONS: &str = "53300";
    /// `lock_not_available`.
    pub(crate) const LOCK_NOT_AVAILABLE: &str = "55P03";
    /// `deadlock_detected`.
    pub(crate) const DEADLOCK_DETECTED: &str = "40P01";
    /// `query_canceled`: among others by `statement_timeout`.
    pub(crate) const QUERY_CANCELED: &str = "57014";
    /// `cannot_connect_now`: the server starts up or shuts down.
    pub(crate) const CANNOT_CONNECT_NOW: &str = "57P03";
    /// `invalid_password`.
    pub(crate) const INVALID_PASSWORD: &str = "28P01";
    /// `invalid_authorization_specification`: no entry in `pg_hba.conf`, no such role.
    pub(crate) const INVALID_AUTHORIZATION: &str = "28000";
    /// `invalid_catalog_name`: the database does not exist.
    pub(crate) const INVALID_CATALOG_NAME: &str = "3D000";
}

/// Why a connection could not be made or did not last, or what the server refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection could be made to any address of the host.
    #[error("cannot reach Postgres at {host}")]
    Unreachable {
        /// Host and port, or the socket's path.
        host: String,
        /// What the last address tried gave.
        #[source]
        source: io::Error,
    },
    /// No TLS session as `sslmode` demands it.
    #[error("no TLS session with Postgres at {host}")]
    Tls {
        /// Host and port.
        host: String,
        /// What exactly.
        #[source]
        source: TlsError,
    },
    /// The client side of authentication can't go on. What the server refuses is [`Error::Server`].
    #[error("cannot authenticate to Postgres")]
    Auth(#[from] AuthError),
    /// The server's own error.
    #[error(transparent)]
    Server(Box<ServerError>),
    /// The server violated the protocol.
    #[error("Postgres sent a message that violates its protocol")]
    Protocol(#[from] ProtocolError),
    /// The server, or what is between, did not answer in time when the connection was opened.
    #[error("Postgres at {host} did not answer for {} s while connecting", after.as_secs_f32())]
    ConnectTimeout {
        /// Host and port, or the socket's path.
        host: String,
        /// How long.
        after: Duration,
    },
    /// The server did not answer in time.
    #[error("Postgres did not answer for {} s while {doing}", after.as_secs_f32())]
    Timeout {
        /// What was waited for.
        doing: &'static str,
        /// How long.
        after: Duration,
    },
    /// The connection ended.
    #[error("the connection to Postgres was closed")]
    Closed {
        /// The system's reason, if it was not an orderly end.
        #[source]
        source: Option<io::Error>,
    },
    /// Not the server answers but a connection pooler, which hands one session to many clients.
    #[error(
        "the connection to Postgres at {host} goes through a connection pooler; connect to the server directly, because \
         walpost keeps settings and locks in its sessions"
    )]
    Pooled {
        /// Host and port, or the socket's path.
        host: String,
    },
    /// The caller interrupted the wait.
    #[error("waiting for Postgres was interrupted")]
    Interrupted,
}

impl Error {
    /// The SQLSTATE, if the server gave one.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Server(error) => Some(&error.code),
            _ => None,
        }
    }

    /// Whether a retry can succeed without intervention: network errors, or a server that is starting, stopping or out of
    /// connections. Wrong passwords, certificates and SQL stay wrong.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::ConnectTimeout { .. } | Self::Timeout { .. } | Self::Closed { .. } => true,
            Self::Tls { source, .. } => source.is_transient(),
            // Classes 08 connection exception, 40 transaction rollback, 53 insufficient resources, 57P operator
            // intervention, 58 system error.
            Self::Server(error) => {
                let code = error.code.as_str();
                ["08", "40", "53", "57P", "58"].iter().any(|class| code.starts_with(class))
                    && code != sqlstate::CONFIGURATION_LIMIT_EXCEEDED
            }
            Self::Auth(_) | Self::Protocol(_) | Self::Pooled { .. } | Self::Interrupted => false,
        }
    }

    pub(crate) fn closed_by(source: io::Error) -> Self {
        Self::Closed { source: Some(source) }
    }
}

/// An ErrorResponse or NoticeResponse, as far as the relay shows or branches on it
/// (Postgres manual, "Error and Notice Message Fields").
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{severity} {code}: {message}{}{}", labelled(" (", detail, ")"), labelled("; hint: ", hint, ""))]
pub struct ServerError {
    /// `ERROR`, `FATAL`, `PANIC`, or a notice's.
    pub severity: String,
    /// The SQLSTATE, five characters.
    pub code: String,
    /// The primary message, in the server's language.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Where in the server's code it happened.
    pub context: Option<String>,
    /// The table concerned.
    pub table: Option<String>,
    /// The column concerned.
    pub column: Option<String>,
    /// The constraint concerned.
    pub constraint: Option<String>,
}

impl ServerError {
    /// Reads the body of an ErrorResponse or NoticeResponse.
    pub(crate) fn parse(body: &mut Body<'_>) -> Result<Self, ProtocolError> {
        let mut error = Self::default();
        loop {
            let field = body.byte("type of an error field")?;
            if field == 0 {
                return Ok(error);
            }
            let text = String::from_utf8_lossy(body.c_string("an error field")?).into_owned();
            match field {
                // `V` is the severity that is never translated; it comes after `S` and wins.
                b'S' | b'V' => error.severity = text,
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                b'W' => error.context = Some(text),
                b't' => error.table = Some(text),
                b'c' => error.column = Some(text),
                b'n' => error.constraint = Some(text),
                _ => {}
            }
        }
    }
}

fn labelled(before: &str, text: &Option<String>, after: &str) -> String {
    text.as_ref().map(|text| format!("{before}{text}{after}")).unwrap_or_default()
}

/// Why the client can't go on with authentication.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The server wants a password, and there is none.
    #[error(
        "the server asks for a password ({method}), but none is set: set it in the URL, PGPASSWORD or the password file"
    )]
    NoPassword {
        /// The method that the server asks for.
        method: &'static str,
    },
    /// The server asks for a method that this client does not have.
    #[error("the server asks for {0}, which is not supported: use scram-sha-256, md5, password or cert in pg_hba.conf")]
    Unsupported(String),
    /// `channel_binding=require`, and it can't be had.
    #[error("channel_binding=require, but {0}")]
    NoChannelBinding(&'static str),
    /// `require_auth` does not have what the server asks for.
    #[error("the server asks for authentication by {0}, which require_auth does not allow")]
    NotAllowed(&'static str),
    /// The server says that all is well before it has shown that it knows the password.
    #[error("the server completed authentication without proving its identity")]
    Unproved,
    /// The SCRAM exchange failed on this side: among others a server that does not know the password.
    #[error("the SCRAM exchange failed")]
    Scram(#[source] io::Error),
}

/// A message that the protocol can't carry.
pub(super) fn invalid_statement(_: io::Error) -> Error {
    ProtocolError { what: "a statement that the protocol can't carry", offset: 0 }.into()
}
