//! What the catalog says about the outbox tables and their publication.

pub(super) mod table;
pub(super) mod column_type;
pub(super) mod layout;
pub(super) mod not_streamed;
pub(super) mod streamed;
pub(super) mod publication;
