//! `dbtune bench`

mod export;
mod judging;
mod measuring;
mod record;
mod sides;

use super::duration::duration;
use super::load::Load;
use super::paired::interruptible;
use super::{Context, migrating, outputs};
use crate::bench::{Effort, Gate, patience};
use crate::config::Settings;
use crate::db::{Defaults, Limits, Plans, Protocol, Session, Target, Way, resolve};
use crate::migrate::Interrupt;
use crate::model::{Demand, Report, Workload, WorkloadFile};
use anyhow::bail;
use sides::{Finder, Found, Side};
use std::path::PathBuf;
use std::time::Duration;

/// Measure every query of the workload before and after the pending migrations
///
/// With both flags two clones of the database are measured in turns, the second with the pending migrations applied.
/// `--before` alone records the database as it is; `--after --baseline FILE` compares it with what was recorded.
/// Either flag may name what its side is instead: a database URL (measured as it is), a file that was recorded, a migration
/// (by version or name: a clone is brought there, forwards or backwards), or a commit (a clone is brought to the folder of
/// migrations as of that branch, tag or hash). They are looked for in this order; `url:`, `file:`, `version:` or `git:` in
/// front says which is meant.
/// Exit code 1: a query returns other rows, became slower, or is over its target; 3: too noisy to tell.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    pub other: Option<Other>,
    /// Measure without the pending migrations, or what REF names
    #[arg(long, value_name = "REF", num_args = 0..=1, required_unless_present = "after")]
    #[expect(
        clippy::option_option,
        reason = "not given, given alone, given with a value"
    )]
    pub before: Option<Option<String>>,
    /// Measure with them, or what REF names; beside a recorded side, the database itself
    #[arg(long, value_name = "REF", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "as above")]
    pub after: Option<Option<String>>,
    /// What `bench --before -o FILE` recorded
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "before",
        requires = "after"
    )]
    pub baseline: Option<PathBuf>,
    /// Compare with a recorded side or another database even where the data is not the same
    #[arg(long)]
    pub allow_other_data: bool,
    /// Queries with their personas [default: from the configuration, or the only one under benchmarks/]
    #[arg(long, value_name = "FILE")]
    pub workload: Option<PathBuf>,
    /// Folder of migrations in sqlx's format [default: from the configuration, or migrations]
    #[arg(long, value_name = "DIR")]
    pub migrations: Option<PathBuf>,
    /// Only this query, or this `query@persona`; may be repeated
    #[arg(long, value_name = "QUERY")]
    pub only: Vec<String>,
    /// How long to measure all queries together [default: from the configuration, or 60s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Ends an execution that takes longer; it counts as at least so long [default: from the configuration, or 30s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Parameter draws of each query [default: from the configuration, or 20]
    #[arg(long, value_name = "N")]
    pub draws: Option<usize>,
    /// How statements are sent: as text with the values in it, parsed and bound each time, or prepared once a connection
    #[arg(long, value_name = "PROTOCOL", value_enum, default_value_t = Sending::Prepared)]
    pub protocol: Sending,
    /// How prepared statements are planned: as the server decides, with their values, or once for all values
    #[arg(long, value_name = "MODE", value_enum, default_value_t = Planning::Custom)]
    pub plan_mode: Planning,
    #[command(flatten)]
    pub load: Load,
    /// Fail where a query became slower: p95 by so many percent more [default: from the configuration, or 10]. That is done
    /// without this option too
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, conflicts_with = "no_gate")]
    #[expect(clippy::option_option, reason = "as above")]
    pub gate: Option<Option<f64>>,
    /// Report slow queries without failing
    #[arg(long)]
    pub no_gate: bool,
    /// With `--before` alone the baseline to write, else the report: its ending (.html, .json, .md, .xml) names the format.
    /// May be repeated, for several formats of one run
    #[arg(long, short, value_name = "FILE")]
    pub output: Vec<PathBuf>,
}

