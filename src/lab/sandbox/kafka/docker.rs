//! Apache Kafka from its image, with this machine's Docker CLI.

use std::process::Command;
use std::time::{Duration, Instant};

use super::probe::Probe;
use super::properties::{self, Node};
use super::{KafkaOptions, VERSION};
use crate::lab::sandbox::error::SandboxError;
use crate::lab::sandbox::progress::{Progress, Step};
use crate::lab::sandbox::workspace::Workspace;
use crate::lab::sandbox::{random, server};

/// The label of every sandbox container, so that users can find them.
const LABEL: &str = "walpost.sandbox";
/// The ports inside the container.
const INNER: Node = Node { id: 1, port: 9092, controller_port: 9093 };
/// Time limit until clients can use the broker, once the image is pulled.
const START_LIMIT: Duration = Duration::from_secs(90);
/// The polling interval.
const POLL: Duration = Duration::from_millis(100);

/// A container with one broker.
#[derive(Debug)]
pub(super) struct Container {
    name: String,
    port: u16,
    /// Removes the container when this is dropped, and when this process ends.
    workspace: Workspace,
}

impl Container {
    pub(super) async fn start(options: &KafkaOptions, progress: &Progress) -> Result<Self, SandboxError> {
        if docker(&["info", "--format", "{{.ServerVersion}}"], None).await.is_err() {
            return Err(SandboxError::NoKafka { reason: "no Docker engine answers".to_owned() });
        }
        let workspace = Workspace::create("kafka", None)?;
        let name = format!("walpost-kafka-{}", random::token(12));
        let port = random::free_port();
        let container = Self { name, port, workspace };
        progress.tell(Step::Starting { what: &container.describe() });
        container.workspace.watch_container(&container.name);
        let arguments = container.run_arguments(options);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        docker(&arguments, Some(&container.workspace)).await?;
        container.wait_ready().await?;
        Ok(container)
    }

    pub(super) fn describe(&self) -> String {
        format!("Apache Kafka {VERSION} (Docker)")
    }

    pub(super) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) async fn stop(&self) -> Result<(), SandboxError> {
        docker(&["stop", "--time", "60", &self.name], Some(&self.workspace)).await
    }

    pub(super) async fn kill(&self) -> Result<(), SandboxError> {
        docker(&["kill", &self.name], Some(&self.workspace)).await
    }

    pub(super) async fn start_again(&self) -> Result<(), SandboxError> {
        docker(&["start", &self.name], Some(&self.workspace)).await?;
        self.wait_ready().await
    }

    /// The image maps each variable `KAFKA_A_B` to the property `a.b`.
    fn run_arguments(&self, options: &KafkaOptions) -> Vec<String> {
        let mut properties = properties::of_broker(&INNER, &[INNER], options, &[]);
        properties.push(("listeners".to_owned(), "BROKER://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093".to_owned()));
        properties.push(("advertised.listeners".to_owned(), format!("BROKER://127.0.0.1:{}", self.port)));
        let mut arguments: Vec<String> =
            ["run", "--detach", "--label", LABEL, "--name", &self.name].map(str::to_owned).into();
        arguments.extend(["--publish".to_owned(), format!("127.0.0.1:{}:9092", self.port)]);
        for (name, value) in properties {
            arguments.extend(["--env".to_owned(), format!("{}={value}", variable(&name))]);
        }
        arguments.push(format!("apache/kafka:{VERSION}"));
        arguments
    }

    async fn wait_ready(&self) -> Result<(), SandboxError> {
        let probe = Probe::new(&self.bootstrap(), None)?;
        let since = Instant::now();
        while !probe.brokers().await.contains(&i32::from(INNER.id)) {
            if since.elapsed() > START_LIMIT {
                let (server, log) = (self.describe(), format!("docker logs {}", self.name).into());
                return Err(SandboxError::NotReady { server, waited: START_LIMIT, log, tail: String::new() });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

fn variable(property: &str) -> String {
    format!("KAFKA_{}", property.replace('.', "_").to_uppercase())
}

async fn docker(arguments: &[&str], workspace: Option<&Workspace>) -> Result<(), SandboxError> {
    let mut command = Command::new("docker");
    command.args(arguments);
    server::run("docker", command, workspace).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_become_the_images_variables() {
        assert_eq!(variable("auto.create.topics.enable"), "KAFKA_AUTO_CREATE_TOPICS_ENABLE");
    }
}
