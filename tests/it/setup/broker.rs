//! A Kafka that rejects the relay: the error has the client's reason, and no secret.

use std::io::{self, Read};
use std::net::TcpListener;
use std::sync::Arc;

use expect_test::expect;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use walpost::lab::sandbox::KafkaOptions;

use super::{ended_with, refused};
use crate::harness::{Harness, config};

const SECRET: &str = "not the password";

/// Completes handshakes with a certificate that nobody has signed.
fn stranger() -> String {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate").der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate with its key");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("a bound socket").port();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            // Until the client has disconnected.
            let _ = socket.and_then(|socket| io::copy(&mut StreamOwned::new(session, socket).take(1), &mut io::sink()));
        }
    });
    format!("127.0.0.1:{port}")
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_a_kafka_that_rejects_the_relay_is_named() {
    let options = KafkaOptions { users: vec!["relay".to_owned()], ..KafkaOptions::default() };
    let harness = Harness::with_own_kafka("locked_out", options).await;
    harness.migrate().await;
    let stranger = stranger();
    let with = |servers: &str, properties: &[(&str, &str)]| {
        let properties: Vec<String> = properties.iter().map(|(name, value)| format!("'{name}' = '{value}'")).collect();
        config(&harness, "")
            .replace(harness.kafka(), servers)
            .replace("[http]", &format!("properties = {{ {} }}\n[http]", properties.join(", ")))
    };
    let login = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "relay"),
        ("sasl.password", SECRET),
    ];
    let configs = [
        with(harness.kafka(), &login),
        with(harness.kafka(), &[]),
        with(harness.kafka(), &[("security.protocol", "SSL")]),
        with(&stranger, &[("security.protocol", "SSL")]),
        with("nowhere.invalid:9092", &login),
    ];
    let [a, b, c, d, e] = &configs;
    for command in ["contract apply examples/contracts/orders", "dead-letter list"] {
        let ended = ended_with(a, command);
        assert_eq!(ended.code(), Some(69), "{ended:?}");
        assert!(ended.stderr.contains(&format!("Kafka at {} rejected the credentials", harness.kafka())), "{ended:?}");
        assert!(ended.stderr.contains("retry: no") && !ended.stderr.contains(SECRET), "{ended:?}");
    }
    let (a, b, c, d, e) = tokio::join!(refused(a), refused(b), refused(c), refused(d), refused(e));
    let mut reported = String::new();
    for (code, message) in [a, b, c, d, e] {
        assert!(!message.contains(SECRET), "{message}");
        let (message, advice) = message.rsplit_once(": start it, or correct").unwrap_or((&message, "sasl.*"));
        assert!(advice.contains("sasl.*"), "{advice}");
        // OpenSSL's error and librdkafka's advice on it: either can be the last.
        let message = match message.split_once(" (ssl://127.0.0.1:") {
            Some((before, cause)) if cause.contains("certificate verify failed") => {
                format!("{before} (certificate verify failed)")
            }
            _ => message.to_owned(),
        };
        reported += &format!("{code:?} {message}\n").replace(harness.kafka(), "KAFKA").replace(&stranger, "STRANGER");
    }
    expect![[r#"
        Some(69) walpost: Kafka at KAFKA rejected the credentials (sasl_plaintext://KAFKA/bootstrap: SASL authentication error: Authentication failed: Invalid username or password): correct sasl.username and sasl.password in [kafka.properties], or sasl.mechanism
        Some(69) walpost: Kafka at KAFKA did not answer within 10 s (KAFKA/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN)
        Some(69) walpost: Kafka at KAFKA did not answer within 10 s (ssl://KAFKA/bootstrap: SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to a PLAINTEXT broker listener?)
        Some(69) walpost: Kafka at STRANGER did not answer within 10 s (certificate verify failed)
        Some(69) walpost: Kafka at nowhere.invalid:9092 did not answer within 10 s (sasl_plaintext://nowhere.invalid:9092/bootstrap: Failed to resolve 'nowhere.invalid:9092': Name or service not known)
    "#]].assert_eq(&reported);
}
