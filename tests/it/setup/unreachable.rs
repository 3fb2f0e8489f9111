//! Unreachable servers, and a port that is taken.

use std::net::TcpListener;

use super::refused;
use crate::harness::{Harness, config, walpost};

/// A port without a listener, reserved while the socket lives: it is bound, and does not listen.
fn closed_port() -> (std::net::SocketAddr, rustix::fd::OwnedFd) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    let closed = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&closed, &std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = getsockname(&closed).expect("a bound socket").try_into().expect("an IPv4 address");
    (address, closed)
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_unreachable_servers_are_named() {
    let harness = Harness::migrated("unreachable").await;
    let (address, _closed) = closed_port();
    let nowhere = format!("postgres://walpost@{address}/shop");
    let no_postgres = config(&harness, "").replace(harness.url(), &nowhere);
    let no_kafka = config(&harness, "").replace(harness.kafka(), &address.to_string());
    let migrating = tokio::task::spawn_blocking({
        let nowhere = nowhere.clone();
        move || walpost().args(["migrate", "--database-url", &nowhere]).output().expect("the binary runs")
    });
    let (postgres, kafka, migrated) = tokio::join!(refused(&no_postgres), refused(&no_kafka), migrating);
    let migrated = migrated.expect("the test's own thread");
    let reported = [
        format!("{:?} {}", postgres.0, postgres.1),
        format!("{:?} {}", kafka.0, kafka.1),
        format!("{:?} {}", migrated.status.code(), String::from_utf8_lossy(&migrated.stderr)),
    ];
    expect_test::expect![[r#"
        Some(69) walpost: cannot reach Postgres at 127.0.0.1:PORT: Connection refused (os error 111); start Postgres, or correct the database URL
        Some(69) walpost: Kafka at 127.0.0.1:PORT did not answer within 10 s (127.0.0.1:PORT/bootstrap: Connect to ipv4#127.0.0.1:PORT failed: Connection refused): start it, or correct bootstrap_servers and, if the cluster requires them, security.protocol and sasl.* in [kafka]
        Some(69) walpost: cannot reach Postgres at 127.0.0.1:PORT: Connection refused (os error 111); start Postgres, or correct the database URL
        walpost: retry: yes, this may pass by itself
    "#]].assert_eq(&reported.join("\n").replace(&address.port().to_string(), "PORT"));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_a_taken_http_port_is_named() {
    let harness = Harness::migrated("taken_port").await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("a bound socket").to_string();
    let (code, message) = refused(&config(&harness, "").replace("127.0.0.1:0", &address)).await;
    assert_eq!(code, Some(1), "{message}");
    let doctor = super::ended_with(&config(&harness, "").replace("127.0.0.1:0", &address), "doctor").stdout;
    assert!(
        doctor.contains(&format!("can't listen on {address}: Address already in use (os error 98); free the port")),
        "{doctor}"
    );
    expect_test::expect![[r#"walpost: can't listen on ADDRESS: Address already in use (os error 98); free the port, or set [http] listen to another address or to "off""#]].assert_eq(&message.replace(&address, "ADDRESS"));
}
