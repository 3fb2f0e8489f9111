//! A Postgres for tests: the sandbox's, with roles for each method of authentication, and a certificate authority.
//!
//! `WALPOST_TEST_POSTGRES_VERSION` chooses its version, as for the end-to-end tests.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::{ConnectOptions, Connection};
use crate::lab::sandbox::{Durability, Postgres, PostgresOptions, PostgresVersion, Progress};

/// How long a test waits for what it expects, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a condition, however slow the machine is; panics after a minute.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running server. Role `admin` is a superuser whom everybody is trusted to be.
pub(crate) struct Scratch(Postgres);

impl Scratch {
    /// The server that tests share when they need nothing of their own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Scratch> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// A server with further parameters of `postgresql.conf`.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let own = [
            ("max_wal_senders", "30"),
            ("max_replication_slots", "30"),
            ("wal_sender_timeout", "10s"),
            ("ssl", "on"),
            ("ssl_cert_file", "server.pem"),
            ("ssl_key_file", "server.key"),
            ("ssl_ca_file", "ca.pem"),
        ];
        let rules = [
            "local all all trust",
            "host all admin 127.0.0.1/32 trust",
            "hostssl all certified 127.0.0.1/32 cert",
            "host all plain 127.0.0.1/32 password",
            "host all hashed 127.0.0.1/32 md5",
            "hostssl all unencrypted 127.0.0.1/32 reject",
            "hostnossl all unencrypted 127.0.0.1/32 scram-sha-256",
        ];
        let scratch = Self(start(PostgresOptions {
            version: version(),
            durability: Durability::NoFsync,
            settings: own.iter().chain(settings).map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            hba: rules.map(str::to_owned).into(),
            files: certificates(),
        }));
        let superuser = ConnectOptions::parse(&scratch.0.url(), &|_| None).expect("the sandbox gives a URL");
        let mut connection = Connection::open(&superuser).expect("a connection");
        let roles = "create role admin login superuser; create role certified login;
             set password_encryption = 'scram-sha-256'; create role scram login replication password 'secret';
             create role unencrypted login replication password 'secret';
             create role plain login password 'secret';
             set password_encryption = 'md5'; create role hashed login password 'secret'";
        connection.simple_query(roles).expect("new roles");
        connection.close();
        scratch
    }

    /// Options for a role by TCP, with further `key=value` pairs.
    pub(crate) fn options(&self, role: &str, more: &str) -> ConnectOptions {
        let text = format!("host=127.0.0.1 port={} user={role} dbname=postgres {more}", self.port());
        ConnectOptions::parse(&text, &|_| None).expect("sound options")
    }

    /// Where the Unix socket, `ca.pem`, `server.pem`, `client.pem`, `client.key` and `other.pem` are.
    pub(crate) fn directory(&self) -> &Path {
        self.0.data_path()
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port()
    }

    pub(crate) fn admin(&self) -> ConnectOptions {
        self.options("admin", "sslmode=disable")
    }

    /// Runs SQL as the superuser; the first column of the rows.
    pub(crate) fn sql(&self, sql: &str) -> Vec<String> {
        let mut connection = Connection::open(&self.admin()).expect("a connection");
        let rows = connection.simple_query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        connection.close();
        rows.iter().map(|row| row.text(0).unwrap_or("null").to_owned()).collect()
    }

    /// A new database on this server.
    pub(crate) fn database(&self, name: &str) -> ConnectOptions {
        self.sql(&format!("create database {}", super::quote_identifier(name)));
        self.admin().with_database(name)
    }
}

/// Starts a server on a thread of its own, since some tests are in a runtime and others in none.
fn start(options: PostgresOptions) -> Postgres {
    let starting = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(Postgres::start(options, &Progress::silent()))
    });
    starting.join().expect("starting does not panic").unwrap_or_else(|error| panic!("no PostgreSQL: {error}"))
}

fn version() -> PostgresVersion {
    match std::env::var("WALPOST_TEST_POSTGRES_VERSION") {
        Ok(text) if !text.is_empty() => {
            text.parse().expect("WALPOST_TEST_POSTGRES_VERSION is machine, newest, or a major version")
        }
        _ => PostgresVersion::Machine,
    }
}

/// Certificates, with their keys, of kinds that only OpenSSL makes: X.509 v1, an RSA key for PSS alone, and ECDSA on P-521.
const FOREIGN: [(&str, &[u8]); 6] = [
    ("v1.pem", include_bytes!("certificates/v1.pem")),
    ("v1.key", include_bytes!("certificates/v1.key")),
    ("pss.pem", include_bytes!("certificates/pss.pem")),
    ("pss.key", include_bytes!("certificates/pss.key")),
    ("p521.pem", include_bytes!("certificates/p521.pem")),
    ("p521.key", include_bytes!("certificates/p521.key")),
];

/// A certificate authority; by it, the server's certificate for `localhost` and a client's for `certified`; and an
/// authority that has signed nothing.
fn certificates() -> Vec<(String, Vec<u8>)> {
    let authority = |name: &str| {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).expect("a certificate");
        (certificate.pem(), Issuer::new(params, key))
    };
    let (ca, issuer) = authority("walpost test authority");
    let signed = |names: Vec<String>, common_name: &str| {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(names).expect("a name");
        params.distinguished_name.push(DnType::CommonName, common_name);
        (params.signed_by(&key, &issuer).expect("a certificate").pem(), key.serialize_pem())
    };
    let (server, server_key) = signed(vec!["localhost".to_owned()], "localhost");
    let (client, client_key) = signed(vec![], "certified");
    let files = [
        ("ca.pem", ca),
        ("other.pem", authority("somebody else").0),
        ("server.pem", server),
        ("server.key", server_key),
        ("client.pem", client),
        ("client.key", client_key),
    ];
    let mut files: Vec<_> = files.map(|(name, text)| (name.to_owned(), text.into_bytes())).into();
    files.extend(FOREIGN.map(|(name, text)| (name.to_owned(), text.to_vec())));
    files
}
