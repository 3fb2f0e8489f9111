//! Apache Kafka from its jars, with this machine's Java: one process per broker.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use sha2::{Digest, Sha256};

use super::java::Java;
use super::probe::Probe;
use super::properties::{self, Node};
use super::{KafkaOptions, Login, Tuning, VERSION};
use crate::lab::sandbox::cache::Cache;
use crate::lab::sandbox::download::{self, Pinned};
use crate::lab::sandbox::error::SandboxError;
use crate::lab::sandbox::progress::{Progress, Step};
use crate::lab::sandbox::random;
use crate::lab::sandbox::server::{self, Farewell, Server};
use crate::lab::sandbox::workspace::Workspace;

/// The pinned jars.
const JARS: &str = include_str!("jars.txt");
/// A broker logs warnings, to standard output.
const LOG_CONFIGURATION: &str = "\
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c{1} %m%n
";
/// Time limit until clients can use a broker.
const START_LIMIT: Duration = Duration::from_secs(90);
/// Attempts of a first start, with other ports each time.
const START_ATTEMPTS: u32 = 3;
/// Time limit for an orderly stop; with several brokers each moves its partitions first.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Time limit for a connection on this machine to be accepted or refused.
const CONNECT_LIMIT: Duration = Duration::from_millis(100);

/// The brokers of one cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    java: Java,
    installation: PathBuf,
    tuning: Tuning,
    brokers: Vec<Broker>,
    admin: Option<Login>,
    workspace: Arc<Workspace>,
}

#[derive(Debug)]
struct Broker {
    node: Node,
    folder: PathBuf,
    server: Option<Server>,
}

