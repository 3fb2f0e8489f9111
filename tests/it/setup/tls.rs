//! TLS to Postgres, as required by the server and by the relay.

use expect_test::expect;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use walpost::lab::sandbox::{Durability, PostgresOptions};

use super::{unavailable, works};
use crate::harness::{Harness, config};

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_a_server_that_requires_tls_is_named() {
    let (trusted, stranger) = (authority(), authority());
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &trusted).expect("a certificate");
    let settings = [("ssl", "on"), ("ssl_cert_file", "'server.crt'"), ("ssl_key_file", "'server.key'")];
    let options = PostgresOptions {
        durability: Durability::NoFsync,
        settings: settings.map(|(name, value)| (name.to_owned(), value.replace('\'', ""))).into(),
        // The harness connects without TLS, as the superuser.
        hba: vec!["host all postgres 127.0.0.1/32 scram-sha-256".to_owned(), "hostnossl all all all reject".to_owned()],
        files: vec![
            ("server.crt".to_owned(), certificate.pem().into_bytes()),
            ("server.key".to_owned(), key.serialize_pem().into_bytes()),
        ],
        ..PostgresOptions::default()
    };
    let harness = Harness::with_own_postgres("tls", options).await;
    harness.migrate().await;
    harness.execute("create role relay superuser login password 'secret'").await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, pem: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).expect("the file is written");
        path.display().to_string()
    };
    let (trusted, stranger) = (file("trusted.crt", trusted.pem()), file("stranger.crt", stranger.pem()));
    let with = |host: &str, query: &str| {
        let url = super::url_as(&harness, "relay", "secret").replace("127.0.0.1", host);
        config(&harness, "").replace(harness.url(), &format!("{url}?{query}"))
    };
    let port = harness.url().rsplit([':', '/']).nth(1).expect("a port").to_owned();
    let mut reported = String::new();
    for config in [
        with("localhost", "sslmode=disable"),
        with("localhost", &format!("sslmode=verify-full&sslrootcert={stranger}")),
        with("127.0.0.1", &format!("sslmode=verify-full&sslrootcert={trusted}")),
    ] {
        reported += &format!("{}\n", unavailable(&harness, &config).await.replace(&port, "PORT"));
    }
    expect![[r#"
        walpost: FATAL 28000: pg_hba.conf rejects connection for host "127.0.0.1", user "relay", database "db", no encryption; check the role and sslmode in the database URL, and pg_hba.conf on the server
        walpost: no TLS session with Postgres at localhost:PORT: the TLS handshake failed: invalid peer certificate: BadSignature; check sslmode, sslrootcert and the host in the database URL
        walpost: no TLS session with Postgres at 127.0.0.1:PORT: the TLS handshake failed: invalid peer certificate: certificate not valid for name "127.0.0.1"; certificate is only valid for DnsName("localhost"); check sslmode, sslrootcert and the host in the database URL
    "#]].assert_eq(&reported);
    works(&harness, &with("localhost", &format!("sslmode=verify-full&sslrootcert={trusted}"))).await;
    works(&harness, &with("127.0.0.1", "sslmode=prefer")).await;
}
