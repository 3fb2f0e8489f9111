//! The client against a real server, and against things that only call themselves one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::error::AuthError;
use super::scratch::{Scratch, eventually};
use super::tls::TlsError;
use super::{ConnectOptions, Connection, Error, Interrupt, WaitLimit, sqlstate};

fn open(server: &Scratch, role: &str, more: &str) -> Result<Connection, Error> {
    let directory = server.directory().display().to_string();
    Connection::open(&server.options(role, &more.replace("$DIR", &directory)))
}

/// Whether the server says that this connection is encrypted.
fn encrypted(connection: &mut Connection) -> bool {
    let rows = connection.simple_query("select ssl from pg_stat_ssl where pid = pg_backend_pid()").expect("an answer");
    assert_eq!(rows[0].is_true(0), connection.is_encrypted());
    rows[0].is_true(0)
}

#[test]
fn every_sslmode_gives_what_it_says() {
    let server = Scratch::shared();
    let connects = |more: &str| {
        let mut connection =
            open(server, "scram", &format!("password=secret {more}")).unwrap_or_else(|e| panic!("{more}: {e:?}"));
        encrypted(&mut connection)
    };
    assert!(!connects("sslmode=disable"));
    assert!(connects("sslmode=prefer"));
    assert!(connects("sslmode=require"));
    assert!(connects("sslmode=require sslrootcert=$DIR/ca.pem"));
    assert!(connects("sslmode=verify-ca sslrootcert=$DIR/ca.pem"));
    assert!(connects("host=localhost hostaddr=127.0.0.1 sslmode=verify-full sslrootcert=$DIR/ca.pem"));
    // The server's own certificate pinned in place of an authority.
    assert!(connects("host=localhost hostaddr=127.0.0.1 sslmode=verify-full sslrootcert=$DIR/server.pem"));
    assert!(connects("sslmode=prefer sslrootcert=$DIR/other.pem"));
}

#[test]
fn case_50_where_nothing_is_verified_every_kind_of_certificate_works() {
    for kind in ["v1", "pss", "p521"] {
        let (certificate, key) = (format!("{kind}.pem"), format!("{kind}.key"));
        let server = Scratch::start(&[("ssl_cert_file", &certificate), ("ssl_key_file", &key)]);
        for mode in ["prefer", "require"] {
            let mut connection = open(&server, "scram", &format!("password=secret sslmode={mode}"))
                .unwrap_or_else(|error| panic!("{kind}, {mode}: {error:?}"));
            assert!(encrypted(&mut connection), "{kind}, {mode}");
        }
        // Without a proof that the server owns the certificate's key there is nothing to bind to.
        let error = open(&server, "scram", "password=secret sslmode=require channel_binding=require").expect_err(kind);
        assert!(matches!(error, Error::Auth(AuthError::NoChannelBinding(_))), "{kind}: {error:?}");
        let verified = format!("password=secret sslmode=verify-ca sslrootcert=$DIR/{certificate}");
        let error = open(&server, "scram", &verified).expect_err(kind);
        assert!(matches!(error, Error::Tls { .. }), "{kind}: {error:?}");
    }
}

#[test]
fn case_50_prefer_falls_back_where_the_server_wants_no_encryption() {
    let server = Scratch::shared();
    let connection = open(server, "unencrypted", "password=secret sslmode=prefer").expect("an unencrypted connection");
    assert!(!connection.is_encrypted());
    let replication = server.options("unencrypted", "password=secret sslmode=prefer");
    assert!(!Connection::open_replication(&replication).expect("a replication connection").is_encrypted());
    let error = open(server, "unencrypted", "password=secret sslmode=require").expect_err("it is rejected");
    assert_eq!(error.sqlstate(), Some(sqlstate::INVALID_AUTHORIZATION), "{error:?}");
    for role in ["unencrypted", "scram"] {
        let error = open(server, role, "password=wrong sslmode=prefer").expect_err("a wrong password");
        assert_eq!(error.sqlstate(), Some(sqlstate::INVALID_PASSWORD), "{role}: {error:?}");
    }
    assert!(open(server, "unencrypted", "password=secret sslmode=prefer channel_binding=require").is_err());
}

