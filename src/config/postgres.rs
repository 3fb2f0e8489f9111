//! `[postgres]`: the database, the slot and the publication.

use std::path::PathBuf;

use super::error::Complaint;
use super::names::{SlotName, identifier};
use super::reader::{Section, choice};
use super::secret::Secret;
use super::tree::Value;

/// The variables of libpq that say where a server is; with one of them set, `postgres.url` may be missing.
pub(super) const LIBPQ_VARIABLES: [&str; 4] = ["PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE"];

/// `[postgres]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresConfig {
    /// `postgres.url`, `WALPOST_POSTGRES__URL`: where the database is, as libpq's URL (`postgres://user@host:5432/db`) or
    /// its keywords (`host=... dbname=...`). What it leaves out comes from libpq's `PG*` variables and `.pgpass`; without
    /// it everything does. No default, unless one of `PGHOST`, `PGHOSTADDR`, `PGSERVICE` or `PGDATABASE` is set.
    pub url: Option<Secret>,
    /// The keys about TLS; each goes before what the URL says.
    pub tls: PostgresTls,
    /// `postgres.slot`, `WALPOST_POSTGRES__SLOT`: the logical replication slot, created at the first start. Default
    /// `walpost`.
    pub slot: SlotName,
    /// `postgres.publication`, `WALPOST_POSTGRES__PUBLICATION`: the publication with the outbox tables, named as in the
    /// catalogue, without quotes. Default `outbox`, which `walpost migrate` makes.
    pub publication: String,
}

/// How the connection to Postgres is secured. Names and meanings are libpq's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostgresTls {
    /// `postgres.sslmode`, `WALPOST_POSTGRES__SSLMODE`. Default: the URL's, else `PGSSLMODE`, else `prefer`.
    pub sslmode: Option<SslMode>,
    /// `postgres.sslrootcert`, `WALPOST_POSTGRES__SSLROOTCERT`: a PEM file of the authorities to trust, or `system` for the
    /// system's.
    pub sslrootcert: Option<PathBuf>,
    /// `postgres.sslcert`, `WALPOST_POSTGRES__SSLCERT`: the client's certificate, a PEM file.
    pub sslcert: Option<PathBuf>,
    /// `postgres.sslkey`, `WALPOST_POSTGRES__SSLKEY`: the key to that certificate, a PEM file.
    pub sslkey: Option<PathBuf>,
}

/// How much of TLS is asked for (libpq's `sslmode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS if the server has it, unchecked.
    Prefer,
    /// TLS or nothing, the certificate unchecked unless a root certificate is given.
    Require,
    /// The certificate must come from a trusted authority.
    VerifyCa,
    /// The certificate must also be made out to the host.
    VerifyFull,
}

impl SslMode {
    const WORDS: [(&'static str, Self); 5] = [
        ("disable", Self::Disable),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];

    /// The mode as libpq writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl PostgresConfig {
    /// Reads the section. `libpq_says_where` tells that one of [`LIBPQ_VARIABLES`] is set.
    pub(super) fn read(mut section: Section<'_>, libpq_says_where: bool) -> Self {
        // The value is not looked at here: its errors would have to be written without it. See `connect_options`.
        let url = section.optional("url", |value| Ok(Secret::new(value.as_text()?)));
        if url.is_none() && !libpq_says_where && !section.is_given("url") {
            section.refuse_missing("url", "\"postgres://user@host:5432/database\"");
        }
        let path = |value: &Value| Ok::<_, Complaint>(PathBuf::from(value.as_text()?));
        let tls = PostgresTls {
            sslmode: section.optional("sslmode", |value| choice(value, &SslMode::WORDS)),
            sslrootcert: section.optional("sslrootcert", path),
            sslcert: section.optional("sslcert", path),
            sslkey: section.optional("sslkey", path),
        };
        for (one, other) in [("sslcert", "sslkey"), ("sslkey", "sslcert")] {
            if section.is_given(one) && !section.is_given(other) {
                section.refuse(one, Complaint::new(format!("needs {other} beside it"), format!("give {other} too")));
            }
        }
        let slot = section.or("slot", SlotName::default(), |value| SlotName::parse(value.as_text()?));
        let publication = section.or("publication", "outbox".to_owned(), |value| identifier(value.as_text()?));
        section.finish();
        Self { url, tls, slot, publication }
    }
}
