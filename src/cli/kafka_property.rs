//! Values of `--kafka-property`, and of the other options that override the configuration's servers.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command};

use crate::config::process_environment;

/// The process's environment, in which the options that were given take the place of the configuration's variables.
pub(super) fn overridden(
    database_url: Option<&str>,
    kafka: Option<&str>,
    properties: &[(String, String)],
) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = process_environment().into_iter().collect();
    let given = [("WALPOST_POSTGRES__URL", database_url), ("WALPOST_KAFKA__BOOTSTRAP_SERVERS", kafka)];
    for (name, value) in given {
        environment.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }
    for (name, value) in properties {
        let name = name.to_uppercase().replace('.', "_");
        environment.insert(format!("WALPOST_KAFKA__PROPERTIES__{name}"), value.clone());
    }
    environment
}

/// Parses NAME=VALUE. Unlike clap's own errors, this one does not show a bad value: it may be a password.
#[derive(Clone, Copy, Debug)]
pub(super) struct Property;

impl TypedValueParser for Property {
    type Value = (String, String);

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<Self::Value, clap::Error> {
        value.to_str().and_then(property).ok_or_else(|| {
            let message = "a value of --kafka-property is not NAME=VALUE, such as security.protocol=SSL; it is not shown here \
                           because it may be a secret\n";
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

fn property(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty())?;
    Some((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn a_property_has_a_name_and_its_value_may_contain_equals_signs() {
        assert_eq!(property("a.b=c=d"), Some(("a.b".to_owned(), "c=d".to_owned())));
        assert!(property("=c").is_none() && property("a").is_none());
    }

    #[test]
    fn a_malformed_property_is_not_shown() {
        for command in [["contract", "plan"], ["dead-letter", "list"], ["demo", "--kafka=k"]] {
            for secret in ["hunter2", "=hunter2", "sasl.password:hunter2"] {
                let arguments = [["walpost"].as_slice(), &command, &["--kafka-property", secret]].concat();
                let error = Cli::try_parse_from(arguments).expect_err("it is malformed").to_string();
                assert!(error.contains("NAME=VALUE") && !error.contains("hunter2"), "{error}");
            }
        }
    }
}
