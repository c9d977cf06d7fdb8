//! `dbtune audit`

mod baseline;
mod migrations;
mod show;
mod source;

pub(super) use show::{found, plural};
pub(super) use source::read_live;

use super::Context;
use crate::config::{self, waive};
use crate::migrate::Layout;
use crate::model::{Catalog, Report};
use crate::rules::{self, Scope};
use anyhow::bail;
use baseline::Baseline;
use clap::ValueEnum;
use source::Source;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Exit with 1 where a finding is at least this severe [default: from the configuration, or error]
    #[arg(long, value_enum, value_name = "SEVERITY")]
    fail_on: Option<FailOn>,
    /// Only objects of this schema; may be given several times
    #[arg(long, value_name = "SCHEMA")]
    schema: Vec<String>,
    /// Only this rule; may be given several times
    #[arg(long, value_name = "RULE")]
    only: Vec<String>,
    /// Not this rule; may be given several times
    #[arg(long, value_name = "RULE")]
    skip: Vec<String>,
    /// Target of a statement's 95th percentile, in milliseconds [default: from the configuration, or 100]
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    slo: Option<f64>,
    /// What `audit --format json` printed before: findings that stand there are shown as known and do not fail
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    #[command(flatten)]
    from: From,
}

/// What is audited, where it is not the database as it is.
#[derive(Debug, clap::Args)]
struct From {
    /// Audit what `dbtune snapshot` wrote; connects to nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["migrations", "replica"])]
    snapshot: Option<PathBuf>,
    /// A standby whose statistics count as well; may be given several times
    #[arg(long, value_name = "URL")]
    replica: Vec<String>,
    /// Audit what these migrations make of an empty database, on a private throwaway server
    #[arg(long, value_name = "DIR", conflicts_with = "replica")]
    migrations: Option<PathBuf>,
    /// Which tool's files they are
    #[arg(long, value_name = "TOOL", default_value = "sqlx", value_parser = Layout::NAMES, requires = "migrations")]
    layout: String,
    /// SQL to run as superuser before the migrations [default: roles and functions as Supabase has them, where needed]
    #[arg(long, value_name = "FILE", requires = "migrations")]
    bootstrap: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FailOn {
    Never,
    Note,
    Warning,
    Error,
}

impl std::convert::From<FailOn> for config::FailOn {
    fn from(level: FailOn) -> Self {
        match level {
            FailOn::Never => Self::Never,
            FailOn::Note => Self::Note,
            FailOn::Warning => Self::Warning,
            FailOn::Error => Self::Error,
        }
    }
}

fn milliseconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("expected a number of milliseconds over 0".to_owned()),
    }
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<Report> {
    for id in args.only.iter().chain(&args.skip) {
        if rules::find(id).is_none() {
            bail!("there is no rule `{id}`; `dbtune rules` lists them");
        }
    }
    let settings = context.settings()?;
    if let Some(waiver) = settings
        .waivers
        .iter()
        .find(|w| rules::find(&w.rule).is_none())
    {
        bail!(
            "the configuration waives `{}` on `{}`, and there is no such rule; `dbtune rules` lists them",
            waiver.rule,
            waiver.object
        );
    }
    // Read first, so that a broken file costs no audit.
    let baseline = args.baseline.as_deref().map(Baseline::read).transpose()?;
    let fail_on = args
        .fail_on
        .map(config::FailOn::from)
        .or(settings.fail_on)
        .unwrap_or(config::FailOn::Error)
        .severity();
    let mut source = source::read(&args.from, context).await?;
    check_schemas(&args.schema, &source.catalog)?;
    let scope = Scope {
        schemas: args.schema,
        only: args.only,
        skip: args.skip,
        slo_ms: args.slo.unwrap_or(settings.slo_ms),
    };
    let (mut findings, mut gaps) =
        rules::audit(&source.catalog, source.statements.as_ref(), &scope);
    source.place(&mut findings);
    gaps.splice(0..0, std::mem::take(&mut source.gaps));
    let whole = |rule: &str| scope.schemas.is_empty() && was_run(&scope, rule);
    let today = chrono::Utc::now().date_naive();
    gaps.extend(waive(&mut findings, &settings.waivers, today, whole));
    let compared = baseline.map(|b| b.compare(&mut findings, whole));
    let mut report = show::report(&source, findings, gaps, compared.as_ref());
    report.judge_findings(fail_on);
    report.checks = show::checks(&report, fail_on, |rule| was_run(&scope, rule));
    Ok(report)
}

fn was_run(scope: &Scope, rule: &str) -> bool {
    let named = |ids: &[String]| ids.iter().any(|id| id == rule);
    (scope.only.is_empty() || named(&scope.only)) && !named(&scope.skip)
}

fn check_schemas(schemas: &[String], catalog: &Catalog) -> anyhow::Result<()> {
    for schema in schemas {
        let used = catalog.tables.keys().any(|name| name.schema == *schema)
            || catalog.functions.iter().any(|f| f.name.schema == *schema);
        if !used {
            let known: std::collections::BTreeSet<&str> =
                catalog.tables.keys().map(|n| n.schema.as_str()).collect();
            bail!(
                "schema `{schema}` holds nothing in database {}; there are: {}",
                catalog.server.database,
                known.into_iter().collect::<Vec<_>>().join(", ")
            );
        }
    }
    Ok(())
}
