//! `[postgres]`: the database, the slot and the publication.

use super::error::Complaint;
use super::names::{SlotName, identifier};
use super::nearest::nearest;
use super::reader::{Section, choice};
use super::secret::Secret;
use super::tree::TreeValue;
use crate::postgres::{ConnectOptions, OptionsError};

/// libpq's variables for the server; if one is set, `postgres.url` is optional.
const LIBPQ_VARIABLES: [&str; 3] = ["PGHOST", "PGHOSTADDR", "PGDATABASE"];

/// The values of `postgres.sslmode`, as libpq writes them.
const SSL_MODES: [(&str, &str); 5] = [
    ("disable", "disable"),
    ("prefer", "prefer"),
    ("require", "require"),
    ("verify-ca", "verify-ca"),
    ("verify-full", "verify-full"),
];

/// Keys of a connection string that can be suggested.
const LIBPQ_KEYS: [&str; 10] = [
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslrootcert",
    "connect_timeout",
    "application_name",
    "channel_binding",
];

/// Looks up an environment variable.
pub(super) type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// `[postgres]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresConfig {
    /// How to connect, made of:
    ///
    /// - `postgres.url`, `WALPOST_POSTGRES__URL`: the database, as a libpq URL (`postgres://user@host:5432/db`) or
    ///   its keywords (`host=... dbname=...`). Missing parts come from libpq's `PG*` variables and `.pgpass`. No default, unless one of `PGHOST`, `PGHOSTADDR` or `PGDATABASE` is set.
    /// - `postgres.sslmode`, `WALPOST_POSTGRES__SSLMODE`: `disable`, `prefer`, `require`, `verify-ca` or `verify-full`. This
    ///   key and those below override the URL. Default: the URL's, else `PGSSLMODE`, else `prefer`.
    /// - `postgres.sslrootcert`, `WALPOST_POSTGRES__SSLROOTCERT`: a PEM file of trusted CA certificates, or `system` for
    ///   the operating system's.
    /// - `postgres.sslcert`, `WALPOST_POSTGRES__SSLCERT`: the client certificate, a PEM file.
    /// - `postgres.sslkey`, `WALPOST_POSTGRES__SSLKEY`: the client certificate's key, a PEM file.
    pub connect: ConnectOptions,
    /// `postgres.slot`, `WALPOST_POSTGRES__SLOT`: the logical replication slot, created at the first start. Default
    /// `walpost`.
    pub slot: SlotName,
    /// `postgres.publication`, `WALPOST_POSTGRES__PUBLICATION`: the publication with the outbox tables, unquoted as in the
    /// catalog. Default `outbox`, which `walpost migrate` creates.
    pub publication: String,
}

impl PostgresConfig {
    pub(super) fn read(mut section: Section<'_>, environment: Environment<'_>) -> Option<Self> {
        let url = section.optional("url", |value| Ok(Secret::new(value.as_text()?)));
        let tls = [
            ("sslmode", section.optional("sslmode", |value| Ok(choice(value, &SSL_MODES)?.to_owned()))),
            ("sslrootcert", section.optional("sslrootcert", text)),
            ("sslcert", section.optional("sslcert", text)),
            ("sslkey", section.optional("sslkey", text)),
        ];
        let slot = section.or("slot", SlotName::default(), |value| SlotName::parse(value.as_text()?));
        let publication = section.or("publication", "outbox".to_owned(), |value| identifier(value.as_text()?));
        let is_set = |name: &&str| environment(name).is_some_and(|value| !value.is_empty());
        let says_where = section.is_given("url") || LIBPQ_VARIABLES.iter().any(is_set);
        if !says_where {
            section.refuse_missing("url", "\"postgres://user@host:5432/database\"");
        }
        // With a wrong URL, the rest would be judged as if there were none.
        let connect = (says_where && (url.is_some() || !section.is_given("url"))).then(|| {
            let text = connection_string(url.as_ref(), &tls);
            ConnectOptions::parse(text.reveal(), environment)
        });
        let connect = connect.and_then(|parsed| parsed.map_err(|error| section.refuse("url", complaint(&error))).ok());
        section.finish();
        Some(Self { connect: connect?, slot, publication })
    }
}

fn text(value: &TreeValue) -> Result<String, Complaint> {
    value.as_text().map(str::to_owned)
}

/// The complaint about a connection string. Never shows any part of it: a password with a `/`, `?` or `@` that is not percent-encoded
/// may end up in any part of the URL.
fn complaint(error: &OptionsError) -> Complaint {
    let what = match error {
        OptionsError::Value { key, expected, .. } => format!("its {key} is invalid: expected {expected}"),
        OptionsError::UnknownKey(key) => match nearest(key, LIBPQ_KEYS) {
            Some(meant) => format!("it has an unknown key: did you mean {meant}?"),
            None => "it has a key that libpq does not have".to_owned(),
        },
        OptionsError::Scheme(scheme) => format!("unknown scheme \"{scheme}\""),
        other => other.to_string(),
    };
    let fix = "write postgres://user@host:5432/database, with special characters percent-encoded, or libpq's keywords";
    Complaint::new(what, fix)
}

/// The URL or keywords with the TLS keys appended, where the later of two wins. Empty if everything comes from libpq's variables.
fn connection_string(url: Option<&Secret>, tls: &[(&str, Option<String>)]) -> Secret {
    let mut text = url.map_or_else(String::new, |url| url.reveal().to_owned());
    let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
    for (key, value) in tls.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
        if is_url {
            let separator = if text.contains('?') { '&' } else { '?' };
            let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
            // Form encoding writes a space as +, but libpq accepts only %20.
            text = format!("{text}{separator}{key}={}", value.replace('+', "%20"));
        } else {
            text = format!("{text} {key}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
        }
    }
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(url: Option<&str>) -> String {
        let given = |text: &str| Some(text.to_owned());
        let tls = [("sslmode", given("verify-full")), ("sslrootcert", given("/it's a/ca.pem")), ("sslkey", None)];
        connection_string(url.map(Secret::new).as_ref(), &tls).reveal().to_owned()
    }

    #[test]
    fn tls_keys_override_the_url() {
        assert_eq!(
            string(Some("postgres://u@h/d?sslmode=disable")),
            "postgres://u@h/d?sslmode=disable&sslmode=verify-full&sslrootcert=%2Fit%27s%20a%2Fca.pem"
        );
        assert_eq!(
            string(Some("host=h sslmode=disable")),
            "host=h sslmode=disable sslmode='verify-full' sslrootcert='/it\\'s a/ca.pem'"
        );
        assert_eq!(string(None), " sslmode='verify-full' sslrootcert='/it\\'s a/ca.pem'");
    }
}
