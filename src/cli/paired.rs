//! Clones of one database, each brought to its own state of the migrations.

use super::migrating::{self, Teller};
use super::{Context, Failure, code_for};
use crate::bench::{Clones, settle};
use crate::db::Target;
use crate::migrate::{Folder, Goal, Interrupt, Options, Reached, Reason, Stop, reach};
use std::path::Path;

/// A clone to be made.
pub(super) struct Wanted {
    /// For its name.
    pub(super) part: &'static str,
    /// The migrations that `goal` is about.
    pub(super) folder: Folder,
    pub(super) goal: Goal,
}

/// A clone that was made.
pub(super) struct Copied {
    pub(super) target: Target,
    pub(super) reached: Reached,
}

/// Runs `work` on two clones that go away afterwards, also when interrupted: one as the database is, one with the pending
/// migrations. `work` is told the labels of those that were applied.
pub(super) async fn on_pair<T>(
    context: &Context,
    source: &Target,
    migrations: &Path,
    work: impl AsyncFnOnce(&Target, &Target, &[String]) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let folder = Folder::read(migrations).map_err(|p| migrating::refused(&p))?;
    let wanted = [
        Wanted {
            part: "before",
            folder: Folder::default(),
            goal: Goal::Unchanged,
        },
        Wanted {
            part: "after",
            folder,
            goal: Goal::Pending,
        },
    ];
    let interrupt = migrating::interrupt()?;
    let making = on_clones(context, interrupt, source, (&wanted, &[]), async |copies| {
        let [before, after] = copies else {
            anyhow::bail!("two clones were asked for, and {} made", copies.len());
        };
        work(&before.target, &after.target, &after.reached.applied).await
    });
    making.await
}

/// Runs `work` on the clones that are wanted, none, one or two, in their order. They go away afterwards, also when
/// interrupted or where something fails. `others` are folders that may hold what takes back a migration.
pub(super) async fn on_clones<T>(
    context: &Context,
    mut interrupt: Interrupt,
    source: &Target,
    (wanted, others): (&[Wanted], &[&Folder]),
    work: impl AsyncFnOnce(&[Copied]) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let clones = if wanted.is_empty() {
        None
    } else {
        let mut task = context.progress.start("clone", 0);
        task.note("a copy of the database for each side");
        let parts: Vec<&str> = wanted.iter().map(|w| w.part).collect();
        match Clones::open(source, &parts, interrupt.wait()).await? {
            Some(clones) => Some(clones),
            None => return Err(stopped(&interrupt)),
        }
    };
    let targets: Vec<Target> = clones
        .iter()
        .flat_map(|clones| clones.targets().cloned())
        .collect();
    let outcome = tokio::select! {
        outcome = async {
            let mut copies = Vec::new();
            for (target, wanted_here) in targets.into_iter().zip(wanted) {
                let folders = wanted.iter().map(|w| &w.folder);
                let folders: Vec<&Folder> = folders.chain(others.iter().copied()).collect();
                let reached = bring(context, &target, wanted_here, &folders).await?;
                copies.push(Copied { target, reached });
            }
            work(&copies).await
        } => outcome,
        () = interrupt.wait() => Err(stopped(&interrupt)),
    };
    let closed = match clones {
        Some(clones) => clones.close().await,
        None => Ok(()),
    };
    match (outcome, closed) {
        (Ok(value), Ok(())) => Ok(value),
        (Ok(_), Err(error)) => Err(error.into()),
        (Err(error), Ok(())) => Err(error),
        // Both, and the one that came first decides on the code.
        (Err(error), Err(left)) => Err(Failure {
            code: code_for(&error),
            message: format!("{error:#}\n{left}"),
        }
        .into()),
    }
}

/// `work` that has nothing to clean up, until told to stop.
pub(super) async fn interruptible<T>(
    mut interrupt: Interrupt,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        done = work => done,
        () = interrupt.wait() => Err(stopped(&interrupt)),
    }
}

fn stopped(interrupt: &Interrupt) -> anyhow::Error {
    anyhow::Error::new(Failure {
        code: interrupt.code().unwrap_or(super::INTERRUPTED),
        message: "interrupted; the database was not changed".to_owned(),
    })
}

async fn bring(
    context: &Context,
    target: &Target,
    wanted: &Wanted,
    others: &[&Folder],
) -> anyhow::Result<Reached> {
    let mut teller = Teller::new(&context.progress, "apply", None)?;
    let to = (&wanted.folder, wanted.goal);
    let options = Options::default();
    let brought = reach(target, to, others, &options, &mut |e| teller.tell(e)).await;
    let reached = match brought {
        Ok(reached) => reached,
        Err(stop) => {
            // On a clone nothing is half done and there is nothing to go on with: it is dropped.
            let stop = Stop {
                done: Vec::new(),
                half_way: None,
                next: None,
                ..stop
            };
            let (part, hint) = (wanted.part, hint(&stop.reason));
            anyhow::bail!("could not bring the clone \"{part}\" to its migrations: {stop}{hint}")
        }
    };
    if wanted.goal != Goal::Unchanged {
        settle(target).await?;
    }
    Ok(reached)
}

/// What helps where something is there that a migration makes.
fn hint(reason: &Reason) -> &'static str {
    const THERE: [&str; 5] = ["42P07", "42P06", "42710", "42701", "42723"];
    match reason {
        Reason::Failed { error, .. } if THERE.iter().any(|state| error.is(state)) => {
            "\n  It is there already: the ledger (_sqlx_migrations) does not say that this migration was applied. Was the database \
             made by other means than `dbtune apply` or sqlx?"
        }
        _ => "",
    }
}