#[test]
fn a_server_that_is_not_trusted_gets_no_password() {
    let server = Scratch::shared();
    for more in [
        "sslmode=verify-ca sslrootcert=$DIR/other.pem",
        "sslmode=require sslrootcert=$DIR/other.pem",
        "host=localhost hostaddr=127.0.0.1 sslmode=verify-full sslrootcert=$DIR/other.pem",
        // The name does not fit: the certificate is for localhost.
        "sslmode=verify-full sslrootcert=$DIR/ca.pem",
        "sslmode=verify-full sslrootcert=$DIR/server.pem",
        "sslmode=verify-full sslrootcert=system",
    ] {
        let error = open(server, "scram", &format!("password=secret {more}")).expect_err(more);
        let Error::Tls { source: TlsError::Handshake(_), .. } = &error else { panic!("{more}: {error:?}") };
        assert!(!error.is_transient(), "{more}");
    }
    let error = open(server, "scram", "sslmode=verify-full").expect_err("no roots");
    assert!(matches!(error, Error::Tls { source: TlsError::NoRoots, .. }), "{error:?}");
    let error = open(server, "scram", "sslmode=verify-ca sslrootcert=/nowhere").expect_err("no file");
    assert!(matches!(error, Error::Tls { source: TlsError::File { .. }, .. }), "{error:?}");
}

#[test]
fn every_method_of_authentication_works_and_a_wrong_password_is_the_servers_error() {
    let server = Scratch::shared();
    for role in ["scram", "hashed", "plain"] {
        for mode in ["disable", "require"] {
            open(server, role, &format!("password=secret sslmode={mode}")).unwrap_or_else(|e| panic!("{role}: {e:?}"));
            let error = open(server, role, &format!("password=wrong sslmode={mode}")).expect_err(role);
            assert_eq!(error.sqlstate(), Some(sqlstate::INVALID_PASSWORD), "{role}: {error:?}");
            assert!(!error.is_transient());
            let error = open(server, role, &format!("sslmode={mode}")).expect_err(role);
            assert!(matches!(error, Error::Auth(AuthError::NoPassword { .. })), "{role}: {error:?}");
        }
    }
    open(server, "certified", "sslmode=require sslcert=$DIR/client.pem sslkey=$DIR/client.key").expect("a certificate");
    let error = open(server, "certified", "sslmode=require").expect_err("no certificate");
    assert_eq!(error.sqlstate(), Some(sqlstate::INVALID_AUTHORIZATION), "{error:?}");
    let error = open(server, "admin", "dbname=nowhere").expect_err("no database");
    assert_eq!(error.sqlstate(), Some(sqlstate::INVALID_CATALOG_NAME), "{error:?}");
}

#[test]
fn scram_is_bound_to_the_session_where_that_is_asked_for() {
    let server = Scratch::shared();
    // The server compares the hash with its own certificate's: a wrong one would be refused.
    open(server, "scram", "password=secret sslmode=require channel_binding=require").expect("bound");
    open(server, "scram", "password=secret sslmode=require channel_binding=disable").expect("unbound");
    for (role, more) in [
        ("scram", "sslmode=disable"),
        ("plain", "sslmode=require"),
        ("hashed", "sslmode=require"),
        ("admin", "sslmode=require"),
    ] {
        let error = open(server, role, &format!("password=secret channel_binding=require {more}")).expect_err(role);
        assert!(matches!(error, Error::Auth(AuthError::NoChannelBinding(_))), "{role} {more}: {error:?}");
    }
}

