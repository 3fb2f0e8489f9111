//! Which librdkafka properties users may set.

use std::collections::BTreeMap;

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;

/// An unusable property.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kafka property \"{property}\": {fault}")]
pub struct PropertyError {
    /// The property's name.
    pub property: String,
    /// What is wrong with it.
    pub fault: PropertyFault,
}

/// Why a property is unusable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyFault {
    /// A guarantee of the relay depends on it.
    #[error("is set by walpost: {reason}")]
    Reserved {
        /// Which guarantee.
        reason: &'static str,
    },
    /// librdkafka has no such property.
    #[error("librdkafka has no property of this name")]
    Unknown,
    /// librdkafka rejects the value.
    #[error("librdkafka rejects this value")]
    InvalidValue,
    /// librdkafka knows the value, and this build has no code for it.
    #[error("this build of walpost does not support {0}")]
    Unsupported(&'static str),
}

/// Checks every property and reports all that are unusable. The values are not repeated: they may be secrets.
#[must_use]
pub fn validate_properties(properties: &BTreeMap<String, String>) -> Vec<PropertyError> {
    let fault = |(name, value): (&String, &String)| {
        if let Some((_, reason)) = RESERVED.iter().find(|(reserved, _)| reserved == name) {
            return Some(PropertyFault::Reserved { reason });
        }
        if let Some((_, _, what)) =
            UNSUPPORTED.iter().find(|(property, without, _)| property == name && without == value)
        {
            return Some(PropertyFault::Unsupported(what));
        }
        match ClientConfig::new().set(name, value).create_native_config() {
            Ok(_) => None,
            Err(KafkaError::ClientConfig(result, ..)) if is_unknown(result) => Some(PropertyFault::Unknown),
            Err(_) => Some(PropertyFault::InvalidValue),
        }
    };
    // Without a method it asks the application for tokens, which has none: the client would wait for ever.
    let is_set = |names: &[&str], value: &str| {
        names.iter().any(|name| properties.get(*name).is_some_and(|set| set.eq_ignore_ascii_case(value)))
    };
    let waits_for_token = is_set(&MECHANISM, "OAUTHBEARER")
        && !is_set(&["enable.sasl.oauthbearer.unsecure.jwt"], "true")
        && !properties.contains_key("sasl.oauthbearer.method");
    let fault = |property: (&String, &String)| {
        let is_mechanism = MECHANISM.contains(&property.0.as_str());
        fault(property).or_else(|| (waits_for_token && is_mechanism).then_some(PropertyFault::Unsupported(OAUTH)))
    };
    let error = |property| fault(property).map(|fault| PropertyError { property: property.0.clone(), fault });
    properties.iter().filter_map(error).collect()
}

fn is_unknown(result: rdkafka::types::RDKafkaConfRes) -> bool {
    result == rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN
}

/// The names of the property for the SASL mechanism.
const MECHANISM: [&str; 2] = ["sasl.mechanism", "sasl.mechanisms"];
const OAUTH: &str = "OAuth: it has no way to get tokens";

/// Values that librdkafka knows but that need a library which walpost is built without.
const UNSUPPORTED: &[(&str, &str, &str)] = &[
    ("sasl.mechanism", "GSSAPI", "Kerberos (GSSAPI): it is built without libsasl2"),
    ("sasl.mechanisms", "GSSAPI", "Kerberos (GSSAPI): it is built without libsasl2"),
    ("sasl.oauthbearer.method", "oidc", "OAuth with OIDC (oidc): it is built without libcurl"),
];

const LOSS: &str = "a record counts as published only once every in-sync replica has it";
const ORDER: &str = "records with the same key must stay in order, and a retry must not duplicate any";
const OUTAGE: &str = "the relay waits out outages of any length; a record never times out";
const PARTITION: &str = "a key must go to the partition that the Java client's partitioner picks";
const MODE: &str = "it follows from [kafka] delivery";
const SERVERS: &str = "use [kafka] bootstrap_servers";
const STATISTICS: &str = "once a second they show whether the client still knows a broker";
const REPORTS: &str = "delivery reports decide what is confirmed to Postgres";

