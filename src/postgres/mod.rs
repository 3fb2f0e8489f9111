//! A small blocking Postgres client: control queries for the relay, and the base of its replication stream.
//!
//! It is our own because the stream needs what no client library on a registry offers together: replication mode,
//! CopyBoth, channel binding, and a socket that one blocking thread may tune and own. It speaks protocol 3.0 with text
//! results. Every command that is given a production database connects with it, so that what the URL demands (`sslmode`,
//! `channel_binding`, `require_auth`, `connect_timeout`) holds for each; `Session` is its form for async code. The demo and the
//! benchmark, which need typed rows and a pool, use sqlx (`ConnectOptions::to_sqlx`).
//!
//! In the order in which a connection comes about: `options` say where and how, `socket` reaches the server, `tls`
//! encrypts, `auth` proves who is who, `connection` carries `frame`s, in which `statement`s
//! ask and are answered.

pub(crate) mod options;
mod quote;
mod socket;
mod tls;
mod transport;
mod frame;
mod auth;
mod connection;
mod row;
mod statement;
mod session;
mod error;

#[cfg(all(test, feature = "lab"))]
pub(crate) mod scratch;
#[cfg(all(test, feature = "lab"))]
mod tests;

pub(crate) use connection::ANSWER_TIMEOUT;
pub use connection::{Connection, Interrupt, WaitLimit};
pub use error::Error;
pub(crate) use error::{ServerError, sqlstate};
pub(crate) use frame::{Body, HEADER_BYTES, Head};
pub use frame::{Frame, Framer, ProtocolError};
pub use options::{ChannelBinding, ConnectOptions, Host, OptionsError, Password, RootCertificates, TlsMode};
pub(crate) use quote::{quote_identifier, quote_literal};
pub(crate) use row::Row;
pub(crate) use session::Session;
pub(crate) use socket::Socket;
pub(crate) use transport::{Transport, TransportParts};