/// What else is done with a workload.
#[derive(Debug, clap::Subcommand)]
pub enum Other {
    Record(record::Args),
    Export(export::Args),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sending {
    Simple,
    Extended,
    Prepared,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Planning {
    Auto,
    Custom,
    Generic,
}

impl Args {
    fn way(&self) -> Way {
        Way {
            protocol: match self.protocol {
                Sending::Simple => Protocol::Simple,
                Sending::Extended => Protocol::Extended,
                Sending::Prepared => Protocol::Prepared,
            },
            plans: match self.plan_mode {
                Planning::Auto => Plans::Auto,
                Planning::Custom => Plans::Custom,
                Planning::Generic => Plans::Generic,
            },
        }
    }
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<Report> {
    if matches!(context.global.format.as_str(), "junit" | "github") && args.after.is_none() {
        bail!(
            "--format {} shows comparisons: `bench --before` alone only records",
            context.global.format
        );
    }
    match args.other {
        Some(Other::Record(args)) => return record::run(args, context).await,
        Some(Other::Export(args)) => return export::run(args, context).await,
        None => {}
    }
    outputs::check(&args.output)?;
    let mut settings = context.settings()?;
    let percent = args.gate.flatten();
    if percent.is_some() {
        settings.gate.p95_percent = None;
    }
    let mut file = context.workload(args.workload.as_deref())?;
    select(&mut file, &args.only)?;
    if percent.is_some_and(|g| !(g.is_finite() && g > 0.0)) {
        bail!("--gate takes a number over 0, in percent");
    }
    if args.plan_mode != Planning::Custom && args.protocol != Sending::Prepared {
        bail!("--plan-mode matters to prepared statements only: leave out --protocol");
    }
    let migrations = context.migrations(args.migrations.as_deref())?;
    let finder = Finder {
        context,
        migrations: &migrations,
        part: "before",
    };
    let interrupt = migrating::interrupt()?;
    let asked = interruptible(interrupt.clone(), asked_for(&args, &finder));
    let (before, after) = asked.await?;
    let limits = limits(&args, &settings, [Some(&before), after.as_ref()])?;
    let plan = Plan {
        demand: args.load.demand()?,
        args: &args,
        settings: &settings,
        file: &file,
        context,
        limits,
        interrupt,
    };
    // What takes back a migration of another branch may be here; where this folder is broken, it is elsewhere or nowhere.
    let folder = finder.folder().unwrap_or_default();
    let Some(after) = after else {
        let [path] = args.output.as_slice() else {
            bail!(
                "name one file to record to: dbtune bench --before -o FILE (or measure both: --before --after)"
            );
        };
        return plan.record(before, path, &folder).await;
    };
    let mut report = plan.compare(before, after, &folder).await?;
    outputs::write_all(&mut report, &args.output, context);
    Ok(report)
}

/// The side before and, unless one is only recorded, the side after.
async fn asked_for(args: &Args, finder: &Finder<'_>) -> anyhow::Result<(Found, Option<Found>)> {
    let later = Finder {
        part: "after",
        ..*finder
    };
    let before = match (&args.before, &args.baseline) {
        (Some(Some(text)), _) => Some(finder.find(text).await?),
        (None, Some(file)) => Some(sides::recorded(file)?),
        (Some(None), _) => None,
        (None, None) => bail!(
            "name what to compare with: dbtune bench --after --baseline FILE (or measure both: --before --after)"
        ),
    };
    let is_recorded = |found: &Found| matches!(found.side, Side::Recorded(..));
    let after = match &args.after {
        None => {
            let before = before.map_or_else(|| finder.itself(), Ok)?;
            return Ok((before, None));
        }
        Some(Some(text)) => later.find(text).await?,
        // A baseline is recorded of the database itself, and so is what it is compared with.
        Some(None) if before.as_ref().is_some_and(is_recorded) => later.itself()?,
        Some(None) => later.pending()?,
    };
    let before = match before {
        Some(before) => before,
        None if is_recorded(&after) => finder.itself()?,
        None => finder.unchanged(),
    };
    Ok((before, Some(after)))
}

/// The limits of this run. What was recorded was cut off at some time, and the other side has to be cut off there too.
fn limits(args: &Args, settings: &Settings, sides: [Option<&Found>; 2]) -> anyhow::Result<Limits> {
    let mut statement = args.timeout;
    for found in sides.into_iter().flatten() {
        let Side::Recorded(file, baseline) = &found.side else {
            continue;
        };
        let ms = baseline.environment.statement_timeout_ms;
        let recorded = Duration::from_millis(ms);
        if statement.is_some_and(|asked| asked != recorded) {
            bail!(
                "{} was recorded with executions ended at {ms} ms, and the other side is ended at another time: leave out \
                 --timeout, or record again",
                file.display()
            );
        }
        statement = Some(recorded);
    }
    Ok(Limits {
        statement: statement.unwrap_or(Duration::from_millis(settings.statement_timeout_ms)),
        ..Limits::default()
    })
}

struct Plan<'a> {
    demand: Demand,
    args: &'a Args,
    settings: &'a Settings,
    file: &'a WorkloadFile,
    context: &'a Context,
    limits: Limits,
    interrupt: Interrupt,
}

impl Plan<'_> {
    async fn draw(&self, target: &Target) -> anyhow::Result<Workload> {
        let session = Session::connect(target, "draw").await?;
        let defaults = Defaults {
            slo_ms: self.settings.usual_target_ms(),
            draws: self.args.draws.unwrap_or(self.settings.draws),
            limits: Limits {
                statement: Duration::from_millis(self.settings.statement_timeout_ms),
                ..Limits::default()
            },
        };
        let mut workload = resolve(&session, self.file, defaults).await?;
        for query in &mut workload.queries {
            query.slo_ms = self.settings.target_ms(&query.id, Some(query.slo_ms));
        }
        Ok(workload)
    }

    /// For one side or two in turns.
    fn effort(&self, queries: usize, sides: usize) -> Effort {
        let usual = Duration::from_secs(self.settings.duration_s);
        let duration = self.args.duration.unwrap_or(usual);
        // At a fixed rate an execution is also given up that has waited for a client for too long.
        let waited = self.demand.rate.map(|_| patience(duration, sides));
        let cut_off = waited.map_or(self.limits.statement, |w| w.min(self.limits.statement));
        Effort {
            duration,
            limits: self.limits,
            gate: Gate::new(self.percent(), queries, cut_off),
            way: self.args.way(),
        }
    }

    fn percent(&self) -> f64 {
        let configured = self.settings.gate.p95_percent.as_ref().map(|p| p.value);
        self.args
            .gate
            .flatten()
            .or(configured)
            .unwrap_or(self.settings.regression_percent)
    }
}

/// Keeps the queries that `only` names, as `query` or `query@persona`.
fn select(file: &mut WorkloadFile, only: &[String]) -> anyhow::Result<()> {
    if only.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = file.queries.iter().map(|q| q.name.clone()).collect();
    for query in &mut file.queries {
        let name = &query.name;
        if !only.contains(name) {
            query
                .personas
                .retain(|persona| only.contains(&format!("{name}@{persona}")));
        }
    }
    file.queries.retain(|q| !q.personas.is_empty());
    let missing = only.iter().find(|wanted| {
        let wanted = wanted.split('@').next().unwrap_or_default();
        !file.queries.iter().any(|q| q.name == wanted)
    });
    match missing {
        None => Ok(()),
        Some(wanted) => bail!(
            "the workload has no query `{wanted}`; it has: {}",
            all.join(", ")
        ),
    }
}
