//! From keys and values to options: the environment's and the default values, and what each value must be.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::conninfo::Given;
use super::methods::Methods;
use super::{CONNECT_TIMEOUT, ChannelBinding, ConnectOptions, Host, Password, RootCertificates, TlsMode};

/// What is wrong with the text that names a server. Never holds a value that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// It is neither a URL nor `key=value` pairs.
    #[error("the Postgres connection string can't be read: {0}")]
    Syntax(&'static str),
    /// A URL of another kind.
    #[error("unknown scheme \"{0}\"; write postgres://")]
    Scheme(String),
    /// The key is no key of libpq's.
    #[error("the Postgres connection string has an unknown key \"{0}\"")]
    UnknownKey(String),
    /// The key is libpq's, but asks for what this client does not have.
    #[error("the Postgres connection string has the key \"{0}\", which is not supported")]
    UnsupportedKey(String),
    /// The value is none of the key's.
    #[error("\"{value}\" is not valid for the Postgres option {key}: expected {expected}")]
    Value {
        /// The key, or the environment's variable.
        key: &'static str,
        /// The value given.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// More than one host.
    #[error("the Postgres connection string names several hosts: name the one where the slot lives (the primary)")]
    SeveralHosts,
    /// Nothing says who connects.
    #[error("no Postgres role: set user in the URL, or PGUSER")]
    NoUser,
    /// The system's roots vouch for whole internets; without the name's check they would vouch for anybody.
    #[error("sslrootcert=system requires sslmode=verify-full")]
    SystemRootsNeedVerifyFull,
    /// Both or neither.
    #[error("sslcert and sslkey must be set together: {0} is missing")]
    HalfClientCertificate(&'static str),
}

/// Keys with their environment variables, where libpq has one.
const KEYS: [(&str, &str); 16] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("require_auth", "PGREQUIREAUTH"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("application_name", "PGAPPNAME"),
    ("passfile", "PGPASSFILE"),
    ("options", "PGOPTIONS"),
];

/// libpq's keys that change nothing here, or ask for what is done anyway.
const WITHOUT_EFFECT: [&str; 14] = [
    "client_encoding",
    "fallback_application_name",
    "gsslib",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "sslcompression",
    "sslsni",
    "ssl_min_protocol_version",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// libpq's keys that would be ignored at the user's cost.
const UNSUPPORTED: [&str; 9] = [
    "load_balance_hosts",
    "replication",
    "requirepeer",
    "service",
    "sslcrl",
    "sslcrldir",
    "sslnegotiation",
    "sslpassword",
    "ssl_max_protocol_version",
];

/// Variables of those keys, and of [`WITHOUT_EFFECT`], that ask for safety.
const UNSUPPORTED_VARIABLES: [(&str, &str); 3] =
    [("requirepeer", "PGREQUIREPEER"), ("sslcrl", "PGSSLCRL"), ("sslcrldir", "PGSSLCRLDIR")];

/// Keys without effect for these of their values alone: the others ask for safety that is not had here.
const HARMLESS: [(&str, &str, &[&str], &str); 2] = [
    ("gssencmode", "PGGSSENCMODE", &["disable", "prefer"], "disable or prefer: GSSAPI encryption is not supported"),
    (
        "ssl_min_protocol_version",
        "PGSSLMINPROTOCOLVERSION",
        &["TLSv1", "TLSv1.1", "TLSv1.2"],
        "TLSv1.2 or lower: walpost supports TLS 1.2 and 1.3",
    ),
];

/// Refuses what would be ignored at the cost of safety.
fn refuse_ignored(given: &Given, environment: &dyn Fn(&str) -> Option<String>) -> Result<(), OptionsError> {
    let set = |variable: &str| environment(variable).filter(|value| !value.is_empty());
    if let Some((key, _)) = UNSUPPORTED_VARIABLES.iter().find(|(_, variable)| set(variable).is_some()) {
        return Err(OptionsError::UnsupportedKey((*key).to_owned()));
    }
    for (key, variable, harmless, expected) in HARMLESS {
        let value = given.get(key).cloned().or_else(|| set(variable)).filter(|value| !value.is_empty());
        if let Some(value) = value.filter(|value| !harmless.contains(&value.as_str())) {
            return Err(OptionsError::Value { key, value, expected });
        }
    }
    Ok(())
}

/// Fills up from the environment and checks every value.
pub(super) fn resolve(
    mut given: Given,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<ConnectOptions, OptionsError> {
    if let Some(key) = given.keys().find(|key| UNSUPPORTED.contains(&key.as_str())) {
        return Err(OptionsError::UnsupportedKey(key.clone()));
    }
    refuse_ignored(&given, environment)?;
    let known = |key: &str| KEYS.iter().any(|(name, _)| *name == key) || WITHOUT_EFFECT.contains(&key);
    if let Some(key) = given.keys().find(|key| !known(key)) {
        return Err(OptionsError::UnknownKey(key.clone()));
    }
    let mut take = |key: &'static str| {
        let variable = KEYS.iter().find(|(name, _)| *name == key).map(|(_, variable)| *variable);
        given.remove(key).or_else(|| variable.and_then(environment)).filter(|value| !value.is_empty())
    };
    let home = environment("HOME").map(PathBuf::from);
    let in_home = |file: &str| home.as_ref().map(|home| home.join(file));
    let existing = |file: &str| in_home(file).filter(|path| path.exists());

    let port = match take("port") {
        Some(text) => parse(&text, "port", "a number from 1 to 65535", |text| text.parse().ok().filter(|n| *n > 0))?,
        None => 5432,
    };
    let address: Option<IpAddr> = take("hostaddr")
        .map(|text| parse(&text, "hostaddr", "one IP address", |text| text.parse().ok()))
        .transpose()?;
    let host = match (take("host"), address) {
        (Some(text), _) => host(text)?,
        (None, Some(address)) => Host::Tcp(address.to_string()),
        (None, None) => default_host(port),
    };
    let user = take("user").or_else(|| environment("USER")).or_else(|| environment("LOGNAME"));
    let user = user.ok_or(OptionsError::NoUser)?;
    let roots = take("sslrootcert").map(|text| match text.as_str() {
        "system" => RootCertificates::System,
        path => RootCertificates::File(path.into()),
    });
    let tls_mode = tls_mode(take("sslmode").as_deref(), roots.as_ref())?;
    let (client_certificate, client_key) = match (take("sslcert"), take("sslkey")) {
        (Some(certificate), Some(key)) => (Some(certificate.into()), Some(key.into())),
        (Some(_), None) => return Err(OptionsError::HalfClientCertificate("sslkey")),
        (None, Some(_)) => return Err(OptionsError::HalfClientCertificate("sslcert")),
        (None, None) => match (existing(".postgresql/postgresql.crt"), existing(".postgresql/postgresql.key")) {
            (Some(certificate), Some(key)) => (Some(certificate), Some(key)),
            _ => (None, None),
        },
    };
    Ok(ConnectOptions {
        database: take("dbname").unwrap_or_else(|| user.clone()),
        channel_binding: channel_binding(take("channel_binding").as_deref())?,
        required_methods: take("require_auth").map(|text| Methods::parse(&text)).transpose()?,
        connect_timeout: connect_timeout(take("connect_timeout").as_deref())?,
        application_name: take("application_name"),
        passfile: take("passfile").map(PathBuf::from).or_else(|| in_home(".pgpass")),
        password: take("password").map(Password::new),
        server_options: take("options"),
        root_certificates: roots.or_else(|| existing(".postgresql/root.crt").map(RootCertificates::File)),
        host,
        address,
        port,
        user,
        tls_mode,
        client_certificate,
        client_key,
    })
}

fn host(text: String) -> Result<Host, OptionsError> {
    if text.contains(',') {
        return Err(OptionsError::SeveralHosts);
    }
    // Only an absolute path names a socket; libpq's `@` (Linux' abstract sockets) is not offered by any package.
    Ok(if text.starts_with('/') { Host::Unix(text.into()) } else { Host::Tcp(text) })
}

/// A socket that is there, as libpq has it built in; else the loopback, as libpq does where there are no sockets.
fn default_host(port: u16) -> Host {
    let sockets = Host::SOCKET_DIRECTORIES.map(|directory| Host::Unix(directory.into()));
    let found = sockets.into_iter().find(|socket| socket.socket_path(port).exists());
    found.unwrap_or_else(|| Host::Tcp("localhost".to_owned()))
}

fn tls_mode(text: Option<&str>, roots: Option<&RootCertificates>) -> Result<TlsMode, OptionsError> {
    let system = roots == Some(&RootCertificates::System);
    let Some(text) = text else { return Ok(if system { TlsMode::VerifyFull } else { TlsMode::Prefer }) };
    let mode = parse(text, "sslmode", "disable, prefer, require, verify-ca or verify-full", |text| {
        Some(match text {
            "disable" => TlsMode::Disable,
            "prefer" => TlsMode::Prefer,
            "require" => TlsMode::Require,
            "verify-ca" => TlsMode::VerifyCa,
            "verify-full" => TlsMode::VerifyFull,
            _ => return None,
        })
    })?;
    if system && mode != TlsMode::VerifyFull { Err(OptionsError::SystemRootsNeedVerifyFull) } else { Ok(mode) }
}

fn channel_binding(text: Option<&str>) -> Result<ChannelBinding, OptionsError> {
    parse(text.unwrap_or("prefer"), "channel_binding", "disable, prefer or require", |text| {
        Some(match text {
            "disable" => ChannelBinding::Disable,
            "prefer" => ChannelBinding::Prefer,
            "require" => ChannelBinding::Require,
            _ => return None,
        })
    })
}

fn connect_timeout(text: Option<&str>) -> Result<Option<Duration>, OptionsError> {
    let Some(text) = text else { return Ok(Some(CONNECT_TIMEOUT)) };
    let seconds =
        parse(text, "connect_timeout", "whole seconds, 0 for no limit", |text| text.trim().parse::<u32>().ok())?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds.into())))
}

