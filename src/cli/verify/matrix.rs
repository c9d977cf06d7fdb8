//! `dbtune verify --matrix`

use crate::cli::Context;
use crate::cli::migrating;
use crate::cli::paired::{Wanted, on_clones};
use crate::db::{Defaults, Session, Target, resolve};
use crate::migrate::{Folder, Goal};
use crate::model::{Persona, Report, WorkloadFile};
use crate::verify::matrix::{Matrix, Options, compare, matrix, report, saved};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is looked at instead of a change.
#[derive(Debug, clap::Args)]
pub struct Look {
    /// Show what each identity may do with each table of the database as it is, and which policy decides:
    /// dbtune verify --matrix -o access.html -o access.json
    #[arg(long, conflicts_with_all = ["before", "migrations"])]
    pub matrix: bool,
    /// Fail on any difference from a matrix that was saved as JSON before, what opens to outsiders first:
    /// dbtune verify --matrix --against access.json
    #[arg(long, value_name = "FILE", requires = "matrix")]
    pub against: Option<PathBuf>,
    /// Write the matrix to a file as well: its ending (.html, .json, .md, .xml) names the format. May be repeated
    #[arg(long, short, value_name = "FILE", requires = "matrix")]
    pub output: Vec<PathBuf>,
    /// Say which policy, and which part of it, shows one row to an identity or hides it (exit code 1), for each command:
    /// dbtune verify --why ann documents id=42
    #[arg(
        long,
        num_args = 3,
        value_names = ["IDENTITY", "TABLE", "KEY"],
        conflicts_with_all = ["before", "migrations", "matrix"]
    )]
    pub why: Option<Vec<String>>,
    /// Write the matrix as tests that stand alone, one SQL file a table, each with a negative control; FORMAT is pgtap:
    /// dbtune verify --export pgtap tests/access
    #[arg(
        long,
        num_args = 2,
        value_names = ["FORMAT", "DIR"],
        conflicts_with_all = ["before", "migrations", "matrix", "why"]
    )]
    pub export: Option<Vec<String>>,
}

pub(super) async fn run(
    against: Option<&Path>,
    file: &WorkloadFile,
    (time, most): (Duration, usize),
    context: &Context,
) -> anyhow::Result<Report> {
    // Read first, so that a broken file costs no clone.
    let before = against.map(read).transpose()?;
    let made = on_clone(context, file, async |clone, personas| {
        let mut task = context.progress.start("matrix", 0);
        let mut note = |at, total, text: &str| task.advance(at, total, text);
        let options = Options { time, most };
        Ok(matrix(clone, personas, &options, &mut note).await?)
    });
    let now = made.await?;
    let compared = before.map(|before| compare(&before, &now));
    Ok(report(&now, compared.as_ref()))
}

/// Runs `work` on a clone of the database as it is, with the personas as its data fills them.
pub(super) async fn on_clone<T>(
    context: &Context,
    file: &WorkloadFile,
    work: impl AsyncFnOnce(&Target, &[Persona]) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let target = context.target()?;
    let wanted = [Wanted {
        part: "matrix",
        folder: Folder::default(),
        goal: Goal::Unchanged,
    }];
    let interrupt = migrating::interrupt()?;
    let done = on_clones(
        context,
        interrupt,
        &target,
        (&wanted, &[]),
        async |copies| {
            let [clone] = copies else {
                anyhow::bail!("one clone was asked for, and {} made", copies.len());
            };
            let session = Session::connect(&clone.target, "verify").await?;
            let personas = resolve(&session, file, Defaults::default()).await?.personas;
            drop(session);
            work(&clone.target, &personas).await
        },
    );
    done.await
}

fn read(path: &Path) -> anyhow::Result<Matrix> {
    let text = crate::cli::given::read(path)?;
    saved(&text).with_context(|| {
        format!(
            "{} is no matrix: write one with dbtune verify --matrix -o FILE.json",
            path.display()
        )
    })
}
