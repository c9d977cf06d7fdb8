//! `dbtune demo`: the whole job on a private, throwaway PostgreSQL.

mod platform;
mod story;

use super::{Context, Failure, audit, migrating, outputs, propose, proving, snapshot};
use crate::bench::{Effort, Gate, Judged, judge, measure_pair};
use crate::cli::paired::on_pair;
use crate::db::throwaway::{self, Throwaway};
use crate::db::{Defaults, Limits, Session, Target, Way, read_catalog, read_statements, resolve};
use crate::migrate::{self, Back, Folder, Layout, Options};
use crate::model::{Catalog, Report, Snapshot, Workload};
use crate::propose::Advice;
use crate::rules::{self, Scope};
use crate::verify::{self, Findings};
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use story::Story;

/// Watch the whole job on a private throwaway PostgreSQL: audit, propose, bench, verify, apply, rollback
///
/// Starts a server of its own, builds a clinic platform with row-level security as it is met in the field, fills it,
/// and tunes it. Nothing outside the output folder is touched, and the server is gone afterwards.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Size of the data; 1 is about a million rows
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Where migrations, workload and report go
    #[arg(long, short, value_name = "DIR", default_value = "dbtune-demo")]
    output: PathBuf,
    /// How long to measure before against after
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = super::duration::duration)]
    duration: Duration,
    /// Leave the server running, with the tuning applied, and print how to connect and how to remove it
    #[arg(long)]
    keep: bool,
}

/// Tells a folder that a demo made from one that holds somebody's work.
/// A tenth of a millisecond more or less is nothing that the platform's users feel.
const FELT_MS: f64 = 0.1;
const MARK: &str = ".dbtune-demo";
/// A query that takes longer than this on the untuned platform is slow enough to be called so.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<Report> {
    if !(args.scale.is_finite() && args.scale > 0.0) {
        bail!("--scale takes a number over 0");
    }
    let mut interrupt = migrating::interrupt()?;
    tokio::select! {
        report = whole(&args, context) => report,
        // Dropping the rest removes the server.
        () = interrupt.wait() => Err(anyhow::Error::new(Failure {
            code: interrupt.code().unwrap_or(super::INTERRUPTED),
            message: "interrupted; the private server was removed".to_owned(),
        })),
    }
}

async fn whole(args: &Args, context: &Context) -> anyhow::Result<Report> {
    let folder = prepare(&args.output)?;
    let mut story = Story::begin(context);
    let server = Throwaway::start(throwaway::Options::from_env(&context.env)?).await?;
    let (major, minor) = server.version();
    story.step(&format!(
        "PostgreSQL {major}.{minor} on a socket of its own, no superuser needed from here on"
    ));
    let owner = platform::build(&server, context, &folder).await?;
    let base = Folder::read(&folder).map_err(|p| migrating::refused(&p))?;
    let seeded = platform::fill(&owner, args.scale, context).await?;
    story.step(&format!(
        "A clinic platform: {} rows in {} tables, row-level security as it is met in the field",
        seeded.rows,
        seeded.tables.len()
    ));
    let report = tune(args, context, &folder, &base, &owner, &mut story).await;
    let lacks = server.gaps().to_vec();
    if args.keep {
        context.progress.say(&server.keep()?);
    } else {
        server.stop().await?;
    }
    let mut report = report?;
    report.gaps.extend(lacks);
    let page = args.output.join("report.html");
    outputs::write(&report, &page, context)?;
    Ok(report)
}

async fn tune(
    args: &Args,
    context: &Context,
    folder: &Path,
    base: &Folder,
    owner: &Target,
    story: &mut Story<'_>,
) -> anyhow::Result<Report> {
    let (file, text) = platform::workload()?;
    std::fs::write(args.output.join("workload.yaml"), text)?;
    let workload = drawn(owner, &file).await?;
    let refused = at_work(owner, &workload, context).await?;
    story.step(&format!(
        "One pass of {} queries as {} personas: {refused} of them took over {} s",
        workload.queries.len(),
        workload.personas.len(),
        PATIENCE.as_secs()
    ));
    let catalog = look(args, owner, context, story).await?;
    let advice = advised(context, folder, owner, &catalog, &workload).await?;
    story.proposed(&advice);
    let limits = Limits {
        statement: PATIENCE,
        ..Limits::default()
    };
    let effort = Effort {
        duration: args.duration,
        limits,
        gate: Gate {
            floor_ms: FELT_MS,
            ..Gate::new(10.0, workload.queries.len(), limits.statement)
        },
        way: Way::default(),
    };
    let (judged, visibility) = compare(effort, context, folder, owner, &workload, story).await?;
    there_and_back(args, context, folder, base, owner, &catalog, story).await?;
    Ok(story.end(&args.output, &advice, (&judged, &effort.gate), &visibility))
}

/// An empty output folder, and the folder for migrations in it.
fn prepare(output: &Path) -> anyhow::Result<PathBuf> {
    let made = |path: &Path| {
        std::fs::create_dir_all(path).with_context(|| format!("could not make {}", path.display()))
    };
    if output.exists() && !output.join(MARK).exists() && output.read_dir()?.next().is_some() {
        bail!(
            "{} holds something that no demo made; name another folder with --output",
            output.display()
        );
    }
    made(output)?;
    std::fs::write(output.join(MARK), "made by dbtune demo; safe to remove\n")?;
    let folder = output.join("migrations");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("could not empty {}", folder.display()))?;
    }
    made(&folder)?;
    Ok(folder)
}

