//! What the catalog says about the outbox tables and their publication.

pub(super) mod publication;
pub(super) mod streamed;
pub(super) mod column_type;
pub(super) mod layout;
