//! Which methods of authentication are accepted (`require_auth`), so that a false server can't choose the one that tells it the
//! password.

use super::OptionsError;

/// How a server may have a client prove who it is, by libpq's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The password in clear text.
    Password,
    /// Its MD5 hash, which is as good as the password to whoever hears it.
    Md5,
    /// SCRAM, which tells the server nothing that it can use.
    ScramSha256,
    /// None: the server trusts, or a certificate is enough.
    None,
}

impl Method {
    /// libpq's names, those too of methods that this client does not have.
    const NAMES: [(&str, Option<Self>); 6] = [
        ("password", Some(Self::Password)),
        ("md5", Some(Self::Md5)),
        ("scram-sha-256", Some(Self::ScramSha256)),
        ("none", Some(Self::None)),
        ("gss", None),
        ("sspi", None),
    ];

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, method)| *method == Some(self));
        found.map_or("unknown", |(name, _)| name)
    }
}

/// The methods that are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Methods(Vec<Method>);

impl Methods {
    #[must_use]
    pub fn allow(&self, method: Method) -> bool {
        self.0.contains(&method)
    }

    /// Reads a list with commas: of methods that are accepted, or, each with a `!`, of methods that are not.
    pub(super) fn parse(text: &str) -> Result<Self, OptionsError> {
        let mistake = || OptionsError::Value {
            key: "require_auth",
            value: text.to_owned(),
            expected: "a list of password, md5, gss, sspi, scram-sha-256 and none, each or no one with a ! before it",
        };
        let words: Vec<&str> = text.split(',').map(str::trim).collect();
        let excludes = words.iter().all(|word| word.starts_with('!'));
        let mut named = Vec::new();
        for word in words {
            let name = if excludes { &word[1..] } else { word };
            let known = Method::NAMES.iter().find(|(known, _)| *known == name);
            named.extend(known.ok_or_else(mistake)?.1);
        }
        let all = Method::NAMES.iter().filter_map(|(_, method)| *method);
        Ok(Self(all.filter(|method| named.contains(method) != excludes).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_what_is_accepted_or_what_is_not() {
        let allowed = |text: &str| {
            let methods = Methods::parse(text).expect("a list");
            [Method::Password, Method::Md5, Method::ScramSha256, Method::None].map(|method| methods.allow(method))
        };
        assert_eq!(allowed("scram-sha-256"), [false, false, true, false]);
        assert_eq!(allowed("scram-sha-256, none"), [false, false, true, true]);
        assert_eq!(allowed("!password,!md5"), [false, false, true, true]);
        assert_eq!(allowed("gss"), [false; 4]);
        for bad in ["", "scram", "password,!md5", "!", "md5,"] {
            assert!(matches!(Methods::parse(bad), Err(OptionsError::Value { key: "require_auth", .. })), "{bad}");
        }
    }
}
