//! `walpost contract` against a real PostgreSQL and a real Kafka.

mod apply;
mod lint;
mod mistakes;
mod settings;
mod show;
mod topics;
mod walkthrough;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tempfile::TempDir;

use crate::harness::program::{self, Ended};
use crate::harness::{Harness, PATIENCE};

/// Properties of a payload that has an id and nothing else.
const ID: &str = "[{name: id, logicalType: string, required: true}]";

/// A directory of contract files for a test's servers.
pub(crate) struct Contracts<'a> {
    harness: &'a Harness,
    folder: TempDir,
}

impl<'a> Contracts<'a> {
    pub(crate) fn new(harness: &'a Harness) -> Self {
        Self { harness, folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub(crate) fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(file);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder is made");
        fs::write(&path, text).expect("a file is written");
        path
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A contract of one event, to a topic named after the event. `keys` are those of the schema object, indented by two spaces;
    /// `properties` those of the payload, in flow style.
    pub(crate) fn contract(&self, name: &str, version: &str, keys: &str, properties: &str) -> String {
        format!(
            "apiVersion: v3.1.0\nkind: DataContract\nid: {name}\nversion: \"{version}\"\nstatus: active\nservers:\n\
             - {{server: kafka, type: kafka, host: kafka:9092, format: json}}\nteam: {{name: checkout}}\nschema:\n- name: {name}\n  \
             physicalType: topic\n  physicalName: {}\n{keys}  properties: {properties}\n",
            self.harness.topic(name)
        )
    }

    /// `walpost contract` with these arguments, on the directory and the test's servers.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::command("contract", arguments);
        command.arg(self.folder.path());
        command.args(["--database-url", self.harness.url(), "--kafka", self.harness.kafka()]);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().expect("the binary runs"))
    }

    /// `walpost contract` on the database only.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Ended {
        program::run("contract", &[arguments, &["--database-url", self.harness.url()]].concat())
    }

    /// The registered versions, as `name/version status`, in the order of registration.
    pub(crate) async fn registered(&self) -> Vec<String> {
        let sql = "select name || '/' || version || ' ' || status from outbox.schema_version order by registered_at";
        self.harness.query(sql).await.iter().map(|row| row.get(0)).collect()
    }
}

impl Harness {
    /// The number of a topic's partitions, if it exists.
    pub(crate) fn partitions(&self, topic: &str) -> usize {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("a Kafka client");
        let metadata = admin.inner().fetch_metadata(Some(topic), PATIENCE).expect("kafka answers");
        metadata.topics()[0].partitions().len()
    }

    /// A topic's property.
    pub(crate) async fn topic_property(&self, topic: &str, name: &str) -> Option<String> {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("a Kafka client");
        let described = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &AdminOptions::new()).await;
        let mut described = described.expect("kafka answers");
        let resource = described.remove(0).expect("the topic is there");
        resource.get(name).and_then(|entry| entry.value.clone())
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.kafka()).set("allow.auto.create.topics", "false");
        config
    }
}