#[test]
fn a_unix_socket_and_a_password_file_serve() {
    let server = Scratch::shared();
    let socket = format!("host={} port={} user=admin dbname=postgres", server.directory().display(), server.port());
    let mut connection =
        Connection::open(&ConnectOptions::parse(&socket, &|_| None).expect("sound")).expect("a socket");
    assert!(!encrypted(&mut connection));

    let directory = tempfile::tempdir().expect("a directory");
    let passfile = directory.path().join("pgpass");
    std::fs::write(&passfile, format!("127.0.0.1:{}:*:scram:secret\n", server.port())).expect("a file");
    std::fs::set_permissions(&passfile, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("permissions");
    open(server, "scram", &format!("passfile={}", passfile.display())).expect("the file's password");
}

#[test]
fn questions_are_answered_and_errors_leave_the_connection_usable() {
    let mut connection = Connection::open(&Scratch::shared().admin()).expect("a connection");
    let rows = connection.query("select $1::int + 1, $2::text, $3::text", &[Some("41"), None, Some("ü'\\")]);
    let rows = rows.expect("an answer");
    assert_eq!((rows[0].text(0), rows[0].text(1), rows[0].text(2)), (Some("42"), None, Some("ü'\\")));

    let error = connection.query("select * from nowhere where x = $1", &[None]).expect_err("no such table");
    let Error::Server(server) = &error else { panic!("{error:?}") };
    assert_eq!((server.code.as_str(), server.severity.as_str()), (sqlstate::UNDEFINED_TABLE, "ERROR"));
    let error = connection.simple_query("select 1; select 1/0; select 2").expect_err("a division by zero");
    assert_eq!(error.sqlstate(), Some("22012"));
    assert_eq!(connection.simple_query("select 1; select 2").expect("usable").len(), 2);
    assert!(connection.simple_query("select '\0'").is_err());

    let mut bytes = 0;
    let copy = "copy (select repeat('x', 1000) from generate_series(1, 20000)) to stdout";
    connection
        .copy_out(copy, |data| {
            bytes += data.len();
            Ok::<_, Error>(())
        })
        .expect("data");
    assert_eq!(bytes, 20_000 * 1_001);
    let error = connection.copy_out("copy (select 1/0) to stdout", |_| Ok::<_, Error>(())).expect_err("fails");
    assert_eq!(error.sqlstate(), Some("22012"));
    assert_eq!(connection.simple_query("select 3").expect("usable")[0].text(0), Some("3"));
}

#[test]
fn a_wait_times_out_or_can_be_interrupted() {
    let server = Scratch::shared();
    let mut connection = Connection::open(&server.admin()).expect("a connection");
    connection.set_wait_limit(WaitLimit::Timeout(Duration::from_millis(300)));
    let error = connection.simple_query("select pg_sleep(60)").expect_err("too slow");
    assert!(matches!(error, Error::Timeout { .. }) && error.is_transient(), "{error:?}");

    let mut connection = Connection::open(&server.admin()).expect("a connection");
    let interrupt = Interrupt::default();
    connection.set_wait_limit(WaitLimit::Until(interrupt.clone()));
    interrupt.set();
    let error = connection.simple_query("select pg_sleep(60)").expect_err("interrupted");
    assert!(matches!(error, Error::Interrupted), "{error:?}");
}

#[test]
fn a_session_that_the_server_ends_is_an_error_with_its_code() {
    let server = Scratch::shared();
    let mut connection = Connection::open(&server.admin()).expect("a connection");
    server.sql(&format!("select pg_terminate_backend({})", connection.process_id()));
    let error = connection.simple_query("select pg_sleep(60)").expect_err("terminated");
    assert!(matches!(error.sqlstate(), Some("57P01")) || matches!(error, Error::Closed { .. }), "{error:?}");
    assert!(error.is_transient());
}

/// A listener that answers each connection by `serve`; the options that lead to it.
fn impostor(serve: impl Fn(TcpStream) + Send + 'static, more: &str) -> ConnectOptions {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(serve));
    ConnectOptions::parse(&format!("host=127.0.0.1 port={port} user=u password=p {more}"), &|_| None).expect("sound")
}

fn read_message(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("a length");
    let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut body).expect("a body");
    body
}

#[test]
fn a_server_without_tls_is_taken_by_prefer_alone() {
    let refuse = |mut stream: TcpStream| {
        read_message(&mut stream);
        let _ = stream.write_all(b"N");
        let mut length = [0; 4];
        // Only a client that continues without TLS sends more; it learns that the database does not exist.
        if stream.read_exact(&mut length).is_ok() {
            let body = b"SFATAL\0C3D000\0Mno\0\0";
            let length = u32::try_from(body.len() + 4).expect("short");
            let _ = stream.write_all(&[&b"E"[..], &length.to_be_bytes(), body].concat());
        }
    };
    let error = Connection::open(&impostor(refuse, "sslmode=require")).expect_err("no TLS");
    assert!(matches!(error, Error::Tls { source: TlsError::NotOffered, .. }), "{error:?}");
    let error = Connection::open(&impostor(refuse, "sslmode=prefer")).expect_err("no database");
    assert_eq!(error.sqlstate(), Some("3D000"), "{error:?}");
}