/// Properties that users must not set, including aliases, each with the reason.
const RESERVED: &[(&str, &str)] = &[
    ("acks", LOSS),
    ("request.required.acks", LOSS),
    ("enable.idempotence", ORDER),
    ("enable.gapless.guarantee", ORDER),
    ("queuing.strategy", ORDER),
    ("retries", OUTAGE),
    ("message.send.max.retries", OUTAGE),
    ("message.timeout.ms", OUTAGE),
    ("delivery.timeout.ms", OUTAGE),
    ("partitioner", PARTITION),
    ("transactional.id", MODE),
    ("bootstrap.servers", SERVERS),
    ("metadata.broker.list", SERVERS),
    ("delivery.report.only.error", REPORTS),
    ("enabled_events", REPORTS),
    ("log.queue", REPORTS),
    ("statistics.interval.ms", STATISTICS),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn map(properties: &[(&str, &str)]) -> BTreeMap<String, String> {
        properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn all_faults_are_reported_at_once_and_no_value_is_repeated() {
        let given = map(&[
            ("acks", "1"),
            ("delivery.timeout.ms", "5"),
            ("linger.ms", "5"),
            ("linger.mss", "5"),
            ("sasl.password", "hush"),
            ("security.protocol", "hush"),
        ]);
        let errors = validate_properties(&given);
        let faults: Vec<_> = errors.iter().map(|error| (error.property.as_str(), error.fault.clone())).collect();
        assert_eq!(
            faults,
            [
                ("acks", PropertyFault::Reserved { reason: LOSS }),
                ("delivery.timeout.ms", PropertyFault::Reserved { reason: OUTAGE }),
                ("linger.mss", PropertyFault::Unknown),
                ("security.protocol", PropertyFault::InvalidValue),
            ]
        );
        assert!(errors.iter().all(|error| !error.to_string().contains("hush")));
    }

    #[test]
    fn case_49_a_method_that_this_build_lacks_is_named() {
        let faults = |given: &[(&str, &str)]| {
            let errors = validate_properties(&map(given));
            errors.into_iter().map(|error| (error.property.clone(), error.to_string())).collect::<Vec<_>>()
        };
        let [oidc, kerberos, none] = [
            faults(&[("sasl.mechanism", "OAUTHBEARER"), ("sasl.oauthbearer.method", "oidc")]),
            faults(&[("sasl.mechanisms", "GSSAPI")]),
            faults(&[("sasl.mechanism", "OAUTHBEARER")]),
        ];
        let told =
            |faults: &[(String, String)]| faults.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>().join("; ");
        assert!(oidc.len() == 1 && told(&oidc).contains("does not support OAuth with OIDC"), "{oidc:?}");
        assert!(kerberos.len() == 1 && told(&kerberos).contains("does not support Kerberos"), "{kerberos:?}");
        assert!(none.len() == 1 && told(&none).contains("has no way to get tokens"), "{none:?}");
        let unsecured = [("sasl.mechanism", "OAUTHBEARER"), ("enable.sasl.oauthbearer.unsecure.jwt", "true")];
        assert_eq!(faults(&unsecured), []);
        assert_eq!(faults(&[("sasl.mechanism", "PLAIN")]), []);
    }

    #[test]
    fn every_reserved_name_is_one_that_librdkafka_knows() {
        for (name, _) in RESERVED {
            // Properties that are callbacks can't be set as text, so the check looks for an unknown name.
            let result = ClientConfig::new().set(*name, "1").create_native_config();
            let unknown = matches!(result, Err(KafkaError::ClientConfig(result, ..)) if is_unknown(result));
            assert!(!unknown, "{name}");
        }
    }
}
