//! The properties of brokers and clients.

use super::{ADMIN, KafkaOptions, Login};

/// One broker's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    /// From 1.
    pub(super) id: u16,
    /// The port for clients.
    pub(super) port: u16,
    pub(super) controller_port: u16,
}

/// The properties of one broker among `nodes`, except where it listens and stores its data. The caller's properties come last.
pub(super) fn of_broker(
    node: &Node,
    nodes: &[Node],
    options: &KafkaOptions,
    logins: &[Login],
) -> Vec<(String, String)> {
    let voters: Vec<String> =
        nodes.iter().map(|node| format!("{}@127.0.0.1:{}", node.id, node.controller_port)).collect();
    let replicas = nodes.len().min(3).to_string();
    let in_sync = if nodes.len() > 2 { "2" } else { "1" };
    let protocol = if logins.is_empty() { "PLAINTEXT" } else { "SASL_PLAINTEXT" };
    let mut properties: Vec<(String, String)> = [
        ("process.roles", "broker,controller"),
        ("node.id", &node.id.to_string()),
        ("controller.quorum.voters", &voters.join(",")),
        ("controller.listener.names", "CONTROLLER"),
        ("inter.broker.listener.name", "BROKER"),
        ("listener.security.protocol.map", &format!("CONTROLLER:PLAINTEXT,BROKER:{protocol}")),
        ("advertised.listeners", &format!("BROKER://127.0.0.1:{}", node.port)),
        ("auto.create.topics.enable", "false"),
        ("default.replication.factor", &replicas),
        ("group.initial.rebalance.delay.ms", "0"),
        ("offsets.topic.num.partitions", "1"),
        ("offsets.topic.replication.factor", &replicas),
        ("transaction.state.log.num.partitions", "1"),
        ("transaction.state.log.replication.factor", &replicas),
        ("transaction.state.log.min.isr", in_sync),
        ("share.coordinator.state.topic.num.partitions", "1"),
        ("share.coordinator.state.topic.replication.factor", &replicas),
        ("share.coordinator.state.topic.min.isr", in_sync),
        // 128 MB by default, for much larger logs.
        ("log.cleaner.dedupe.buffer.size", "4194304"),
        // A killed broker is considered dead after this; 9 s by default.
        ("broker.session.timeout.ms", "3000"),
        ("broker.heartbeat.interval.ms", "500"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    properties.extend(of_security(logins));
    properties.extend(options.properties.iter().cloned());
    properties
}

/// Logins and access control, if there are users.
fn of_security(logins: &[Login]) -> Vec<(String, String)> {
    let Some(admin) = logins.iter().find(|login| login.name == ADMIN) else { return Vec::new() };
    let users: String = logins.iter().map(|login| format!(" user_{}=\"{}\"", login.name, login.password)).collect();
    let (name, password) = (&admin.name, &admin.password);
    let jaas = format!("{PLAIN_LOGIN} required username=\"{name}\" password=\"{password}\"{users};");
    [
        ("sasl.enabled.mechanisms", "PLAIN"),
        ("sasl.mechanism.inter.broker.protocol", "PLAIN"),
        ("listener.name.broker.plain.sasl.jaas.config", &jaas),
        ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
        // Controllers communicate without a login, on a port that only this machine can reach.
        ("super.users", &format!("User:{ADMIN};User:ANONYMOUS")),
        ("allow.everyone.if.no.acl.found", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

const PLAIN_LOGIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";

/// The properties that a librdkafka client needs to log in.
pub(super) fn of_client(login: &Login) -> Vec<(String, String)> {
    [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", &login.name),
        ("sasl.password", &login.password),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// The properties that Kafka's command-line tools need to log in.
pub(super) fn of_tool(login: &Login) -> Vec<(String, String)> {
    let jaas = format!("{PLAIN_LOGIN} required username=\"{}\" password=\"{}\";", login.name, login.password);
    [("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", &jaas)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// The text of a properties file. Java uses the last of two lines for one name.
pub(super) fn file(properties: &[(String, String)]) -> String {
    let line = |(name, value): &(String, String)| format!("{name}={}\n", value.replace('\\', "\\\\"));
    properties.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [Node; 3] = [
        Node { id: 1, port: 11, controller_port: 21 },
        Node { id: 2, port: 12, controller_port: 22 },
        Node { id: 3, port: 13, controller_port: 23 },
    ];

    fn value<'a>(properties: &'a [(String, String)], name: &str) -> Option<&'a str> {
        properties.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn the_callers_properties_override() {
        let properties = vec![("message.max.bytes".to_owned(), "1".to_owned()), ("node.id".to_owned(), "9".to_owned())];
        let options = KafkaOptions { properties, ..KafkaOptions::default() };
        let made = of_broker(&NODES[1], &NODES, &options, &[]);
        assert_eq!(value(&made, "message.max.bytes"), Some("1"));
        assert_eq!(value(&made, "node.id"), Some("9"));
        assert_eq!(value(&made, "controller.quorum.voters"), Some("1@127.0.0.1:21,2@127.0.0.1:22,3@127.0.0.1:23"));
        assert_eq!(value(&made, "default.replication.factor"), Some("3"));
        assert_eq!(value(&made, "authorizer.class.name"), None);
    }

    #[test]
    fn with_users_the_broker_requires_a_login() {
        let logins = ["admin", "relay"].map(|name| Login { name: name.to_owned(), password: format!("{name}-pw") });
        let made = of_broker(&NODES[0], &NODES[..1], &KafkaOptions::default(), &logins);
        assert_eq!(value(&made, "listener.security.protocol.map"), Some("CONTROLLER:PLAINTEXT,BROKER:SASL_PLAINTEXT"));
        let jaas = value(&made, "listener.name.broker.plain.sasl.jaas.config").expect("users are configured");
        assert!(jaas.ends_with(" user_admin=\"admin-pw\" user_relay=\"relay-pw\";"), "{jaas}");
    }

    #[test]
    fn a_properties_file_keeps_backslashes() {
        assert_eq!(file(&[("a.b".to_owned(), r"c\d".to_owned())]), "a.b=c\\\\d\n");
    }
}
