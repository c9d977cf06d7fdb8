//! What an audit found, as a report.

use super::Source;
use super::baseline::Compared;
use crate::model::{
    Catalog, Check, CheckResult, Excuse, Finding, Gap, Report, Severity, TableKind,
};
use crate::rules;
use chrono::TimeDelta;
use std::collections::BTreeMap;

pub(super) fn report(
    source: &Source,
    findings: Vec<Finding>,
    gaps: Vec<Gap>,
    compared: Option<&Compared>,
) -> Report {
    let catalog = &source.catalog;
    let mut text = found(catalog, &findings);
    if source.used {
        text.push_str(&since(catalog));
    }
    let waived = findings
        .iter()
        .filter(|f| matches!(f.excuse, Some(Excuse::Waived { .. })))
        .count();
    if let Some(compared) = compared {
        text.push_str(&format_compared(compared));
    }
    if waived > 0 {
        text = format!("{text}; {waived} waived");
    }
    let mut report = Report::new("audit", text);
    let proposes = findings
        .iter()
        .any(|f| f.counts() && f.severity > Severity::Note);
    report.findings = findings;
    report.sort_findings();
    report.gaps.clone_from(&catalog.gaps);
    report.gaps.extend(young(source));
    report.gaps.extend(gaps);
    let statements = source.statements.as_ref();
    report.data = serde_json::json!({
        "database": catalog.server.database,
        "server_version": catalog.server.version_num,
        "tables": count_tables(catalog),
        "policies": count_policies(catalog),
        "read_at": catalog.server.read_at,
        "statistics_since": catalog.server.stats_since,
        "statements": statements.map(|s| s.statements.len()),
        "statements_since": statements.and_then(|s| s.since),
        "waived": waived,
        "known": compared.map(|c| c.known),
        "gone": compared.map(|c| c.gone),
        "rules": rules::ALL.iter().map(|r| r.id).collect::<Vec<_>>(),
    });
    if proposes && source.live && count_policies(catalog) > 0 {
        report.next = Some("dbtune propose".to_owned());
    }
    report
}

fn format_compared(compared: &Compared) -> String {
    format!(
        " (not counting {} known from the baseline; {} of it gone)",
        compared.known, compared.gone
    )
}

/// One check a rule that was run: failed by its findings that fail the audit, skipped where it could not judge.
pub(super) fn checks(
    report: &Report,
    fail_on: Option<Severity>,
    run: impl Fn(&str) -> bool,
) -> Vec<Check> {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for finding in &report.findings {
        if finding.counts() && fail_on.is_some_and(|level| finding.severity >= level) {
            let origin = finding.origin.as_ref().map(|o| format!(" ({o})"));
            let reason = format!(
                "{} {}{}: {}",
                finding.severity.label(),
                finding.object,
                origin.unwrap_or_default(),
                finding.message
            );
            reasons.entry(&finding.rule).or_default().push(reason);
        }
    }
    let wanted = rules::ALL.iter().filter(|rule| run(rule.id));
    wanted
        .map(|rule| Check {
            name: rule.id.to_owned(),
            result: match (
                reasons.remove(rule.id),
                report.gaps.iter().find(|gap| gap.what == rule.id),
            ) {
                (Some(reasons), _) => CheckResult::Failed(reasons),
                (None, Some(gap)) => CheckResult::Skipped(gap.why.clone()),
                (None, None) => CheckResult::Passed,
            },
        })
        .collect()
}

/// Younger statistics miss what runs once a day.
const MIN_AGE: TimeDelta = TimeDelta::days(1);

/// Statistics that have counted for too short a time to judge use by.
fn young(source: &Source) -> Vec<Gap> {
    let server = &source.catalog.server;
    if !source.used || count_tables(&source.catalog) == 0 {
        return Vec::new();
    }
    let statements = source.statements.as_ref().and_then(|s| s.since);
    let ages = [
        ("use of tables and indexes", server.stats_since),
        ("use of statements", statements),
    ];
    ages.into_iter()
        .filter_map(|(what, since)| {
            let age = server.read_at? - since?;
            (age < MIN_AGE).then(|| Gap {
                what: what.to_owned(),
                why: format!(
                    "the statistics count for {} only: what runs once a day or less often may not be among them",
                    duration(age)
                ),
                remedy: None,
            })
        })
        .collect()
}

/// `3 hours`, `12 days`.
fn duration(age: TimeDelta) -> String {
    match (age.num_days(), age.num_hours(), age.num_minutes()) {
        (0, 0, minutes) => plural(usize::try_from(minutes).unwrap_or(0), "minute", "minutes"),
        (0, hours, _) => plural(usize::try_from(hours).unwrap_or(0), "hour", "hours"),
        (days, _, _) => plural(usize::try_from(days).unwrap_or(0), "day", "days"),
    }
}

fn stored(kind: TableKind) -> bool {
    matches!(
        kind,
        TableKind::Ordinary | TableKind::Partitioned | TableKind::Foreign
    )
}

pub(super) fn count_tables(catalog: &Catalog) -> usize {
    catalog.tables.values().filter(|t| stored(t.kind)).count()
}

pub(super) fn count_policies(catalog: &Catalog) -> usize {
    catalog.tables.values().map(|t| t.policies.len()).sum()
}

/// What counts, and where, in one line.
pub(in crate::cli) fn found(catalog: &Catalog, findings: &[Finding]) -> String {
    let database = &catalog.server.database;
    let tables = count_tables(catalog);
    if tables == 0 {
        return format!("Database {database} has no tables: there is nothing to audit.");
    }
    let number = |severity| {
        let those = findings
            .iter()
            .filter(|f| f.counts() && f.severity == severity);
        those.count()
    };
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
    let unguarded = if guarded {
        ""
    } else {
        "; no table has row-level security"
    };
    format!("{found} in {place}{unguarded}")
}

/// Empty where there is nothing that statistics could speak of.
fn since(catalog: &Catalog) -> String {
    let Some(since) = catalog
        .server
        .stats_since
        .filter(|_| count_tables(catalog) > 0)
    else {
        return String::new();
    };
    let age = catalog
        .server
        .read_at
        .map(|now| format!(" ({})", duration(now - since)));
    format!(
        "; statistics since {}{}",
        since.format("%Y-%m-%d %H:%M UTC"),
        age.unwrap_or_default()
    )
}

pub(in crate::cli) fn plural(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
