//! Authentication, from the server's first request to `AuthenticationOk`, as messages in and out.

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use postgres_protocol::message::frontend;

use super::error::{AuthError, Error, invalid_statement};
use super::frame::Body;
use super::options::{ChannelBinding, ConnectOptions, Method, Password};

/// What the TLS session gives to bind to.
pub(super) enum Binding {
    NoTls,
    /// A certificate for which no hash is defined.
    Undefined,
    /// A certificate whose key the server may not own: whoever copied it would pass for the server.
    Unproved,
    /// The server certificate's hash.
    Hash(Vec<u8>),
}

/// What follows from a request.
pub(super) enum AuthStep {
    /// Nothing is to be said.
    Wait,
    /// A message goes to the server.
    Send(BytesMut),
    /// The server is content.
    Done,
}

/// The answers to a server's requests, without the socket that they go through.
pub(super) struct Exchange<'a> {
    options: &'a ConnectOptions,
    binding: Binding,
    scram: Scram,
    /// Whether the server has asked for a proof: it does so once.
    is_asked: bool,
}

enum Scram {
    None,
    Running { exchange: Box<ScramSha256>, bound: bool },
    Proved { bound: bool },
}

impl<'a> Exchange<'a> {
    /// One that has not begun.
    pub(super) fn new(options: &'a ConnectOptions, binding: Binding) -> Self {
        Self { options, binding, scram: Scram::None, is_asked: false }
    }

    /// Whether the server has asked for a proof.
    pub(super) const fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// The answer to one Authentication message.
    ///
    /// # Errors
    /// [`AuthError`] where the client does not go on; a message that makes no sense.
    pub(super) fn answer(&mut self, body: &mut Body<'_>) -> Result<AuthStep, Error> {
        // Postgres manual, "Message Formats": the Authentication messages by their number.
        match body.i32("an authentication request")? {
            0 => {
                self.check_done()?;
                return Ok(AuthStep::Done);
            }
            3 => {
                self.begin(Method::Password, body)?;
                let password = self.password("password")?;
                return password_message(password.reveal().as_bytes());
            }
            5 => {
                self.begin(Method::Md5, body)?;
                let password = self.password("md5")?;
                let salt = body.take(4, "an md5 salt")?.try_into().expect("four bytes were taken");
                let hash = md5_hash(self.options.user().as_bytes(), password.reveal().as_bytes(), salt);
                return password_message(hash.as_bytes());
            }
            10 => return self.start_scram(body),
            11 => return self.continue_scram(body),
            12 => match std::mem::replace(&mut self.scram, Scram::None) {
                Scram::Running { mut exchange, bound } => {
                    exchange.finish(body.rest()).map_err(AuthError::Scram)?;
                    self.scram = Scram::Proved { bound };
                }
                _ => return Err(body.fail("the end of a SCRAM exchange that did not begin").into()),
            },
            2 => return Err(AuthError::Unsupported("Kerberos V5".to_owned()).into()),
            7 => return Err(AuthError::Unsupported("GSSAPI".to_owned()).into()),
            9 => return Err(AuthError::Unsupported("SSPI".to_owned()).into()),
            number => return Err(AuthError::Unsupported(format!("authentication method {number}")).into()),
        }
        Ok(AuthStep::Wait)
    }

    /// Before a method's first answer. A server that could ask again and again could have a client hash passwords for as long as it
    /// likes.
    fn begin(&mut self, method: Method, body: &Body<'_>) -> Result<(), Error> {
        if std::mem::replace(&mut self.is_asked, true) {
            return Err(body.fail("a second request for authentication").into());
        }
        self.check_allowed(method)?;
        if method != Method::ScramSha256 {
            self.refuse_without_binding()?;
        }
        Ok(())
    }

    fn check_allowed(&self, method: Method) -> Result<(), AuthError> {
        match self.options.required_methods() {
            Some(methods) if !methods.allow(method) => Err(AuthError::NotAllowed(method.as_str())),
            _ => Ok(()),
        }
    }

    fn check_done(&self) -> Result<(), AuthError> {
        if !self.is_asked {
            self.check_allowed(Method::None)?;
        }
        match self.scram {
            Scram::Running { .. } => Err(AuthError::Unproved),
            Scram::Proved { bound: true } => Ok(()),
            Scram::Proved { bound: false } | Scram::None => self.refuse_without_binding(),
        }
    }

