//! Caches emptied before an execution, as far as a server that goes on running allows it.

use crate::db::{Result, Session, Target, find_eviction};

/// A connection of its own that empties the server's cache of one database.
pub(super) struct Eviction {
    session: Session,
    statement: String,
}

impl Eviction {
    /// An error says what would allow it.
    pub(super) async fn open(target: &Target) -> Result<Self> {
        let session = Session::connect(target, "evict").await?;
        let statement = find_eviction(&session).await?;
        Ok(Self { session, statement })
    }

    /// What is changed and not yet written is written first.
    pub(super) async fn run(&self) -> Result<()> {
        let doing = "empty the server's cache";
        self.session.execute(doing, &self.statement).await
    }
}