async fn drawn(owner: &Target, file: &crate::model::WorkloadFile) -> anyhow::Result<Workload> {
    let session = Session::connect(owner, "demo").await?;
    Ok(resolve(&session, file, Defaults::default()).await?)
}

/// One pass over the workload, so that the server has statistics to show. Returns how many queries were cut off.
async fn at_work(owner: &Target, workload: &Workload, context: &Context) -> anyhow::Result<u32> {
    let session = Session::connect(owner, "application").await?;
    let limits = Limits {
        statement: PATIENCE,
        ..Limits::default()
    };
    let mut task = context
        .progress
        .start("workload", workload.queries.len() as u64);
    let mut cut_off = 0;
    for (at, query) in (1..).zip(&workload.queries) {
        task.advance(at, workload.queries.len() as u64, &query.id);
        session.begin_query(query, limits).await?;
        let ran = async {
            let prepared = session.prepare_query(query).await?;
            let values = crate::db::draw_of(query, 0);
            session.run_query(query, &prepared, values, false).await
        }
        .await;
        session.end().await?;
        match ran {
            Err(error) if error.is("57014") => cut_off += 1,
            other => {
                other?;
            }
        }
    }
    Ok(cut_off)
}

async fn look(
    args: &Args,
    owner: &Target,
    context: &Context,
    story: &mut Story<'_>,
) -> anyhow::Result<Catalog> {
    let task = context.progress.start("audit", 0);
    let session = Session::connect(owner, "audit").await?;
    let mut catalog = read_catalog(&session).await?;
    let statements = read_statements(&session, &mut catalog).await?;
    let (findings, _) = rules::audit(&catalog, statements.as_ref(), &Scope::default());
    drop(task);
    story.audited(audit::found(&catalog, &findings), &findings);
    let path = args.output.join("snapshot.json");
    let snapshot = Snapshot::new(catalog, statements);
    snapshot::write(&snapshot, &path)
        .with_context(|| format!("could not write {}", path.display()))?;
    Ok(snapshot.catalog)
}

async fn advised(
    context: &Context,
    folder: &Path,
    owner: &Target,
    catalog: &Catalog,
    workload: &Workload,
) -> anyhow::Result<Advice> {
    let trying = propose::Trying::for_at_most(PATIENCE);
    let (advice, _) = propose::tried(&trying, context, owner, catalog, workload).await?;
    propose::write(folder, Layout::Sqlx, catalog, &advice.proposals)?;
    Ok(advice)
}

/// Both on one pair of clones: what got faster, and that nobody sees a row more or less.
async fn compare(
    effort: Effort,
    context: &Context,
    folder: &Path,
    owner: &Target,
    workload: &Workload,
    story: &mut Story<'_>,
) -> anyhow::Result<(Judged, Findings)> {
    on_pair(context, owner, folder, async |before, after, applied| {
        let mut task = context.progress.start("bench", 0);
        let mut note = |at, total, text: &str| task.advance(at, total, text);
        let measured = measure_pair(before, after, workload, effort, &mut note).await?;
        drop(task);
        let judged = judge(&measured, &effort.gate, true);
        story.measured(&judged);
        let mut task = context.progress.start("verify", 0);
        let mut note = |at, total, text: &str| task.advance(at, total, text);
        let written = Folder::read(folder).map_err(|p| migrating::refused(&p))?;
        let options = verify::Options {
            allowed: proving::allowed(context, (&written, applied))?,
            ..verify::Options::default()
        };
        let asked = &workload.personas;
        let (seen, _) = verify::verify(before, after, None, asked, &options, &mut note).await?;
        drop(task);
        story.verified(&seen);
        Ok((judged, seen))
    })
    .await
}

/// Applies everything to the platform itself, takes it back, and compares the schema with what it was.
async fn there_and_back(
    args: &Args,
    context: &Context,
    folder: &Path,
    base: &Folder,
    owner: &Target,
    before: &Catalog,
    story: &mut Story<'_>,
) -> anyhow::Result<()> {
    let all = Folder::read(folder).map_err(|p| migrating::refused(&p))?;
    let last = base.entries.iter().map(|e| e.migration.version).max();
    let options = Options::default();
    let stopped = |stop: migrate::Stop| migrating::failure(&stop);
    let task = context.progress.start("apply", 0);
    let begun = Instant::now();
    let applied = migrate::apply(owner, &all, &options, &mut |_| {})
        .await
        .map_err(stopped)?;
    let apply_time = begun.elapsed();
    drop(task);
    let task = context.progress.start("rollback", 0);
    let back = Back::To(last.unwrap_or_default());
    let begun = Instant::now();
    migrate::rollback(owner, &all, back, &options, &mut |_| {})
        .await
        .map_err(stopped)?;
    let back_time = begun.elapsed();
    drop(task);
    let session = Session::connect(owner, "demo").await?;
    let after = read_catalog(&session).await?;
    drop(session);
    story.took_back(
        applied.done.len(),
        apply_time,
        back_time,
        before.schema() == after.schema(),
    );
    if args.keep {
        migrate::apply(owner, &all, &options, &mut |_| {})
            .await
            .map_err(stopped)?;
    }
    Ok(())
}
