//! `dbtune propose`: indexes and policy rewrites, tried before they are proposed.

use super::Context;
use super::audit::plural;
use super::migrating::refused;
use super::worlds;
use crate::db::{
    Clone, Defaults, Limits, Session, Target, Workbench, clone_database, clone_name, maintenance,
    read_catalog, remove_leftovers, resolve,
};
use crate::migrate::{self, Folder, Layout, next_version};
use crate::model::{Block, Catalog, Cell, Estimate, Gap, Grid, Proposal, Report, Tone, Workload};
use crate::propose::{Advice, Options, SMALL_TABLE_ROWS, advise, evidence, left_alone};
use crate::sql::ddl;
use crate::verify::worlds::CounterExample;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Queries with their personas [default: from the configuration, or the only one under benchmarks/]
    #[arg(long, value_name = "FILE")]
    workload: Option<PathBuf>,
    /// Try changes on a clone of the database
    #[arg(long, value_enum, default_value_t = CloneWhen::Auto)]
    clone: CloneWhen,
    /// With `--clone auto`, the largest database that is cloned, in megabytes
    #[arg(long, default_value_t = 4096, value_name = "MB")]
    clone_limit: u64,
    /// Storage that new indexes may take together, in megabytes
    #[arg(long, value_name = "MB")]
    budget: Option<u64>,
    /// Parameter draws each query is tried with
    #[arg(long, default_value_t = 3)]
    draws: usize,
    /// Ends a query that takes longer, in milliseconds
    #[arg(long, default_value_t = 5_000, value_name = "MS")]
    timeout: u64,
    /// Folder that the migrations are written to [default: from the configuration, or migrations]
    #[arg(long, value_name = "DIR")]
    migrations: Option<PathBuf>,
    /// Which tool's files are written
    #[arg(long, value_name = "TOOL", default_value = "sqlx", value_parser = Layout::NAMES)]
    layout: String,
    /// Print the proposals and write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum CloneWhen {
    /// Where it is small enough and nobody else is connected
    Auto,
    /// Or fail
    Always,
    /// Plan on the original only: nothing is copied, policies are not tried
    Never,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<Report> {
    let settings = context.settings()?;
    let file = context.workload(args.workload.as_deref())?;
    let target = context.target()?;
    let folder = context.migrations(args.migrations.as_deref())?;
    let session = Session::connect(&target, "propose").await?;
    let catalog = read_catalog(&session).await?;
    let defaults = Defaults {
        slo_ms: settings.slo_ms,
        draws: args.draws.max(1),
        limits: Limits::default(),
    };
    let workload = resolve(&session, &file, defaults).await?;
    // A database cannot be copied while anybody is connected to it, this session included.
    drop(session);
    let trying = Trying {
        clone: args.clone,
        clone_limit: args.clone_limit,
        budget: args.budget,
        draws: args.draws,
        timeout: Duration::from_millis(args.timeout),
    };
    let (advice, wrong) = tried(&trying, context, &target, &catalog, &workload).await?;
    let layout = Layout::named(&args.layout).unwrap_or_default();
    let written = if args.dry_run {
        Vec::new()
    } else {
        write(&folder, layout, &catalog, &advice.proposals)?
    };
    let mut report = report(&catalog, &advice);
    worlds::show(&mut report, &wrong);
    if !written.is_empty() {
        if let Some(limit) = layout.cannot() {
            report.blocks.push(Block::Text(limit.to_owned()));
        }
        let folder = folder.display();
        let files = written.len();
        report.summary = format!("{} {files} files in {folder}/.", report.summary);
        report.next = Some(match layout {
            Layout::Sqlx => format!("dbtune verify --migrations {folder}"),
            _ => format!(
                "dbtune apply --migrations {folder} --layout {} --dry-run",
                args.layout
            ),
        });
    }
    Ok(report)
}

/// The proposals as migrations after those that are there.
pub(super) fn write(
    folder: &Path,
    layout: Layout,
    catalog: &Catalog,
    proposals: &[Proposal],
) -> anyhow::Result<Vec<PathBuf>> {
    if proposals.is_empty() {
        return Ok(Vec::new());
    }
    let existing = if folder.exists() {
        Folder::read_as(folder, layout).map_err(|p| refused(&p))?
    } else {
        Folder::default()
    };
    let versions = existing.entries.iter().map(|e| e.migration.version);
    let first = next_version(versions, chrono::Utc::now());
    let migrations = migrate::render(catalog, proposals, first);
    migrate::write_as(folder, layout, &migrations).map_err(|p| refused(&p))
}

/// How proposals are tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trying {
    clone: CloneWhen,
    clone_limit: u64,
    budget: Option<u64>,
    draws: usize,
    timeout: Duration,
}

impl Trying {
    /// On a clone, whatever its size; a query that takes longer than `timeout` is ended.
    pub(super) fn for_at_most(timeout: Duration) -> Self {
        Self {
            clone: CloneWhen::Always,
            clone_limit: 0,
            budget: None,
            draws: 3,
            timeout,
        }
    }
}

