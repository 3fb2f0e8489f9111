//! The same options for sqlx, with which the demo and the benchmark query typed rows.

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{ConnectOptions, Host, RootCertificates, TlsMode};

impl ConnectOptions {
    /// The options as sqlx takes them. The password file is read now; channel binding is not passed on, as sqlx has none.
    #[must_use]
    pub fn to_sqlx(&self) -> PgConnectOptions {
        let mut options = PgConnectOptions::new_without_pgpass()
            .port(self.port)
            .username(&self.user)
            .database(&self.database)
            .application_name(self.application_name().unwrap_or("walpost"));
        options = match (&self.host, self.address) {
            (Host::Unix(directory), _) => options.socket(directory),
            // sqlx takes one name for both; the certificate's name is what must not be lost.
            (Host::Tcp(name), Some(_)) if self.tls_mode == TlsMode::VerifyFull => options.host(name),
            (Host::Tcp(_), Some(address)) => options.host(&address.to_string()),
            (Host::Tcp(name), None) => options.host(name),
        };
        if let Some(password) = self.password() {
            options = options.password(password.reveal());
        }
        options = options.ssl_mode(match self.tls_mode {
            TlsMode::Disable => PgSslMode::Disable,
            TlsMode::Prefer => PgSslMode::Prefer,
            TlsMode::Require if self.root_certificates.is_some() => PgSslMode::VerifyCa,
            TlsMode::Require => PgSslMode::Require,
            TlsMode::VerifyCa => PgSslMode::VerifyCa,
            TlsMode::VerifyFull => PgSslMode::VerifyFull,
        });
        // Without a file sqlx trusts the system's roots, which is what `system` asks for.
        if let Some(RootCertificates::File(path)) = &self.root_certificates {
            options = options.ssl_root_cert(path);
        }
        if let (Some(certificate), Some(key)) = (&self.client_certificate, &self.client_key) {
            options = options.ssl_client_cert(certificate).ssl_client_key(key);
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sqlx_gets_is_what_was_asked_for() {
        let options = ConnectOptions::parse("postgres://u:p@h:1/d?sslmode=verify-ca&sslrootcert=/ca", &|_| None);
        let options = options.expect("sound").to_sqlx();
        assert_eq!((options.get_host(), options.get_port()), ("h", 1));
        assert_eq!((options.get_username(), options.get_database()), ("u", Some("d")));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyCa));
    }
}
