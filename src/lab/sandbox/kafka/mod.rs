//! A temporary Apache Kafka: a real one if Java or Docker is available, otherwise a stand-in inside this process.

mod java;
mod jvm;
mod docker;
mod in_process;
mod properties;
mod probe;

use std::path::PathBuf;

use super::error::SandboxError;
use super::progress::{Progress, Step};
use super::random;

/// The version to run.
const VERSION: &str = "4.3.1";
/// The superuser, if there are users; the sandbox administers Kafka as this user.
const ADMIN: &str = "admin";

/// What to start. The default is one real broker that is open to everyone on this machine and creates no topic automatically.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// Where it comes from.
    pub source: KafkaSource,
    /// Number of brokers; each is also a controller. More than one only with [`KafkaSource::Java`].
    pub brokers: u16,
    /// Further broker properties, name and value; they override the sandbox's. The in-process broker ignores them.
    pub properties: Vec<(String, String)>,
    /// Users who log in with SASL/PLAIN. With any, everyone must log in, and ACLs are enforced: a resource without ACLs is open to all,
    /// see [`Kafka::deny_write`]. Only with [`KafkaSource::Java`].
    pub users: Vec<String>,
    /// What the JVM is tuned for.
    pub tuning: Tuning,
}

/// Where a Kafka comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KafkaSource {
    /// A real one: with Java 17 or newer, otherwise with Docker.
    #[default]
    Real,
    /// A real one, otherwise the in-process one.
    RealOrInProcess,
    /// Apache Kafka's jars, downloaded once, with this machine's Java.
    Java,
    /// The image `apache/kafka`, with this machine's Docker.
    Docker,
    /// librdkafka's mock cluster: at-least-once delivery works, and little else.
    InProcess,
}

/// What a broker's JVM is tuned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tuning {
    /// Fast start and little CPU on a small machine: half the CPU and two thirds of the time to start.
    #[default]
    QuickStart,
    /// Throughput once it is warm, for measurements.
    Throughput,
}

/// A Kafka. Dropping it stops it and removes its files, as does the end of this process.
#[derive(Debug)]
pub struct Kafka {
    kind: Kind,
    logins: Vec<Login>,
}

#[derive(Debug)]
enum Kind {
    Jvm(jvm::Cluster),
    Docker(docker::Container),
    InProcess(in_process::Broker),
}

/// A user and their generated password.
#[derive(Debug, Clone)]
struct Login {
    name: String,
    password: String,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            source: KafkaSource::default(),
            brokers: 1,
            properties: Vec::new(),
            users: Vec::new(),
            tuning: Tuning::default(),
        }
    }
}

impl Kafka {
    /// Starts a Kafka with these options, and waits until clients can use it.
    ///
    /// # Errors
    /// This machine can't run the requested kind, its files can't be downloaded, or it does not start.
    pub async fn start(options: KafkaOptions, progress: &Progress) -> Result<Self, SandboxError> {
        let logins = logins(&options.users);
        let kind = start_kind(&options, &logins, progress).await?;
        let kafka = Self { kind, logins };
        progress.tell(Step::Ready { what: &kafka.describe() });
        Ok(kafka)
    }

