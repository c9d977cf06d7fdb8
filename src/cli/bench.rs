//! `dbtune bench`

mod export;
mod record;

use super::duration::duration;
use super::given::read;
use super::load::Load;
use super::paired::on_pair;
use super::{CANNOT, Context, Failure};
use crate::bench::{
    Baseline, Effort, Gate, Measured, Pace, environment, judge, measure_one_under,
    measure_pair_under, other_load, patience, report, taken, tell_load,
};
use crate::config::Settings;
use crate::db::{Defaults, Limits, Plans, Protocol, Session, Target, Way, resolve};
use crate::model::{Block, Demand, Gap, Report, Workload, WorkloadFile};
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Measure every query of the workload before and after the pending migrations
///
/// With both flags two clones of the database are measured in turns, the second with the pending migrations applied.
/// `--before` alone records the database as it is; `--after --baseline FILE` compares it with what was recorded.
/// Exit code 1: a query returns other rows, became slower, or is over its target; 3: too noisy to tell.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    pub other: Option<Other>,
    /// Measure without the pending migrations
    #[arg(long, required_unless_present = "after")]
    pub before: bool,
    /// Measure with them
    #[arg(long)]
    pub after: bool,
    /// What `bench --before -o FILE` recorded
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "before",
        requires = "after"
    )]
    pub baseline: Option<PathBuf>,
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
    /// How much longer p95 may become, in percent [default: from the configuration, or 10]
    #[arg(long, value_name = "PERCENT", conflicts_with = "no_gate")]
    pub gate: Option<f64>,
    /// Report slow queries without failing
    #[arg(long)]
    pub no_gate: bool,
    /// With `--before` alone the baseline to write, else the report: its ending (.html, .json, .md, .xml) names the format
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
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
    if matches!(context.global.format.as_str(), "junit" | "github") && !args.after {
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
    let mut settings = context.settings()?;
    if args.gate.is_some() {
        settings.gate.p95_percent = None;
    }
    let mut file = context.workload(args.workload.as_deref())?;
    select(&mut file, &args.only)?;
    if args.gate.is_some_and(|g| !(g.is_finite() && g > 0.0)) {
        bail!("--gate takes a number over 0, in percent");
    }
    if args.plan_mode != Planning::Custom && args.protocol != Sending::Prepared {
        bail!("--plan-mode matters to prepared statements only: leave out --protocol");
    }
    let plan = Plan {
        demand: args.load.demand()?,
        args: &args,
        settings: &settings,
        file: &file,
        context,
    };
    let target = context.target()?;
    let report = match (args.before, args.after) {
        (true, true) => plan.both(&target).await?,
        (true, false) => return plan.record(&target).await,
        (false, _) => plan.against(&target).await?,
    };
    if let Some(path) = &args.output {
        write_report(&report, path, context)?;
    }
    Ok(report)
}

struct Plan<'a> {
    demand: Demand,
    args: &'a Args,
    settings: &'a Settings,
    file: &'a WorkloadFile,
    context: &'a Context,
}

