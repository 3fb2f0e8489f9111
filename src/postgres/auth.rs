//! Who is who: the authentication exchange, from the server's first request to its `AuthenticationOk`.

use std::io;

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use postgres_protocol::message::frontend;

use super::connection::{Connection, invalid_statement};
use super::error::Error;
use super::frame::Body;
use super::options::{ChannelBinding, ConnectOptions, Password};

/// Why the client can't go on with authentication.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The server wants a password, and there is none.
    #[error(
        "the server asks for a password ({method}), and none is given: set it in the URL, PGPASSWORD or the password file"
    )]
    NoPassword {
        /// The method that the server asks for.
        method: &'static str,
    },
    /// The server asks for a method that this client does not have.
    #[error("the server asks for {0}, which is not supported: use scram-sha-256, md5, password or cert in pg_hba.conf")]
    Unsupported(String),
    /// `channel_binding=require`, and it can't be had.
    #[error("channel_binding=require, but {0}")]
    NoChannelBinding(&'static str),
    /// The server says that all is well before it has shown that it knows the password.
    #[error("the server ended authentication before it had proved who it is")]
    Unproved,
    /// The SCRAM exchange failed on this side: among others a server that does not know the password.
    #[error("the SCRAM exchange failed")]
    Scram(#[source] io::Error),
}

/// What the TLS session gives to bind to.
pub(super) enum Binding {
    /// No TLS.
    NoTls,
    /// A certificate for which no hash is defined.
    Undefined,
    /// The server certificate's hash.
    Hash(Vec<u8>),
}

/// Answers the server's requests until it is content.
pub(super) fn authenticate(
    connection: &mut Connection,
    options: &ConnectOptions,
    binding: Binding,
) -> Result<(), Error> {
    let mut exchange = Exchange { options, binding, scram: Scram::None };
    loop {
        let frame = connection.receive()?;
        let mut body = frame.reader();
        match frame.tag {
            b'R' => {}
            b'E' => return Err(connection.server_error(&mut body)),
            _ => return Err(body.fail("not an authentication message").into()),
        }
        if let Step::Done = exchange.answer(connection, &mut body)? {
            return Ok(());
        }
    }
}

enum Step {
    GoOn,
    Done,
}

enum Scram {
    None,
    Running { exchange: Box<ScramSha256>, bound: bool },
    Proved { bound: bool },
}

struct Exchange<'a> {
    options: &'a ConnectOptions,
    binding: Binding,
    scram: Scram,
}

impl Exchange<'_> {
    fn answer(&mut self, connection: &mut Connection, body: &mut Body<'_>) -> Result<Step, Error> {
        // Postgres manual, "Message Formats": the Authentication messages by their number.
        match body.i32("an authentication request")? {
            0 => {
                self.check_done()?;
                return Ok(Step::Done);
            }
            3 => {
                self.refuse_without_binding()?;
                let password = self.password("password")?;
                send_password(connection, password.reveal().as_bytes())?;
            }
            5 => {
                self.refuse_without_binding()?;
                let password = self.password("md5")?;
                let salt = body.take(4, "an md5 salt")?.try_into().expect("four bytes were taken");
                let hash = md5_hash(self.options.user().as_bytes(), password.reveal().as_bytes(), salt);
                send_password(connection, hash.as_bytes())?;
            }
            10 => self.start_scram(connection, body)?,
            11 => self.continue_scram(connection, body)?,
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
        Ok(Step::GoOn)
    }

    fn check_done(&self) -> Result<(), AuthError> {
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

    fn start_scram(&mut self, connection: &mut Connection, body: &mut Body<'_>) -> Result<(), Error> {
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
        connection.send(&message)
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
            Binding::Hash(_) => Ok((SCRAM_SHA_256, Binds::unrequested())),
            Binding::NoTls | Binding::Undefined => Ok((SCRAM_SHA_256, Binds::unsupported())),
        }
    }

    fn continue_scram(&mut self, connection: &mut Connection, body: &Body<'_>) -> Result<(), Error> {
        let Scram::Running { exchange, .. } = &mut self.scram else {
            return Err(body.fail("a SCRAM message outside of an exchange").into());
        };
        // A server could ask for hours of hashing; the library refuses more than 100,000 iterations.
        exchange.update(body.rest()).map_err(AuthError::Scram)?;
        let mut message = BytesMut::new();
        frontend::sasl_response(exchange.message(), &mut message).map_err(invalid_statement)?;
        connection.send(&message)
    }
}

fn send_password(connection: &mut Connection, password: &[u8]) -> Result<(), Error> {
    let mut message = BytesMut::new();
    frontend::password_message(password, &mut message).map_err(invalid_statement)?;
    connection.send(&message)
}
