//! Two copies of one database that differ in nothing but what is done to the second.

use dbtune::bench::{Clones, settle};
use dbtune::db::{Error, Result, Target};

/// Both copies; end with [`Pair::close`], or the next run removes them.
pub(crate) struct Pair {
    clones: Clones,
    before: Target,
    after: Target,
}

impl Pair {
    /// Two clones of `source`, as [`Clones::open`] makes them.
    pub(crate) async fn open(source: &Target) -> Result<Self> {
        let opened = Clones::open(source, &["before", "after"], std::future::pending()).await?;
        let none = || Error::new("clone a database", "no clone was made");
        let clones = opened.ok_or_else(none)?;
        let mut targets = clones.targets().cloned();
        let (before, after) = (targets.next(), targets.next());
        drop(targets);
        Ok(Self {
            clones,
            before: before.ok_or_else(none)?,
            after: after.ok_or_else(none)?,
        })
    }

    pub(crate) fn before(&self) -> &Target {
        &self.before
    }

    /// The one to change. Call [`Pair::settle`] afterwards.
    pub(crate) fn after(&self) -> &Target {
        &self.after
    }

    /// As [`settle`], of the second one.
    pub(crate) async fn settle(&self) -> Result<()> {
        settle(&self.after).await
    }

    /// Drops both.
    pub(crate) async fn close(self) -> Result<()> {
        self.clones.close().await
    }
}