impl Plan<'_> {
    async fn both(&self, target: &Target) -> anyhow::Result<Report> {
        let migrations = self.context.migrations(self.args.migrations.as_deref())?;
        on_pair(self.context, target, &migrations, async |pair, applied| {
            let workload = self.draw(pair.before()).await?;
            let effort = self.effort(&workload, 2);
            let mut task = self.context.progress.start("bench", 0);
            let mut note = |at, total, text: &str| task.advance(at, total, text);
            let (before, after) = (pair.before(), pair.after());
            let (measured, paces) =
                measure_pair_under(before, after, &workload, effort, self.demand, &mut note)
                    .await?;
            let mut report = self.judged(measured, effort.gate);
            tell_load(&mut report, self.demand, &paces);
            report.blocks.push(Block::Text(self.how(&workload)));
            if applied == 0 {
                report.gaps.push(Gap {
                    what: "a change".to_owned(),
                    why: format!(
                        "no migration of {} is pending: both sides are the same",
                        migrations.display()
                    ),
                    remedy: Some("dbtune propose".to_owned()),
                });
            }
            Ok(report)
        })
        .await
    }

    async fn record(&self, target: &Target) -> anyhow::Result<Report> {
        let Some(path) = &self.args.output else {
            bail!(
                "name the file to record to: dbtune bench --before -o FILE (or measure both: --before --after)"
            );
        };
        let (workload, samples, paces, environment) = self.one(target).await?;
        let baseline = Baseline::new(chrono::Utc::now(), environment, &workload, samples);
        let text = serde_json::to_string(&baseline)?;
        std::fs::write(path, text)
            .with_context(|| format!("could not write {}", path.display()))?;
        let mut report = Report::new(
            "bench",
            format!(
                "Recorded {} queries in {}.",
                workload.queries.len(),
                path.display()
            ),
        );
        report.data = serde_json::json!({ "baseline": path, "environment": baseline.environment });
        tell_load(&mut report, self.demand, &paces);
        report.next = Some(format!(
            "dbtune bench --after --baseline {}",
            path.display()
        ));
        Ok(report)
    }

    async fn against(&self, target: &Target) -> anyhow::Result<Report> {
        let Some(path) = &self.args.baseline else {
            bail!(
                "name what to compare with: dbtune bench --after --baseline FILE (or measure both: --before --after)"
            );
        };
        let baseline = Baseline::parse(&path.display().to_string(), &read(path)?)?;
        let refused = |obstacle: String| Failure {
            code: CANNOT,
            message: format!(
                "{}: {obstacle}; record it again: dbtune bench --before -o FILE",
                path.display()
            ),
        };
        if let Some(obstacle) = other_load(&baseline, self.demand) {
            return Err(refused(obstacle).into());
        }
        let (workload, samples, paces, environment) = self.one(target).await?;
        if let Some(obstacle) = baseline.environment.obstacle(&environment) {
            return Err(refused(obstacle).into());
        }
        let gate = self.effort(&workload, 1).gate;
        let (measured, unknown) = baseline.against(&workload, samples);
        let mut report = self.judged(measured, gate);
        tell_load(&mut report, self.demand, &paces);
        report.blocks.push(Block::Text(self.how(&workload)));
        report.gaps.extend(unknown.into_iter().map(|what| Gap {
            what,
            why: "it is not in the baseline".to_owned(),
            remedy: None,
        }));
        Ok(report)
    }

    /// Measures the database itself, whose environment is read first so that a wrong one costs nothing.
    async fn one(
        &self,
        target: &Target,
    ) -> anyhow::Result<(
        Workload,
        Vec<crate::model::Samples>,
        Vec<Pace>,
        crate::bench::Environment,
    )> {
        let session = Session::connect(target, "bench").await?;
        let environment = environment(&session, self.limits()).await?;
        drop(session);
        let workload = self.draw(target).await?;
        let mut task = self.context.progress.start("bench", 0);
        let mut note = |at, total, text: &str| task.advance(at, total, text);
        let effort = self.effort(&workload, 1);
        let (samples, paces) =
            measure_one_under(target, &workload, effort, self.demand, &mut note).await?;
        Ok((workload, samples, paces, environment))
    }

    async fn draw(&self, target: &Target) -> anyhow::Result<Workload> {
        let session = Session::connect(target, "draw").await?;
        let configured = &self.settings.gate;
        let defaults = Defaults {
            slo_ms: configured
                .p95_ms
                .as_ref()
                .map_or(self.settings.slo_ms, |ms| ms.value),
            draws: self.args.draws.unwrap_or(self.settings.draws),
            limits: Limits {
                statement: Duration::from_millis(self.settings.statement_timeout_ms),
                ..Limits::default()
            },
        };
        let mut workload = resolve(&session, self.file, defaults).await?;
        for query in &mut workload.queries {
            if let Some(ms) = configured.target_ms(&query.id) {
                query.slo_ms = ms;
            }
        }
        Ok(workload)
    }

    fn limits(&self) -> Limits {
        Limits {
            statement: self
                .args
                .timeout
                .unwrap_or(Duration::from_millis(self.settings.statement_timeout_ms)),
            ..Limits::default()
        }
    }

    fn effort(&self, workload: &Workload, sides: usize) -> Effort {
        let limits = self.limits();
        let percent = self.percent();
        let usual = Duration::from_secs(self.settings.duration_s);
        let duration = self.args.duration.unwrap_or(usual);
        // At a fixed rate an execution is also given up that has waited for a client for too long.
        let waited = self.demand.rate.map(|_| patience(duration, sides));
        let cut_off = waited.map_or(limits.statement, |w| w.min(limits.statement));
        Effort {
            duration,
            limits,
            gate: Gate::new(percent, workload.queries.len(), cut_off),
            way: self.args.way(),
        }
    }

    /// Judged by what the configuration asks of each query and lets pass today.
    fn judged(&self, mut measured: Vec<Measured>, gate: Gate) -> Report {
        let configured = &self.settings.gate;
        let today = chrono::Utc::now().date_naive();
        for one in &mut measured {
            one.thresholds = Some(configured.thresholds(&one.query, gate.thresholds));
            let allowance = configured.allowance(&one.query, today);
            one.allowed = allowance.map(|a| format!("{} (until {})", a.reason, a.expires));
        }
        let mut report = report(&judge(&measured, &gate, !self.args.no_gate), &gate);
        report.blocks.push(Block::Text(match taken(&measured) {
            Some(share) => format!(
                "Other processes of the machine took {:.0} % of the waiting; that is taken off these times.",
                share * 100.0
            ),
            None => "What other processes of the server's machine took is not known: it is in these times.".to_owned(),
        }));
        report.gaps.extend(configured.expired(today).map(|a| Gap {
            what: format!("the allowance of {}", a.query),
            why: format!("it expired on {} and lets nothing pass", a.expires),
            remedy: Some("remove it from gate.allow, or give it another day".to_owned()),
        }));
        let ids: Vec<String> = measured.iter().map(|m| m.query.clone()).collect();
        if self.args.only.is_empty() {
            report.gaps.extend(configured.unknown(&ids).map(|name| Gap {
                what: format!("gate settings of {name}"),
                why: "the workload has no such query".to_owned(),
                remedy: None,
            }));
        }
        report
    }

    fn percent(&self) -> f64 {
        let configured = self.settings.gate.p95_percent.as_ref().map(|p| p.value);
        self.args
            .gate
            .or(configured)
            .unwrap_or(self.settings.regression_percent)
    }

    fn how(&self, workload: &Workload) -> String {
        let percent = self.percent();
        let gate = if self.args.no_gate {
            "No gate".to_owned()
        } else {
            format!("Gate: p95 under the target, and no more than {percent} % longer")
        };
        format!(
            "{} queries as {} personas, each in a transaction of its own, rolled back.\n{gate}.",
            workload.queries.len(),
            workload.personas.len()
        )
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

/// Writes the report in the format that the file's ending names, else in that of the run.
pub(super) fn write_report(report: &Report, path: &Path, context: &Context) -> anyhow::Result<()> {
    let format = crate::report::format_of_file(path)
        .filter(|f| f.shows(&report.command))
        .or_else(|| crate::report::format(&context.global.format));
    let mut bytes = Vec::new();
    let style = crate::report::Style {
        color: false,
        width: 100,
        ascii: false,
    };
    if let Some(format) = format {
        (format.render)(report, style, &mut bytes)?;
    }
    std::fs::write(path, bytes).with_context(|| format!("could not write {}", path.display()))
}
