//! Servers from Docker, through testcontainers.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use testcontainers::core::wait::LogWaitStrategy;
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

const PASSWORD: &str = "walpost";

/// A container, and the process that removes it when this one ends: the shared containers are never dropped.
pub(super) struct Running {
    _container: ContainerAsync<GenericImage>,
    _remover: Child,
}

/// Whether a Docker engine answers.
pub(super) fn answers() -> bool {
    let info = Command::new("docker").arg("info").stdout(Stdio::null()).stderr(Stdio::null()).status();
    info.is_ok_and(|status| status.success())
}

/// PostgreSQL from its official image; returns the superuser's URL.
pub(super) async fn postgres(tag: String) -> Result<(String, Running), String> {
    // The image starts the server once for its own setup, and then for good.
    let ready = WaitFor::log(LogWaitStrategy::stderr("database system is ready to accept connections").with_times(2));
    let settings = ["wal_level=logical", "max_replication_slots=100", "max_wal_senders=100", "fsync=off"];
    let command = std::iter::once("postgres").chain(settings.iter().flat_map(|setting| ["-c", setting]));
    let container = GenericImage::new("postgres".to_owned(), tag)
        .with_exposed_port(5432.tcp())
        .with_wait_for(ready)
        .with_env_var("POSTGRES_PASSWORD", PASSWORD)
        .with_cmd(command)
        .start()
        .await
        .map_err(|error| error.to_string())?;
    let port = container.get_host_port_ipv4(5432).await.map_err(|error| error.to_string())?;
    Ok((format!("postgres://postgres:{PASSWORD}@127.0.0.1:{port}/postgres"), Running::new(container)?))
}

/// Apache Kafka from its official image; returns the bootstrap servers.
pub(super) async fn kafka() -> Result<(String, Running), String> {
    // Clients are told to reconnect to this port, so it must be known before the broker starts.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = port.map_err(|error| error.to_string())?.port();
    let mut image = GenericImage::new("apache/kafka", "4.3.1")
        .with_wait_for(WaitFor::message_on_stdout("Kafka Server started"))
        .with_mapped_port(port, 9092.tcp());
    let advertised = format!("PLAINTEXT://127.0.0.1:{port}");
    for (name, value) in [
        ("KAFKA_NODE_ID", "1"),
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@127.0.0.1:9093"),
        ("KAFKA_LISTENERS", "PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093"),
        ("KAFKA_ADVERTISED_LISTENERS", &advertised),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
        ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false"),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
    ] {
        image = image.with_env_var(name, value);
    }
    let container = image.start().await.map_err(|error| error.to_string())?;
    Ok((format!("127.0.0.1:{port}"), Running::new(container)?))
}

impl Running {
    fn new(container: ContainerAsync<GenericImage>) -> Result<Self, String> {
        // Its standard input closes when this process ends, however that happens.
        let remover = Command::new("sh")
            .args(["-c", "trap '' INT HUP; read -r _; docker rm --force --volumes \"$1\"", "remover", container.id()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        Ok(Self { _container: container, _remover: remover })
    }
}
