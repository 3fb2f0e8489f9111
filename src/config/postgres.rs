//! `[postgres]`: the database, the slot and the publication.

use super::error::Complaint;
use super::names::{SlotName, identifier};
use super::nearest::nearest;
use super::reader::{Section, choice};
use super::secret::Secret;
use super::tree::Value;
use crate::postgres::{ConnectOptions, OptionsError};

/// The variables of libpq that say where a server is; with one of them set, `postgres.url` may be missing.
const LIBPQ_VARIABLES: [&str; 3] = ["PGHOST", "PGHOSTADDR", "PGDATABASE"];

/// The values of `postgres.sslmode`, as libpq writes them.
const SSL_MODES: [(&str, &str); 5] = [
    ("disable", "disable"),
    ("prefer", "prefer"),
    ("require", "require"),
    ("verify-ca", "verify-ca"),
    ("verify-full", "verify-full"),
];

/// Keys of a connection string that somebody may have meant.
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
    /// - `postgres.url`, `WALPOST_POSTGRES__URL`: where the database is, as libpq's URL (`postgres://user@host:5432/db`) or
    ///   its keywords (`host=... dbname=...`). What it leaves out comes from libpq's `PG*` variables and `.pgpass`; without
    ///   it everything does. No default, unless one of `PGHOST`, `PGHOSTADDR` or `PGDATABASE` is set.
    /// - `postgres.sslmode`, `WALPOST_POSTGRES__SSLMODE`: `disable`, `prefer`, `require`, `verify-ca` or `verify-full`. This
    ///   key and those below go before what the URL says. Default: the URL's, else `PGSSLMODE`, else `prefer`.
    /// - `postgres.sslrootcert`, `WALPOST_POSTGRES__SSLROOTCERT`: a PEM file of the authorities to trust, or `system` for
    ///   the system's.
    /// - `postgres.sslcert`, `WALPOST_POSTGRES__SSLCERT`: the client's certificate, a PEM file.
    /// - `postgres.sslkey`, `WALPOST_POSTGRES__SSLKEY`: the key to that certificate, a PEM file.
    pub connect: ConnectOptions,
    /// `postgres.slot`, `WALPOST_POSTGRES__SLOT`: the logical replication slot, created at the first start. Default
    /// `walpost`.
    pub slot: SlotName,
    /// `postgres.publication`, `WALPOST_POSTGRES__PUBLICATION`: the publication with the outbox tables, named as in the
    /// catalogue, without quotes. Default `outbox`, which `walpost migrate` makes.
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
        // Without a right URL the rest would be judged as if there were none.
        let connect = (says_where && (url.is_some() || !section.is_given("url"))).then(|| {
            let text = connection_string(url.as_ref(), &tls);
            ConnectOptions::parse(text.reveal(), environment)
        });
        let connect = connect.and_then(|parsed| parsed.map_err(|error| section.refuse("url", complaint(&error))).ok());
        section.finish();
        Some(Self { connect: connect?, slot, publication })
    }
}

fn text(value: &Value) -> Result<String, Complaint> {
    value.as_text().map(str::to_owned)
}

/// The complaint about a connection string. Never shows a part of it: with a `/`, `?` or `@` in it, a password that is not
/// percent-encoded lands elsewhere in the URL.
fn complaint(error: &OptionsError) -> Complaint {
    let what = match error {
        OptionsError::Value { key, expected, .. } => format!("its {key} is not right: it takes {expected}"),
        OptionsError::UnknownKey(key) => match nearest(key, LIBPQ_KEYS) {
            Some(meant) => format!("it has a key that libpq does not know: did you mean {meant}?"),
            None => "it has a key that libpq does not know".to_owned(),
        },
        other => other.to_string(),
    };
    let mend = "write postgres://user@host:5432/database, with special characters percent-encoded, or libpq's keywords";
    Complaint::new(what, mend)
}

/// The URL or the keywords with the keys about TLS behind them, where the later of two wins. Empty if everything comes from
/// libpq's variables.
fn connection_string(url: Option<&Secret>, tls: &[(&str, Option<String>)]) -> Secret {
    let mut text = url.map_or_else(String::new, |url| url.reveal().to_owned());
    let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
    for (key, value) in tls.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
        if is_url {
            let separator = if text.contains('?') { '&' } else { '?' };
            let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
            // A form writes a space as +, libpq takes %20 alone.
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
    fn keys_about_tls_go_before_the_urls() {
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