fn parse<T>(
    text: &str,
    key: &'static str,
    expected: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, OptionsError> {
    read(text).ok_or_else(|| OptionsError::Value { key, value: text.to_owned(), expected })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn with(text: &str, environment: &[(&str, &str)]) -> Result<ConnectOptions, OptionsError> {
        ConnectOptions::parse(text, &|name| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn parsed(text: &str) -> ConnectOptions {
        with(text, &[]).expect("a sound connection string")
    }

    #[test]
    fn a_url_is_read_with_every_part_decoded() {
        let options = parsed(
            "postgresql://a%40b:p%3A%2Fw@db.example:6543/my%20db?sslmode=verify-full&sslrootcert=/ca.pem&application_name=x%26y",
        );
        assert_eq!(options.host, Host::Tcp("db.example".into()));
        assert_eq!((options.port, options.user(), options.database()), (6543, "a@b", "my db"));
        assert_eq!(options.password().expect("a password").reveal(), "p:/w");
        assert_eq!(options.tls_mode, TlsMode::VerifyFull);
        assert_eq!(options.root_certificates, Some(RootCertificates::File("/ca.pem".into())));
        assert_eq!(options.application_name(), Some("x&y"));
        assert_eq!(options.endpoint(), "db.example:6543");
    }

    #[test]
    fn sockets_and_addresses_are_hosts() {
        assert_eq!(parsed("postgres://u@%2Frun%2Fpg/d").host, Host::Unix("/run/pg".into()));
        assert_eq!(parsed("postgres:///d?host=/run/pg&user=u").endpoint(), "/run/pg/.s.PGSQL.5432");
        assert_eq!(parsed("postgres://u@[::1]:7/d").endpoint(), "[::1]:7");
        assert_eq!(parsed("host=h hostaddr=127.0.0.1 user=u").address(), Some([127, 0, 0, 1].into()));
    }

    #[test]
    fn key_values_keep_quotes_backslashes_and_spaces() {
        let options = parsed(r"host = h user=u password='a b\'c\\d' dbname=x\ y");
        assert_eq!(options.password().expect("a password").reveal(), r"a b'c\d");
        assert_eq!(options.database(), "x y");
    }

    #[test]
    fn the_environment_fills_what_the_text_leaves_open() {
        let environment =
            [("PGHOST", "e"), ("PGPORT", "1"), ("PGUSER", "eu"), ("PGPASSWORD", "ep"), ("PGSSLMODE", "require")];
        let options = with("host=t", &environment).expect("sound");
        assert_eq!((options.endpoint().as_str(), options.user(), options.database()), ("t:1", "eu", "eu"));
        assert_eq!(options.tls_mode, TlsMode::Require);
        assert_eq!(options.connect_timeout, Some(CONNECT_TIMEOUT));
        assert_eq!(with("connect_timeout=0", &environment).expect("sound").connect_timeout, None);
    }

    #[test]
    fn system_roots_mean_verify_full() {
        assert_eq!(parsed("host=h user=u sslrootcert=system").tls_mode, TlsMode::VerifyFull);
        assert_eq!(
            with("user=u sslrootcert=system sslmode=require", &[]),
            Err(OptionsError::SystemRootsNeedVerifyFull)
        );
    }

    #[test]
    fn mistakes_name_their_key() {
        let value = |key, value: &str, text: &str| match with(text, &[]) {
            Err(OptionsError::Value { key: found, value: shown, .. }) => {
                assert_eq!((found, shown.as_str()), (key, value))
            }
            other => panic!("{text} gave {other:?}"),
        };
        value("port", "0", "user=u port=0");
        value("port", "99999", "postgres://u@h:99999/");
        value("sslmode", "allow", "user=u sslmode=allow");
        value("connect_timeout", "soon", "user=u connect_timeout=soon");
        assert_eq!(with("postgress://u@h/", &[]), Err(OptionsError::Scheme("postgress".into())));
        assert_eq!(with("user=u password=a://b", &[]).err(), None);
        assert_eq!(with("user=u hots=x", &[]), Err(OptionsError::UnknownKey("hots".into())));
        assert_eq!(with("user=u service=x", &[]), Err(OptionsError::UnsupportedKey("service".into())));
        assert_eq!(with("postgres://u@a,b/", &[]), Err(OptionsError::SeveralHosts));
        assert_eq!(with("user=u host=a,b", &[]), Err(OptionsError::SeveralHosts));
        assert_eq!(with("host=h", &[]), Err(OptionsError::NoUser));
        assert_eq!(with("user=u sslcert=x", &[]), Err(OptionsError::HalfClientCertificate("sslkey")));
        for text in
            ["user", "user='u", "postgres://u@h/%zz", "postgres://u@h/%ff", "postgres://u@[::1/", "postgres://u@h/?x"]
        {
            assert!(matches!(with(text, &[]), Err(OptionsError::Syntax(_))), "{text}");
        }
    }

    #[test]
    fn unsupported_security_options_are_refused_wherever_they_are_set() {
        let refused = |text: &str, environment: &[(&str, &str)]| {
            with(text, environment).expect_err("it would be ignored").to_string()
        };
        for (name, variable, value) in [
            ("requirepeer", "PGREQUIREPEER", "postgres"),
            ("sslcrl", "PGSSLCRL", "/crl"),
            ("gssencmode", "PGGSSENCMODE", "require"),
            ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", "TLSv1.3"),
        ] {
            assert!(refused(&format!("user=u {name}={value}"), &[]).contains(name));
            assert!(refused("user=u", &[(variable, value)]).contains(name));
        }
        let harmless = [("PGGSSENCMODE", "prefer"), ("PGSSLMINPROTOCOLVERSION", "TLSv1.2"), ("PGSSLCRL", "")];
        assert!(with("user=u", &harmless).is_ok());
        let methods = with("user=u", &[("PGREQUIREAUTH", "scram-sha-256")]).expect("a list").required_methods;
        assert_eq!(methods, Methods::parse("scram-sha-256").ok());
    }

    #[test]
    fn no_secret_is_shown() {
        let options = parsed("postgres://u:hunter2@h/");
        assert!(!format!("{options:?}").contains("hunter2"));
        for text in ["postgres://u:hunter2@h:x/", "postgres://u:hunter2@h/%zz", "password=hunter2 host"] {
            let error = with(text, &[]).expect_err("not sound");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let _ = with(&text, &[]);
            let _ = with(&format!("postgres://{text}"), &[]);
        }
    }

    #[test]
    fn a_file_at_the_default_place_is_used() {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(home.path().join(".postgresql")).expect("a directory");
        let root = home.path().join(".postgresql/root.crt");
        std::fs::write(&root, "").expect("a file");
        let home = home.path().to_str().expect("UTF-8").to_owned();
        let options = with("host=h user=u", &[("HOME", &home)]).expect("sound");
        assert_eq!(options.root_certificates, Some(RootCertificates::File(root)));
        assert_eq!(options.passfile.as_deref(), Some(Path::new(&home).join(".pgpass").as_path()));
    }
}
