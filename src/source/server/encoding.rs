//! The encoding in which a server is asked for text.

use super::identity::Server;
use crate::relay::decode::text_encoding::Encoding;

impl Server {
    /// How a stream from it encodes text: as the database does, if the relay can convert that.
    #[must_use]
    pub fn text_encoding(&self) -> Encoding {
        Encoding::of(&self.encoding).unwrap_or_default()
    }

    /// The `client_encoding` of a stream. With SQL_ASCII Postgres converts nothing.
    #[must_use]
    pub fn client_encoding(&self) -> &'static str {
        if self.text_encoding() == Encoding::Utf8 { "UTF8" } else { "SQL_ASCII" }
    }
}
