//! Where a Postgres server is, who asks, and how safe the way must be: a URL or libpq's `key=value` text, filled up from
//! the `PG*` variables and the password file, by libpq's rules (Postgres manual, "Database Connection Control Functions").

mod conninfo;
mod passfile;
mod settings;
mod methods;
#[cfg(feature = "lab")]
mod for_sqlx;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use methods::{Method, Methods};
pub use settings::OptionsError;

/// How long an attempt to connect may take when nothing else is said. libpq would wait for ever.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything that is needed to open a connection. Its `Debug` form shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    pub(super) host: Host,
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Option<Password>,
    pub(super) database: String,
    pub(super) tls_mode: TlsMode,
    pub(super) root_certificates: Option<RootCertificates>,
    pub(super) client_certificate: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
    pub(super) channel_binding: ChannelBinding,
    pub(super) required_methods: Option<Methods>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) application_name: Option<String>,
    pub(super) passfile: Option<PathBuf>,
    pub(super) server_options: Option<String>,
}

impl ConnectOptions {
    /// Reads a URL (`postgres://`, `postgresql://`) or `key=value` text; empty text means: all from the environment.
    /// `environment` looks up a variable: `&|name| std::env::var(name).ok()`, or a map in a test.
    ///
    /// # Errors
    /// [`OptionsError`]: what is wrong and in which key. It never holds the text itself, which may bear a password.
    pub fn parse(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, OptionsError> {
        let given = if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            conninfo::from_url(text)?
        } else if let Some(scheme) = conninfo::scheme(text) {
            return Err(OptionsError::Scheme(scheme.to_owned()));
        } else {
            conninfo::from_key_values(text)?
        };
        settings::resolve(given, environment)
    }

    /// The server.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The address to connect to in place of the host's (`hostaddr`); the name is then for certificates alone.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The port, also of a Unix socket's name.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The role.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password as given, or else as the password file has it now.
    #[must_use]
    pub fn password(&self) -> Option<Password> {
        if let Some(password) = &self.password {
            return Some(password.clone());
        }
        let key = passfile::Key {
            host: &self.host.for_passfile(),
            port: self.port,
            database: &self.database,
            user: &self.user,
        };
        passfile::look_up(self.passfile.as_deref()?, &key)
    }

    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// What TLS must give.
    #[must_use]
    pub fn tls_mode(&self) -> TlsMode {
        self.tls_mode
    }

    /// Whom to trust.
    #[must_use]
    pub fn root_certificates(&self) -> Option<&RootCertificates> {
        self.root_certificates.as_ref()
    }

    /// The PEM file with the client's certificate.
    #[must_use]
    pub fn client_certificate(&self) -> Option<&Path> {
        self.client_certificate.as_deref()
    }

    /// The PEM file with the client's key.
    #[must_use]
    pub fn client_key(&self) -> Option<&Path> {
        self.client_key.as_deref()
    }

    /// Whether SCRAM is bound to the TLS session.
    #[must_use]
    pub fn channel_binding(&self) -> ChannelBinding {
        self.channel_binding
    }

    /// The methods of authentication that are accepted (`require_auth`); `None`: all.
    #[must_use]
    pub fn required_methods(&self) -> Option<&Methods> {
        self.required_methods.as_ref()
    }

    /// How long an attempt to connect may take; `None` is for ever (`connect_timeout=0`).
    #[must_use]
    pub fn connect_timeout(&self) -> Option<Duration> {
        self.connect_timeout
    }

    /// The name in `pg_stat_activity`.
    #[must_use]
    pub fn application_name(&self) -> Option<&str> {
        self.application_name.as_deref()
    }

    /// Command-line options for the server's session (`options`), such as `-c search_path=outbox`.
    #[must_use]
    pub fn server_options(&self) -> Option<&str> {
        self.server_options.as_deref()
    }

    /// The same with a name for `pg_stat_activity`, if none was given.
    #[must_use]
    pub fn or_application_name(mut self, name: &str) -> Self {
        self.application_name.get_or_insert_with(|| name.to_owned());
        self
    }

    /// The same for another database of the server.
    #[must_use]
    pub fn with_database(mut self, database: &str) -> Self {
        database.clone_into(&mut self.database);
        self
    }

    /// The same with another role and its password.
    #[must_use]
    pub fn with_user(mut self, user: &str, password: Option<Password>) -> Self {
        user.clone_into(&mut self.user);
        self.password = password;
        self
    }

    /// Host and port, or the socket's path: for messages and logs.
    #[must_use]
    pub fn endpoint(&self) -> String {
        match &self.host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]:{}", self.port),
            Host::Tcp(name) => format!("{name}:{}", self.port),
            Host::Unix(_) => self.host.socket_path(self.port).display().to_string(),
        }
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or an address.
    Tcp(String),
    /// The directory of a Unix socket.
    Unix(PathBuf),
}

impl Host {
    /// Where Debian's packages put the socket; libpq's own default is `/tmp`.
    pub(super) const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

    /// The socket's file.
    pub(super) fn socket_path(&self, port: u16) -> PathBuf {
        match self {
            Self::Tcp(_) => PathBuf::new(),
            Self::Unix(directory) => directory.join(format!(".s.PGSQL.{port}")),
        }
    }

    /// A socket in a default directory is `localhost` in the password file.
    fn for_passfile(&self) -> String {
        match self {
            Self::Tcp(name) => name.clone(),
            Self::Unix(directory) if Self::SOCKET_DIRECTORIES.iter().any(|default| directory == Path::new(default)) => {
                "localhost".to_owned()
            }
            Self::Unix(directory) => directory.display().to_string(),
        }
    }
}

/// What TLS must give (`sslmode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsMode {
    /// None.
    Disable,
    /// TLS where the server has it, verifying nothing.
    Prefer,
    /// TLS; who answers is verified only if root certificates are given, as libpq does.
    Require,
    /// TLS with a server whose certificate a trusted root has signed, under whatever name.
    VerifyCa,
    /// TLS with a server whose certificate a trusted root has signed for the host's name.
    VerifyFull,
}

/// Whom to trust (`sslrootcert`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificates {
    /// The certificates of a PEM file.
    File(PathBuf),
    /// The operating system's (`sslrootcert=system`).
    System,
}

/// Whether SCRAM is bound to the TLS session (`channel_binding`), so that nobody in between can pass it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where both sides can.
    Prefer,
    /// Else no connection.
    Require,
}

/// A secret. Neither `Debug` nor any log shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes a secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself. For the wire, and nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}