impl Cluster {
    pub(super) async fn start(
        options: &KafkaOptions,
        logins: &[Login],
        progress: &Progress,
    ) -> Result<Self, SandboxError> {
        let java = Java::find()?;
        let installation = install(&java, progress).await?;
        let mut attempt = 1;
        loop {
            let mut cluster = Self::prepare(&java, &installation, options, logins)?;
            progress.tell(Step::Starting { what: &cluster.describe() });
            match cluster.start_brokers().await {
                Ok(()) => return Ok(cluster),
                // Usually another process took a port between its choice and its use, and may be gone by now. Other causes repeat.
                Err(SandboxError::Ended { .. }) if attempt < START_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Creates the directories of brokers that are not started.
    fn prepare(
        java: &Java,
        installation: &Path,
        options: &KafkaOptions,
        logins: &[Login],
    ) -> Result<Self, SandboxError> {
        let workspace = Arc::new(Workspace::create("kafka", None)?);
        let node = |id| Node { id, port: random::free_port(), controller_port: random::free_port() };
        let nodes: Vec<Node> = (1..=options.brokers.max(1)).map(node).collect();
        let cluster_id = random_uuid();
        let mut brokers = Vec::new();
        for node in &nodes {
            let folder = workspace.path().join(format!("broker-{}", node.id));
            let properties = properties::of_broker(node, &nodes, options, logins);
            format(installation, node, &folder, &cluster_id, properties)?;
            brokers.push(Broker { node: *node, folder, server: None });
        }
        let admin = logins.first().cloned();
        let (java, installation) = (java.clone(), installation.to_path_buf());
        Ok(Self { java, installation, tuning: options.tuning, brokers, admin, workspace })
    }

    pub(super) fn describe(&self) -> String {
        let number = match self.brokers.len() {
            1 => String::new(),
            many => format!(", {many} brokers"),
        };
        format!("Apache Kafka {VERSION} (jars, Java {}{number})", self.java.release)
    }

    pub(super) fn bootstrap(&self) -> String {
        let addresses: Vec<String> =
            self.brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.node.port)).collect();
        addresses.join(",")
    }

    pub(super) fn pid(&self, id: u16) -> Option<u32> {
        let broker = self.brokers.iter().find(|broker| broker.node.id == id)?;
        broker.server.as_ref().map(Server::pid)
    }

    pub(super) fn log_path(&self, id: u16) -> Option<PathBuf> {
        self.brokers.iter().find(|broker| broker.node.id == id).map(Broker::log)
    }

    pub(super) async fn stop(&mut self) -> Result<(), SandboxError> {
        let running: Vec<Server> = self.brokers.iter_mut().filter_map(|broker| broker.server.take()).collect();
        // All at once: the last controllers of a quorum can't elect a leader, and would wait for one.
        let stops: Vec<_> =
            running.into_iter().map(|server| tokio::spawn(server.stop(Signal::TERM, STOP_LIMIT))).collect();
        let mut outcome = Ok(());
        for stop in stops {
            outcome = outcome.and(stop.await.expect("stopping a server does not panic"));
        }
        outcome
    }

    pub(super) fn kill(&mut self) {
        for broker in &mut self.brokers {
            broker.kill();
        }
    }

    pub(super) fn kill_broker(&mut self, id: u16) {
        self.brokers.iter_mut().filter(|broker| broker.node.id == id).for_each(Broker::kill);
    }

    pub(super) async fn start_broker(&mut self, id: u16) -> Result<(), SandboxError> {
        self.spawn_stopped(|broker| broker.node.id == id)?;
        self.wait_ready().await
    }

    /// Starts every broker that is not running, and waits until all are ready.
    pub(super) async fn start_brokers(&mut self) -> Result<(), SandboxError> {
        self.spawn_stopped(|_| true)?;
        self.wait_ready().await
    }

    /// Runs Kafka's ACL command as `admin`.
    pub(super) async fn acl(&self, admin: &Login, arguments: &[&str]) -> Result<(), SandboxError> {
        let login = self.workspace.path().join("admin.properties");
        fs::write(&login, properties::file(&properties::of_tool(admin)))
            .map_err(SandboxError::file("write", &login))?;
        let mut command = java_command(&self.java, &self.installation, self.workspace.path());
        command.args(["org.apache.kafka.tools.AclCommand", "--bootstrap-server", &self.bootstrap(), "--force"]);
        command.arg("--command-config").arg(&login).args(arguments);
        server::run("kafka-acls", command, Some(&self.workspace)).await.map(drop)
    }

    fn spawn_stopped(&mut self, which: impl Fn(&Broker) -> bool) -> Result<(), SandboxError> {
        let name = self.describe();
        for broker in self.brokers.iter_mut().filter(|broker| broker.server.is_none() && which(broker)) {
            let mut command = java_command(&self.java, &self.installation, &broker.folder);
            command.args(match self.tuning {
                Tuning::QuickStart => ["-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].as_slice(),
                Tuning::Throughput => ["-Xmx1g", "-XX:+UseG1GC"].as_slice(),
            });
            command.arg("kafka.Kafka").arg(broker.folder.join("server.properties"));
            let log = broker.log();
            broker.server = Some(Server::spawn(&name, &mut command, &log, Farewell::Kill, &self.workspace)?);
        }
        Ok(())
    }

    /// Waits until clients know every running broker.
    async fn wait_ready(&mut self) -> Result<(), SandboxError> {
        let probe = Probe::new(&self.bootstrap(), self.admin.as_ref())?;
        for broker in &mut self.brokers {
            let Some(server) = broker.server.as_mut() else { continue };
            let (id, port) = (i32::from(broker.node.id), broker.node.port);
            server.wait_ready(START_LIMIT, async || accepts(port) && probe.brokers().await.contains(&id)).await?;
        }
        Ok(())
    }
}

impl Broker {
    fn log(&self) -> PathBuf {
        self.folder.join("kafka.log")
    }

    fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }
}

/// The directory with the jars and the bootstrap record that Kafka's storage tool writes into every new data directory. The record is
/// always the same, and reusing it saves a second per start.
async fn install(java: &Java, progress: &Progress) -> Result<PathBuf, SandboxError> {
    let jars: Vec<Pinned<'_>> = JARS.lines().filter_map(Pinned::parse).collect();
    let digest: String = Sha256::digest(JARS).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let cache = Cache::open(None)?;
    let name = format!("kafka-{VERSION}-{digest}");
    let make = async |part: &Path| {
        let libs = part.join("libs");
        fs::create_dir(&libs).map_err(SandboxError::file("create", &libs))?;
        download::fetch_all(&jars, &libs, &format!("Apache Kafka {VERSION}"), progress).await?;
        write_bootstrap(java, part).await
    };
    cache.get_or_make(&name, make).await
}

/// Runs Kafka's storage tool to format a directory, and keeps the result.
async fn write_bootstrap(java: &Java, installation: &Path) -> Result<(), SandboxError> {
    let data = installation.join("formatted");
    let configuration = installation.join("format.properties");
    let node = Node { id: 1, port: 9092, controller_port: 9093 };
    let mut properties = properties::of_broker(&node, &[node], &KafkaOptions::default(), &[]);
    properties.push(("listeners".to_owned(), "BROKER://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093".to_owned()));
    properties.push(("log.dirs".to_owned(), data.display().to_string()));
    fs::write(&configuration, properties::file(&properties)).map_err(SandboxError::file("write", &configuration))?;
    let mut command = java_command(java, installation, installation);
    command.args(["kafka.tools.StorageTool", "format", "--cluster-id", &random_uuid(), "--config"]);
    command.arg(&configuration);
    server::run("kafka-storage", command, None).await?;
    let bootstrap = installation.join("bootstrap.checkpoint");
    fs::rename(data.join("bootstrap.checkpoint"), &bootstrap).map_err(SandboxError::file("move", &bootstrap))?;
    fs::remove_dir_all(&data).map_err(SandboxError::file("remove", &data))
}

/// Creates a broker's directory: its configuration, and a data directory as the storage tool would have formatted it.
fn format(
    installation: &Path,
    node: &Node,
    folder: &Path,
    cluster_id: &str,
    properties: Vec<(String, String)>,
) -> Result<(), SandboxError> {
    let data = folder.join("data");
    fs::create_dir_all(&data).map_err(SandboxError::file("create", &data))?;
    let checkpoint = data.join("bootstrap.checkpoint");
    fs::copy(installation.join("bootstrap.checkpoint"), &checkpoint)
        .map_err(SandboxError::file("write", &checkpoint))?;
    let (id, directory_id) = (node.id, random_uuid());
    let meta = format!("version=1\ncluster.id={cluster_id}\nnode.id={id}\ndirectory.id={directory_id}\n");
    let listeners = format!("BROKER://127.0.0.1:{},CONTROLLER://127.0.0.1:{}", node.port, node.controller_port);
    let own = [("listeners".to_owned(), listeners), ("log.dirs".to_owned(), data.display().to_string())];
    let all: Vec<(String, String)> = own.into_iter().chain(properties).collect();
    let files = [
        (data.join("meta.properties"), meta),
        (folder.join("server.properties"), properties::file(&all)),
        (folder.join("log4j2.properties"), LOG_CONFIGURATION.to_owned()),
    ];
    for (path, text) in files {
        fs::write(&path, text).map_err(SandboxError::file("write", &path))?;
    }
    Ok(())
}

/// Java with Kafka's jars, working in `folder`, where it also unpacks native libraries.
fn java_command(java: &Java, installation: &Path, folder: &Path) -> Command {
    let property = |name: &str, path: &Path| format!("-D{name}={}", path.display());
    let mut command = Command::new(&java.program);
    command
        .current_dir(folder)
        // Not in the system's temporary directory, where a killed JVM would leave its files.
        .arg("-XX:-UsePerfData")
        .arg(property("java.io.tmpdir", folder))
        .arg(property("log4j2.configurationFile", &folder.join("log4j2.properties")))
        .arg("-cp")
        .arg(installation.join("libs/*"));
    command
}

fn accepts(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), CONNECT_LIMIT).is_ok()
}

/// 16 random bytes in Kafka's format: base64 of 22 symbols, of which the last has only 2 bits.
fn random_uuid() -> String {
    random::token(21) + "A"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_jar_list_is_understood() {
        let lines = JARS.lines().filter(|line| !line.starts_with('#'));
        assert!(lines.clone().count() > 40);
        for line in lines {
            let jar = Pinned::parse(line).unwrap_or_else(|| panic!("not a pinned file: {line}"));
            assert!(jar.path.ends_with(".jar") && jar.bytes > 0, "{line}");
        }
    }

    #[test]
    fn the_jar_list_matches_the_version() {
        assert!(JARS.contains(&format!("/kafka_2.13-{VERSION}.jar")));
    }
}
