//! `[kafka]`: bootstrap servers and librdkafka properties.

use std::collections::BTreeMap;
use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use super::error::{Complaint, ValueOrigin};
use super::file;
use super::reader::{Findings, Section, as_table, choice};
use super::tree::{Table, TreeNode, TreeValue, shown};
use crate::sink::{COMPRESSION_PROPERTIES, Compression, PropertyError, PropertyFault, validate_properties};

/// `[kafka]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `kafka.bootstrap_servers`, `WALPOST_KAFKA__BOOTSTRAP_SERVERS`: `host:port` of some brokers, comma-separated (in the
    /// file also an array). No default.
    pub bootstrap_servers: String,
    /// `kafka.delivery`, `WALPOST_KAFKA__DELIVERY`. Default `at-least-once`.
    pub delivery: Delivery,
    /// `kafka.compression`, `WALPOST_KAFKA__COMPRESSION`: how batches are compressed: `none`, `gzip`, `snappy`, `lz4` or `zstd`; the
    /// same as the property `compression.type`. Default `lz4`.
    pub compression: Compression,
    /// `kafka.properties`, `WALPOST_KAFKA__PROPERTIES__<NAME>`: librdkafka properties. Default: none beyond those walpost sets.
    pub properties: KafkaProperties,
    /// Not a key: whether the brokers support the admin API.
    pub admin_api: AdminApi,
}

/// Whether brokers support CreateTopics and DescribeConfigs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdminApi {
    /// As in every Kafka.
    #[default]
    Present,
    /// Not in librdkafka's mock cluster, whose topics are created beforehand; set by the demo.
    Absent,
}

/// The delivery guarantee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// At least once; duplicates only after a crash of the relay.
    AtLeastOnce,
    /// Exactly once for a `read_committed` consumer, whatever crashes.
    ExactlyOnce,
}

impl Delivery {
    /// The value as in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "at-least-once",
            Self::ExactlyOnce => "exactly-once",
        }
    }
}

/// librdkafka properties by name, as the text that `rd_kafka_conf_set` takes. All are known to librdkafka, and none is one that the
/// relay sets itself. `Debug` shows only names: values may be passwords.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KafkaProperties(BTreeMap<String, Property>);

#[derive(Clone, PartialEq, Eq)]
struct Property {
    text: String,
    origin: ValueOrigin,
}

impl KafkaProperties {
    /// Names and values, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, property)| (name.as_str(), property.text.as_str()))
    }

    /// Names and values as the sink takes them.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The value of a property.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|property| property.text.as_str())
    }

    /// Where a property is set.
    pub(super) fn origin(&self, name: &str) -> Option<&ValueOrigin> {
        self.0.get(name).map(|property| &property.origin)
    }
}

impl fmt::Debug for KafkaProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl KafkaConfig {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let bootstrap_servers = section.required("bootstrap_servers", "\"host:9092\"", servers);
        let delivery = section.or("delivery", Delivery::AtLeastOnce, delivery);
        let compression = section.optional("compression", compression);
        let (node, findings) = section.take("properties");
        let properties = node.map(|node| properties(node, findings)).unwrap_or_default();
        check(&properties, findings);
        let compression = agreed(compression, &properties, findings);
        section.finish();
        let admin_api = AdminApi::default();
        Some(Self { bootstrap_servers: bootstrap_servers?, delivery, compression, properties, admin_api })
    }
}

fn delivery(value: &TreeValue) -> Result<Delivery, Complaint> {
    let both = [Delivery::AtLeastOnce, Delivery::ExactlyOnce];
    choice(value, &both.map(|delivery| (delivery.as_str(), delivery)))
}

fn compression(value: &TreeValue) -> Result<Compression, Complaint> {
    choice(value, &Compression::ALL.map(|codec| (codec.as_str(), codec)))
}

/// Combines the key `compression` with the librdkafka property, which has two names.
fn agreed(key: Option<Compression>, properties: &KafkaProperties, findings: &mut Findings) -> Compression {
    let mut said = key.map(|key| (key, "kafka.compression".to_owned()));
    for name in COMPRESSION_PROPERTIES {
        let Some(codec) = properties.get(name).and_then(Compression::parse) else { continue };
        let path = format!("kafka.properties.{name}");
        match &said {
            Some((other, place)) if *other != codec => {
                let what = format!("is \"{}\", but {place} is \"{}\"", codec.as_str(), other.as_str());
                let origin = properties.origin(name).cloned().unwrap_or(ValueOrigin::Nowhere);
                findings.refuse(&path, origin, Complaint::new(what, "keep only kafka.compression"));
            }
            Some(_) => {}
            None => said = Some((codec, path)),
        }
    }
    said.map(|(codec, _)| codec).unwrap_or_default()
}

