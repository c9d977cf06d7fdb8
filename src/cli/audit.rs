use super::Context;
use crate::config;
use crate::db::{read_catalog, read_statements, read_taxes};
use crate::model::{Catalog, Finding, Gap, Report, Severity, Statements, TableKind};
use crate::rules::{self, Scope};
use anyhow::bail;
use clap::ValueEnum;

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
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FailOn {
    Never,
    Note,
    Warning,
    Error,
}

impl From<FailOn> for config::FailOn {
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
    let fail_on = args
        .fail_on
        .map(config::FailOn::from)
        .or(settings.fail_on)
        .unwrap_or(config::FailOn::Error);
    let session = context.connect("audit").await?;
    let task = context.progress.start("audit", 0);
    let mut catalog = read_catalog(&session).await?;
    check_schemas(&args.schema, &catalog)?;
    let statements = read_statements(&session, &mut catalog).await?;
    read_taxes(&session, &mut catalog).await?;
    drop(task);
    let scope = Scope {
        schemas: args.schema,
        only: args.only,
        skip: args.skip,
        slo_ms: args.slo.unwrap_or(settings.slo_ms),
    };
    let (findings, gaps) = rules::audit(&catalog, statements.as_ref(), &scope);
    let mut report = report(&catalog, statements.as_ref(), findings, gaps);
    report.judge_findings(fail_on.severity());
    Ok(report)
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

fn report(
    catalog: &Catalog,
    statements: Option<&Statements>,
    findings: Vec<Finding>,
    gaps: Vec<Gap>,
) -> Report {
    let summary = summary(catalog, &findings);
    let mut report = Report::new("audit", summary);
    let proposes = findings.iter().any(|f| f.severity > Severity::Note);
    report.findings = findings;
    report.sort_findings();
    report.gaps.clone_from(&catalog.gaps);
    report.gaps.extend(gaps);
    report.data = serde_json::json!({
        "database": catalog.server.database,
        "server_version": catalog.server.version_num,
        "tables": count_tables(catalog),
        "policies": count_policies(catalog),
        "statistics_since": catalog.server.stats_since,
        "statements": statements.map(|s| s.statements.len()),
        "statements_since": statements.and_then(|s| s.since),
        "rules": rules::ALL.iter().map(|r| r.id).collect::<Vec<_>>(),
    });
    if proposes && count_policies(catalog) > 0 {
        report.next = Some("dbtune propose".to_owned());
    }
    report
}

fn stored(kind: TableKind) -> bool {
    matches!(
        kind,
        TableKind::Ordinary | TableKind::Partitioned | TableKind::Foreign
    )
}

fn count_tables(catalog: &Catalog) -> usize {
    catalog.tables.values().filter(|t| stored(t.kind)).count()
}

fn count_policies(catalog: &Catalog) -> usize {
    catalog.tables.values().map(|t| t.policies.len()).sum()
}

pub(super) fn summary(catalog: &Catalog, findings: &[Finding]) -> String {
    let database = &catalog.server.database;
    let tables = count_tables(catalog);
    if tables == 0 {
        return format!("Database {database} has no tables: there is nothing to audit.");
    }
    let number = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let found = format!(
        "{}, {}, {}",
        plural(number(Severity::Error), "error", "errors"),
        plural(number(Severity::Warning), "warning", "warnings"),
        plural(number(Severity::Note), "note", "notes"),
    );
    let policies = count_policies(catalog);
    let guarded = catalog.tables.values().any(|t| t.rls_enabled);
    let place = format!(
        "{} with {}",
        plural(tables, "table", "tables"),
        plural(policies, "policy", "policies")
    );
    let since = catalog
        .server
        .stats_since
        .map_or_else(String::new, |since| {
            format!("; statistics since {}", since.format("%Y-%m-%d %H:%M UTC"))
        });
    let unguarded = if guarded {
        ""
    } else {
        "; no table has row-level security"
    };
    format!("{found} in {place}{unguarded}{since}")
}

pub(super) fn plural(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