    /// The kind: "Apache Kafka 4.3.1 (jars, Java 17)", "in-process broker of librdkafka: ...".
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Jvm(cluster) => cluster.describe(),
            Kind::Docker(container) => container.describe(),
            Kind::InProcess(broker) => broker.describe(),
        }
    }

    /// Whether this is a real Apache Kafka and not a stand-in.
    pub fn is_real(&self) -> bool {
        !matches!(self.kind, Kind::InProcess(_))
    }

    /// The value of `bootstrap.servers`. It survives [`Self::start_again`].
    pub fn bootstrap(&self) -> String {
        match &self.kind {
            Kind::Jvm(cluster) => cluster.bootstrap(),
            Kind::Docker(container) => container.bootstrap(),
            Kind::InProcess(broker) => broker.bootstrap(),
        }
    }

    /// The librdkafka properties that a client needs to log in as a user of [`KafkaOptions::users`], or as the superuser `admin`.
    /// Empty if there is no such user.
    pub fn client_properties(&self, user: &str) -> Vec<(String, String)> {
        let login = self.logins.iter().find(|login| login.name == user);
        login.map(properties::of_client).unwrap_or_default()
    }

    /// Creates a topic on the in-process broker, which does not support such requests from clients.
    ///
    /// # Errors
    /// This Kafka is a real one: use a client.
    pub fn create_topic_in_process(&self, name: &str, partitions: i32) -> Result<(), SandboxError> {
        match &self.kind {
            Kind::InProcess(broker) => broker.create_topic(name, partitions),
            Kind::Jvm(_) | Kind::Docker(_) => {
                Err(SandboxError::Unsupported { kind: self.describe(), action: "create a topic without a client" })
            }
        }
    }

    /// The process id of the first broker that runs in a process on this machine.
    pub fn pid(&self) -> Option<u32> {
        match &self.kind {
            Kind::Jvm(cluster) => cluster.pid(1),
            Kind::Docker(_) | Kind::InProcess(_) => None,
        }
    }

    /// The log of the first broker that runs in a process on this machine.
    pub fn log_path(&self) -> Option<PathBuf> {
        match &self.kind {
            Kind::Jvm(cluster) => cluster.log_path(1),
            Kind::Docker(_) | Kind::InProcess(_) => None,
        }
    }

    /// Stops every broker gracefully. Does nothing if they are stopped.
    ///
    /// # Errors
    /// A broker did not stop in time and was killed.
    pub async fn stop(&mut self) -> Result<(), SandboxError> {
        match &mut self.kind {
            Kind::Jvm(cluster) => cluster.stop().await,
            Kind::Docker(container) => container.stop().await,
            Kind::InProcess(broker) => broker.down(),
        }
    }

    /// SIGKILL for every broker.
    ///
    /// # Errors
    /// Docker does not answer.
    pub async fn kill(&mut self) -> Result<(), SandboxError> {
        match &mut self.kind {
            Kind::Jvm(cluster) => cluster.kill(),
            Kind::Docker(container) => container.kill().await?,
            Kind::InProcess(broker) => broker.down()?,
        }
        Ok(())
    }

    /// Starts the stopped brokers on the same ports and data, and waits until clients can use them.
    ///
    /// # Errors
    /// A broker does not start.
    pub async fn start_again(&mut self) -> Result<(), SandboxError> {
        match &mut self.kind {
            Kind::Jvm(cluster) => cluster.start_brokers().await,
            Kind::Docker(container) => container.start_again().await,
            Kind::InProcess(broker) => broker.up(),
        }
    }

    /// SIGKILL for one of several brokers; they are numbered from 1.
    ///
    /// # Errors
    /// This Kafka does not have several brokers.
    pub fn kill_broker(&mut self, id: u16) -> Result<(), SandboxError> {
        self.jvm("kill one broker")?.kill_broker(id);
        Ok(())
    }

    /// Restarts one of several brokers after a kill.
    ///
    /// # Errors
    /// This Kafka does not have several brokers, or the broker does not start.
    pub async fn start_broker(&mut self, id: u16) -> Result<(), SandboxError> {
        self.jvm("start one broker")?.start_broker(id).await
    }

    /// Denies a user to write to a topic; everything else about it remains open to everyone.
    ///
    /// # Errors
    /// This Kafka was started without users, or its ACL command fails.
    pub async fn deny_write(&mut self, user: &str, topic: &str) -> Result<(), SandboxError> {
        // An ACL on a topic denies everyone else, so the others are allowed explicitly.
        self.acl(&["--add", "--topic", topic, "--allow-principal", "User:*", "--operation", "All"]).await?;
        let user = format!("User:{user}");
        self.acl(&["--add", "--topic", topic, "--deny-principal", &user, "--operation", "Write"]).await
    }

    /// Runs Kafka's ACL command as the superuser with these arguments, as `kafka-acls.sh` takes them.
    ///
    /// # Errors
    /// This Kafka was started without users, or the command fails.
    pub async fn acl(&mut self, arguments: &[&str]) -> Result<(), SandboxError> {
        let admin = self.logins.iter().find(|login| login.name == ADMIN).cloned();
        let Some(admin) = admin else {
            return Err(SandboxError::Unsupported { kind: self.describe(), action: "keep ACLs without users" });
        };
        self.jvm("keep ACLs")?.acl(&admin, arguments).await
    }

    fn jvm(&mut self, action: &'static str) -> Result<&mut jvm::Cluster, SandboxError> {
        let kind = self.describe();
        match &mut self.kind {
            Kind::Jvm(cluster) => Ok(cluster),
            Kind::Docker(_) | Kind::InProcess(_) => Err(SandboxError::Unsupported { kind, action }),
        }
    }
}

/// A password for each user and the superuser; empty if there are no users.
fn logins(users: &[String]) -> Vec<Login> {
    if users.is_empty() {
        return Vec::new();
    }
    let names = std::iter::once(ADMIN).chain(users.iter().map(String::as_str));
    names.map(|name| Login { name: name.to_owned(), password: random::token(24) }).collect()
}

async fn start_kind(options: &KafkaOptions, logins: &[Login], progress: &Progress) -> Result<Kind, SandboxError> {
    match options.source {
        KafkaSource::Java => start_jvm(options, logins, progress).await,
        KafkaSource::Docker => start_docker(options, logins, progress).await,
        KafkaSource::InProcess => in_process::Broker::start().map(Kind::InProcess),
        KafkaSource::Real => start_real(options, logins, progress).await,
        KafkaSource::RealOrInProcess => match start_real(options, logins, progress).await {
            Err(error @ (SandboxError::NoKafka { .. } | SandboxError::Fetch { .. })) => {
                tracing::info!(error = %error, "no real kafka can run here; using the in-process broker");
                in_process::Broker::start().map(Kind::InProcess)
            }
            outcome => outcome,
        },
    }
}

async fn start_real(options: &KafkaOptions, logins: &[Login], progress: &Progress) -> Result<Kind, SandboxError> {
    match start_jvm(options, logins, progress).await {
        Err(SandboxError::NoKafka { reason: no_java }) => {
            let with_docker = start_docker(options, logins, progress).await;
            with_docker.map_err(|error| match error {
                SandboxError::NoKafka { reason } => SandboxError::NoKafka { reason: format!("{no_java}; {reason}") },
                other => other,
            })
        }
        outcome => outcome,
    }
}

async fn start_jvm(options: &KafkaOptions, logins: &[Login], progress: &Progress) -> Result<Kind, SandboxError> {
    jvm::Cluster::start(options, logins, progress).await.map(Kind::Jvm)
}

async fn start_docker(options: &KafkaOptions, logins: &[Login], progress: &Progress) -> Result<Kind, SandboxError> {
    if options.brokers > 1 || !logins.is_empty() {
        let reason = "Docker runs one broker without users".to_owned();
        return Err(SandboxError::NoKafka { reason });
    }
    docker::Container::start(options, progress).await.map(Kind::Docker)
}