    /// Before anything that can't be bound is sent or believed.
    fn refuse_without_binding(&self) -> Result<(), AuthError> {
        match self.options.channel_binding() {
            ChannelBinding::Require => {
                Err(AuthError::NoChannelBinding("the server does not ask for SCRAM-SHA-256-PLUS"))
            }
            ChannelBinding::Disable | ChannelBinding::Prefer => Ok(()),
        }
    }

    fn password(&self, method: &'static str) -> Result<Password, AuthError> {
        self.options.password().ok_or(AuthError::NoPassword { method })
    }

    fn start_scram(&mut self, body: &mut Body<'_>) -> Result<AuthStep, Error> {
        self.begin(Method::ScramSha256, body)?;
        let mut offered = Vec::new();
        loop {
            match body.c_string("a list of SASL mechanisms")? {
                [] => break,
                name => offered.push(String::from_utf8_lossy(name).into_owned()),
            }
        }
        let offers = |mechanism: &str| offered.iter().any(|name| name == mechanism);
        let (mechanism, binding) = self.choose(offers(SCRAM_SHA_256_PLUS))?;
        if !offers(mechanism) {
            return Err(AuthError::Unsupported(format!("SASL with {}", offered.join(", "))).into());
        }
        let password = self.password(SCRAM_SHA_256)?;
        let exchange = Box::new(ScramSha256::new(password.reveal().as_bytes(), binding));
        let mut message = BytesMut::new();
        frontend::sasl_initial_response(mechanism, exchange.message(), &mut message).map_err(invalid_statement)?;
        self.scram = Scram::Running { exchange, bound: mechanism == SCRAM_SHA_256_PLUS };
        Ok(AuthStep::Send(message))
    }

    /// The mechanism, and what is told about channel binding: that it is used; that it could be, had the server offered
    /// it (which unmasks one who took the offer out); or that it is not had here.
    fn choose(&self, plus_offered: bool) -> Result<(&'static str, sasl::ChannelBinding), AuthError> {
        use sasl::ChannelBinding as Binds;
        let required = self.options.channel_binding() == ChannelBinding::Require;
        match &self.binding {
            _ if self.options.channel_binding() == ChannelBinding::Disable => Ok((SCRAM_SHA_256, Binds::unsupported())),
            Binding::Hash(hash) if plus_offered => Ok((SCRAM_SHA_256_PLUS, Binds::tls_server_end_point(hash.clone()))),
            Binding::Hash(_) if required => {
                Err(AuthError::NoChannelBinding("the server does not offer SCRAM-SHA-256-PLUS"))
            }
            Binding::NoTls if required => Err(AuthError::NoChannelBinding("the connection has no TLS")),
            Binding::Undefined if required => {
                Err(AuthError::NoChannelBinding("the server certificate's signature has no hash function to bind to"))
            }
            Binding::Unproved if required => Err(AuthError::NoChannelBinding(
                "the server's certificate is of a kind that this client can't verify (X.509 v1, P-521, RSA for PSS alone)",
            )),
            Binding::Hash(_) => Ok((SCRAM_SHA_256, Binds::unrequested())),
            Binding::NoTls | Binding::Undefined | Binding::Unproved => Ok((SCRAM_SHA_256, Binds::unsupported())),
        }
    }

    fn continue_scram(&mut self, body: &Body<'_>) -> Result<AuthStep, Error> {
        let Scram::Running { exchange, .. } = &mut self.scram else {
            return Err(body.fail("a SCRAM message outside of an exchange").into());
        };
        // A server could ask for hours of hashing; the library refuses more than 100,000 iterations.
        exchange.update(body.rest()).map_err(AuthError::Scram)?;
        let mut message = BytesMut::new();
        frontend::sasl_response(exchange.message(), &mut message).map_err(invalid_statement)?;
        Ok(AuthStep::Send(message))
    }
}

fn password_message(password: &[u8]) -> Result<AuthStep, Error> {
    let mut message = BytesMut::new();
    frontend::password_message(password, &mut message).map_err(invalid_statement)?;
    Ok(AuthStep::Send(message))
}