/// Advises on a clone where one can be made, else on the original. What comes second are counter-examples of rewrites that
/// were left out.
pub(super) async fn tried(
    args: &Trying,
    context: &Context,
    target: &Target,
    catalog: &Catalog,
    workload: &Workload,
) -> anyhow::Result<(Advice, Vec<CounterExample>)> {
    let options = Options {
        draws: args.draws.max(1),
        least_rows: SMALL_TABLE_ROWS,
        budget: args.budget.map(|mb| mb << 20),
    };
    let timeout = args.timeout;
    let mut task = context.progress.start("propose", 0);
    let mut progress = |text: &str| task.note(text);
    let gap = match make_clone(args, target, catalog).await? {
        Ok((maintenance, clone)) => {
            let advice = async {
                let session = Session::connect(&clone.target, "propose").await?;
                let mut lab = Workbench::on_clone(session, catalog, timeout).await?;
                advise(catalog, workload, &mut lab, options, &mut progress).await
            }
            .await;
            clone.drop(&maintenance).await?;
            let mut advice = advice?;
            let weeding = worlds::weed(
                &maintenance,
                target,
                catalog,
                &workload.personas,
                &mut advice,
                &mut progress,
            );
            let wrong = Box::pin(weeding).await?;
            return Ok((advice, wrong));
        }
        Err(gap) => gap,
    };
    let session = Session::connect(target, "propose").await?;
    let mut lab = Workbench::original(session, catalog, timeout).await?;
    let mut advice = advise(catalog, workload, &mut lab, options, &mut progress).await?;
    advice.gaps.push(gap);
    worlds::untried(&mut advice);
    Ok((advice, Vec::new()))
}

/// The clone with the session that drops it, or why there is none.
async fn make_clone(
    args: &Trying,
    target: &Target,
    catalog: &Catalog,
) -> anyhow::Result<Result<(Session, Clone), Gap>> {
    let none = |why: String, remedy: Option<String>| {
        Ok(Err(Gap {
            what: "how policy rewrites behave".to_owned(),
            why,
            remedy,
        }))
    };
    if args.clone == CloneWhen::Never {
        return none("no clone was asked for".to_owned(), None);
    }
    let megabytes = catalog.server.database_bytes >> 20;
    if args.clone == CloneWhen::Auto && megabytes > args.clone_limit {
        return none(
            format!(
                "the database has {megabytes} MB, and a copy is made up to {} MB",
                args.clone_limit
            ),
            Some("dbtune propose --clone always".to_owned()),
        );
    }
    let made = async {
        let maintenance = maintenance(target).await?;
        remove_leftovers(&maintenance).await?;
        let clone = clone_database(&maintenance, &target.dbname, &clone_name("propose")).await?;
        Ok::<_, crate::db::Error>((maintenance, clone))
    };
    match made.await {
        Ok(made) => Ok(Ok(made)),
        Err(error) if args.clone == CloneWhen::Always => Err(error.into()),
        Err(error) => none(error.message, error.advice),
    }
}

fn report(catalog: &Catalog, advice: &Advice) -> Report {
    let mut report = Report::new("propose", summary(&advice.proposals));
    for (number, proposal) in advice.proposals.iter().enumerate() {
        report
            .blocks
            .push(Block::Heading(format!("{}. {}", number + 1, proposal.slug)));
        report.blocks.push(Block::Text(reason(proposal)));
        report.blocks.push(Block::Code {
            language: "sql".to_owned(),
            text: sql(proposal),
        });
    }
    if !advice.queries.is_empty() && !advice.proposals.is_empty() {
        report
            .blocks
            .push(Block::Heading("With all of them".to_owned()));
        report.blocks.push(Block::Table(queries(&advice.queries)));
    }
    report.blocks.extend(left_alone(&advice.left));
    report.gaps.clone_from(&catalog.gaps);
    report.gaps.extend(advice.gaps.clone());
    report.data = serde_json::json!({
        "proposals": advice.proposals,
        "queries": advice.queries,
        "left_alone": advice.left,
    });
    report
}

fn summary(proposals: &[Proposal]) -> String {
    let indexes = proposals.iter().filter(|p| p.bytes.is_some()).count();
    let policies = proposals.len() - indexes;
    match (indexes, policies) {
        (0, 0) => {
            "Nothing to propose: no index or policy rewrite makes this workload faster.".to_owned()
        }
        _ => format!(
            "{} and {} proposed.",
            plural(indexes, "index", "indexes"),
            plural(policies, "policy rewrite", "policy rewrites")
        ),
    }
}

fn reason(proposal: &Proposal) -> String {
    let size = proposal
        .bytes
        .filter(|b| *b > 0)
        .map_or_else(String::new, |b| format!(" About {:.1} MB.", megabytes(b)));
    format!("{}{size} ({})", proposal.reason, evidence(proposal))
}

fn megabytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    let bytes = bytes as f64;
    bytes / f64::from(1 << 20)
}

fn sql(proposal: &Proposal) -> String {
    proposal
        .changes
        .iter()
        .flat_map(ddl::statements)
        .map(|statement| statement + ";\n")
        .collect()
}

fn queries(estimates: &[Estimate]) -> Grid {
    let mut grid = Grid::new(
        &[
            "query",
            "before ms",
            "after ms",
            "gain",
            "cost before",
            "cost after",
        ],
        &["before ms", "after ms", "gain", "cost before", "cost after"],
    );
    for estimate in estimates {
        let ms = |ms: Option<f64>| ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.2}"));
        let gain = estimate.ms_before.zip(estimate.ms_after).map_or(
            estimate.cost_before / estimate.cost_after.max(1e-9),
            |(was, is)| was / is.max(1e-6),
        );
        let tone = match gain {
            g if g >= 1.5 => Tone::Good,
            g if g < 0.8 => Tone::Bad,
            _ => Tone::Plain,
        };
        grid.rows.push(vec![
            estimate.query.as_str().into(),
            ms(estimate.ms_before).into(),
            ms(estimate.ms_after).into(),
            Cell::toned(format!("{gain:.1}×"), tone),
            format!("{:.0}", estimate.cost_before).into(),
            format!("{:.0}", estimate.cost_after).into(),
        ]);
    }
    grid
}
