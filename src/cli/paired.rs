//! Two clones of one database, the pending migrations applied to the second.

use super::migrating::{self, Teller};
use super::{Context, Failure};
use crate::bench::Pair;
use crate::db::Target;
use crate::migrate::{self, Folder, Options};
use std::path::Path;

/// Runs `work` on a pair that goes away afterwards, also when interrupted. `work` is told how many migrations were applied.
pub(super) async fn on_pair<T>(
    context: &Context,
    source: &Target,
    migrations: &Path,
    work: impl AsyncFnOnce(&Pair, usize) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut interrupt = migrating::interrupt()?;
    let folder = Folder::read(migrations).map_err(|p| migrating::refused(&p))?;
    let opened = {
        let mut task = context.progress.start("clone", 0);
        task.note("two copies of the database");
        tokio::select! {
            opened = Pair::open(source) => Some(opened?),
            () = interrupt.wait() => None,
        }
    };
    let stopped = |interrupt: &migrate::Interrupt| {
        anyhow::Error::new(Failure {
            code: interrupt.code().unwrap_or(super::INTERRUPTED),
            message: "interrupted; the database was not changed".to_owned(),
        })
    };
    let Some(pair) = opened else {
        return Err(stopped(&interrupt));
    };
    let outcome = tokio::select! {
        outcome = async {
            let applied = apply(context, &pair, &folder).await?;
            work(&pair, applied).await
        } => outcome,
        () = interrupt.wait() => Err(stopped(&interrupt)),
    };
    let closed = pair.close().await;
    let value = outcome?;
    closed?;
    Ok(value)
}

async fn apply(context: &Context, pair: &Pair, folder: &Folder) -> anyhow::Result<usize> {
    let mut teller = Teller::new(&context.progress, "apply", None)?;
    let options = Options::default();
    let ended = migrate::apply(pair.after(), folder, &options, &mut |e| teller.tell(e)).await;
    let applied = match ended {
        Ok(outcome) => outcome.done.len(),
        // On a clone nothing is half done: it is dropped.
        Err(stop) => anyhow::bail!("could not apply the migrations to a clone: {stop}"),
    };
    pair.settle().await?;
    Ok(applied)
}