/// Checks a list of brokers in librdkafka's syntax: `[protocol://]host[:port],...`.
fn servers(value: &TreeValue) -> Result<String, Complaint> {
    let items: Vec<&str> = match value {
        TreeValue::List(items) => items.iter().map(|item| item.value.as_text()).collect::<Result<_, _>>()?,
        TreeValue::Text(_) | TreeValue::Variable(_) => value.as_text()?.split(',').map(str::trim).collect(),
        other => return Err(other.is_not("a string or an array of strings", "write \"host:9092,host:9092\"")),
    };
    if items.is_empty() {
        return Err(Complaint::new("is empty", "give at least one broker, such as \"host:9092\""));
    }
    match items.iter().find(|item| !is_server(item)) {
        Some(bad) => Err(Complaint::new(format!("{} is not host:port", shown(bad)), "write \"host:9092,host:9092\"")),
        None => Ok(items.join(",")),
    }
}

fn is_server(item: &str) -> bool {
    let address = item.split_once("://").map_or(item, |(_, address)| address);
    // The last colon outside an IPv6 address in brackets.
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse::<u16>().is_ok_and(|port| port > 0)),
        _ => (address, true),
    };
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '%');
    let bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    port && !host.is_empty() && host.chars().all(legal) && !bare_ipv6
}

/// Reads the table of properties. To TOML, `linger.ms = 5` without quotes is a nested table; here it means the same.
fn properties(node: TreeNode, findings: &mut Findings) -> KafkaProperties {
    let origin = node.origin;
    let value = match node.value {
        // TOML in variables is parsed when they are read, so none gets here.
        TreeValue::Variable(text) => file::parse_value(&text, &origin).unwrap_or(TreeValue::Variable(text)),
        other => other,
    };
    let mut properties = KafkaProperties::default();
    match as_table(value) {
        Ok(table) => flatten("", table, &mut properties, findings),
        Err(complaint) => findings.refuse("kafka.properties", origin, complaint),
    }
    properties
}

/// Validates every property with librdkafka.
fn check(properties: &KafkaProperties, findings: &mut Findings) {
    for PropertyError { property, fault } in validate_properties(&properties.to_map()) {
        let fix = match fault {
            PropertyFault::Reserved { .. } => "remove it",
            PropertyFault::Unknown => "see the list in librdkafka's CONFIGURATION.md",
            PropertyFault::Unsupported(_) => "use SASL PLAIN or SCRAM, or TLS client certificates",
            PropertyFault::InvalidValue => "see its range in librdkafka's CONFIGURATION.md",
        };
        let origin = properties.origin(&property).cloned().unwrap_or(ValueOrigin::Nowhere);
        findings.refuse(&format!("kafka.properties.{property}"), origin, Complaint::new(fault.to_string(), fix));
    }
}

/// Joins the names of nested tables by dots. The TOML parser bounds their depth.
fn flatten(prefix: &str, table: Table, properties: &mut KafkaProperties, findings: &mut Findings) {
    for (key, node) in table {
        let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        let text = match node.value {
            TreeValue::Table(inner) => {
                flatten(&name, inner, properties, findings);
                continue;
            }
            TreeValue::Text(text) | TreeValue::Variable(text) | TreeValue::Number(text) => text,
            TreeValue::Boolean(truth) => truth.to_string(),
            other => {
                let complaint =
                    other.is_not("a string, number or boolean", "write the value as in librdkafka's CONFIGURATION.md");
                findings.refuse(&format!("kafka.properties.{name}"), node.origin, complaint);
                continue;
            }
        };
        put(name, Property { text, origin: node.origin }, properties, findings);
    }
}

/// Adds a property. A variable overrides the file; the file must not set a property twice.
fn put(name: String, property: Property, properties: &mut KafkaProperties, findings: &mut Findings) {
    let is_variable = |property: &Property| matches!(property.origin, ValueOrigin::Variable(_));
    match properties.0.get(&name) {
        Some(earlier) if is_variable(earlier) && !is_variable(&property) => {}
        Some(earlier) if !is_variable(earlier) && !is_variable(&property) => {
            let complaint = Complaint::new("is set twice, with quotes and without", "remove one");
            findings.refuse(&format!("kafka.properties.{name}"), property.origin, complaint);
        }
        _ => {
            properties.0.insert(name, property);
        }
    }
}