#[test]
fn a_server_that_skips_its_proof_is_rejected() {
    let skip = |mut stream: TcpStream| {
        read_message(&mut stream);
        let _ = stream.write_all(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0");
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
    };
    let error = Connection::open(&impostor(skip, "sslmode=disable")).expect_err("no proof");
    assert!(matches!(error, Error::Auth(AuthError::Unproved)), "{error:?}");
}

#[test]
fn a_peer_that_is_not_postgres_is_a_protocol_error() {
    let http = |mut stream: TcpStream| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let error = Connection::open(&impostor(http, "sslmode=disable")).expect_err("HTTP");
    assert!(matches!(error, Error::Protocol(_)) && !error.is_transient(), "{error:?}");
    let error = Connection::open(&impostor(http, "sslmode=require")).expect_err("HTTP");
    assert!(matches!(error, Error::Tls { source: TlsError::NoAnswer, .. }), "{error:?}");

    let silent = |stream: TcpStream| std::mem::forget(stream);
    for mode in ["disable", "require"] {
        let error =
            Connection::open(&impostor(silent, &format!("sslmode={mode} connect_timeout=1"))).expect_err("silence");
        assert!(matches!(error, Error::ConnectTimeout { .. }) && error.is_transient(), "{error:?}");
    }

    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let options = ConnectOptions::parse(&format!("host=127.0.0.1 port={port} user=u"), &|_| None).expect("sound");
    let error = eventually("a refused connection", || Connection::open(&options).err());
    assert!(matches!(error, Error::Unreachable { .. }) && error.is_transient(), "{error:?}");
}

/// What a false server does once the client has named itself.
fn after_start_up(then: impl Fn(TcpStream) + Send + 'static) -> impl Fn(TcpStream) + Send + 'static {
    move |mut stream| {
        read_message(&mut stream);
        then(stream);
    }
}

#[test]
fn case_45_connect_timeout_covers_the_whole_attempt_however_slow_the_server() {
    let drip = |mut stream: TcpStream, bytes: &[u8]| {
        while stream.write_all(bytes).is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let notices = after_start_up(move |stream| drip(stream, b"N\0\0\0\x18SNOTICE\0C00000\0Mno\0\0"));
    let settings = after_start_up(move |stream| drip(stream, b"S\0\0\0\x08a\0b\0"));
    // The start of a TLS record of 16 KiB, byte by byte.
    let handshake = after_start_up(move |mut stream| {
        let _ = stream.write_all(b"S\x16\x03\x03\x40\0");
        drip(stream, b"\x02");
    });
    for (what, options) in [
        ("notices", impostor(notices, "sslmode=disable connect_timeout=1")),
        ("settings", impostor(settings, "sslmode=disable connect_timeout=1")),
        ("a handshake", impostor(handshake, "sslmode=require connect_timeout=1")),
    ] {
        let error = Connection::open(&options).expect_err(what);
        assert!(matches!(error, Error::ConnectTimeout { .. }), "{what}: {error:?}");
    }
}

#[test]
fn case_45_a_server_may_ask_once_and_only_for_methods_in_require_auth() {
    let cleartext = b"R\0\0\0\x08\0\0\0\x03";
    let ask = |message: &'static [u8]| {
        after_start_up(move |mut stream| {
            let _ = stream.write_all(message);
            let _ = stream.read(&mut [0; 512]);
            // Again and again, as if the first proof had not been enough.
            while stream.write_all(message).is_ok() && stream.read(&mut [0; 512]).is_ok_and(|count| count > 0) {}
        })
    };
    let sasl = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    for message in [cleartext as &[u8], sasl] {
        let error = Connection::open(&impostor(ask(message), "sslmode=disable")).expect_err("asked twice");
        assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    }
    let ok = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
    for (message, refused) in [(cleartext as &[u8], "password"), (ok, "none")] {
        let options = impostor(ask(message), "sslmode=disable require_auth=scram-sha-256");
        let error = Connection::open(&options).expect_err(refused);
        assert!(matches!(error, Error::Auth(AuthError::NotAllowed(method)) if method == refused), "{error:?}");
    }
    let server = Scratch::shared();
    open(server, "scram", "password=secret sslmode=require require_auth=scram-sha-256").expect("it is SCRAM");
    open(server, "plain", "password=secret sslmode=require require_auth=!md5").expect("it is not MD5");
    let error = open(server, "admin", "require_auth=!none").expect_err("it is trusted");
    assert!(matches!(error, Error::Auth(AuthError::NotAllowed("none"))), "{error:?}");
}
