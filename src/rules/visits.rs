//! Which statements of the workload meet which tables, and as whom: what a finding costs in practice.

use super::Facts;
use super::sink::count;
use crate::model::{
    Catalog, Command, Finding, Name, ObjectKind, Policy, Severity, Statement, Statements,
};
use crate::sql::body::{self, Kind, Mentions};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// As many statements a finding lists.
const LISTED: usize = 3;
/// Fewer calls are maintenance or a trial.
const MIN_CALLS: i64 = 5;
/// A statement faster than this does not suffer from what a finding says.
const MIN_MEAN_MS: f64 = 5.0;
/// From this share of all time on, a finding weighs one step more.
const HEAVY_PERCENT: f64 = 25.0;

/// One statement on one table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit<'a> {
    pub statement: &'a Statement,
    pub command: Command,
    /// Whose policies hold: the statement's role, or the owner of the view it goes through.
    pub role: &'a str,
}

/// The workload by table. Every text is parsed once.
#[derive(Debug, Default)]
pub(super) struct Visits<'a> {
    by_table: BTreeMap<&'a Name, Vec<Visit<'a>>>,
    /// What each statement names, by its place in the list.
    mentions: Vec<Option<Mentions>>,
    total_ms: f64,
}

impl<'a> Visits<'a> {
    pub(super) fn new(catalog: &'a Catalog, statements: Option<&'a Statements>) -> Self {
        let mut visits = Self::default();
        for statement in statements.iter().flat_map(|s| &s.statements) {
            visits.total_ms += statement.total_ms;
            let mentions = statement.text.as_deref().and_then(body::mentions);
            if let Some(known) = mentions.as_ref().filter(|m| m.kind == Kind::Query) {
                visits.add(catalog, statement, known);
            }
            visits.mentions.push(mentions);
        }
        visits
    }

    fn add(&mut self, catalog: &'a Catalog, statement: &'a Statement, mentions: &Mentions) {
        let mut open: Vec<(&'a Name, &'a str)> = mentions
            .relations
            .iter()
            .filter_map(|(schema, name)| catalog.resolve(schema, name))
            .map(|(name, _)| (name, statement.role.as_str()))
            .collect();
        let mut seen = BTreeSet::new();
        while let Some((name, role)) = open.pop() {
            let Some((name, table)) = catalog.tables.get_key_value(name) else {
                continue;
            };
            if !seen.insert((name, role)) {
                continue;
            }
            self.by_table.entry(name).or_default().push(Visit {
                statement,
                command: mentions.command,
                role,
            });
            let role = if super::tested::invoker(table) {
                role
            } else {
                table.owner.as_str()
            };
            open.extend(table.reads.iter().map(|read| (read, role)));
        }
    }

    /// What the statement at `place` names; `None` where its text is hidden or no SQL.
    pub(super) fn mentions(&self, place: usize) -> Option<&Mentions> {
        self.mentions.get(place)?.as_ref()
    }

    /// The statements that name the table, themselves or through views.
    pub(super) fn of(&self, table: &Name) -> &[Visit<'a>] {
        self.by_table.get(table).map_or(&[], Vec::as_slice)
    }

    /// Per cent of the time of all statements.
    pub(super) fn share(&self, ms: f64) -> f64 {
        if self.total_ms > 0.0 {
            100.0 * ms / self.total_ms
        } else {
            0.0
        }
    }
}

/// Adds to a finding on a guarded table whom it concerns: roles, and the statements that take most time.
pub(super) fn attach(facts: &Facts<'_>, finding: &mut Finding) {
    let table = &finding.object.name;
    let policy = match (finding.object.kind, &finding.object.part) {
        (ObjectKind::Policy, Some(part)) => facts.catalog.table(table).and_then(|t| t.policy(part)),
        (ObjectKind::Table | ObjectKind::Column | ObjectKind::Index, _) => None,
        _ => return,
    };
    let mut visits = concerned(facts, table, policy);
    if finding.object.kind == ObjectKind::Column {
        // A column of a table that other tables' policies read.
        for guarded in facts.read_by_policies_of(table) {
            visits.extend(concerned(facts, guarded, None));
        }
    }
    let mut once = BTreeSet::new();
    visits.retain(|v| once.insert((v.statement.query_id, &v.statement.role)));
    if visits.is_empty() {
        if let Some(policy) = policy {
            put(finding, "roles", json!(policy.roles));
        }
        return;
    }
    weigh(facts, finding, visits);
}

/// Statements on the table under a role that meets its policies, or this one of them.
fn concerned<'a>(facts: &Facts<'a>, name: &Name, policy: Option<&Policy>) -> Vec<Visit<'a>> {
    let Some(table) = facts.catalog.table(name).filter(|t| t.rls_enabled) else {
        return Vec::new();
    };
    let meets = |visit: &&Visit<'a>| {
        facts.meets_policies(visit.role, table)
            && policy.is_none_or(|p| {
                p.command.covers(visit.command) && facts.catalog.applies_to(p, visit.role)
            })
    };
    facts
        .visits
        .of(name)
        .iter()
        .filter(meets)
        .copied()
        .collect()
}

fn weigh(facts: &Facts<'_>, finding: &mut Finding, mut visits: Vec<Visit<'_>>) {
    visits.sort_by(|a, b| {
        let (a, b) = (a.statement, b.statement);
        let by_time = b.total_ms.total_cmp(&a.total_ms);
        by_time.then_with(|| (a.query_id, &a.role).cmp(&(b.query_id, &b.role)))
    });
    let calls: i64 = visits.iter().map(|v| v.statement.calls).sum();
    let total: f64 = visits.iter().map(|v| v.statement.total_ms).sum();
    let slow: f64 = visits
        .iter()
        .map(|v| v.statement)
        .filter(|s| s.calls >= MIN_CALLS && s.mean_ms >= MIN_MEAN_MS)
        .map(|s| s.total_ms)
        .sum();
    let roles: BTreeSet<&str> = visits.iter().map(|v| v.role).collect();
    put(finding, "roles", json!(roles));
    put(
        finding,
        "statements",
        json!(visits.iter().take(LISTED).map(listed).collect::<Vec<_>>()),
    );
    put(finding, "statements_affected", json!(visits.len()));
    put(finding, "statement_calls", json!(calls));
    put(finding, "statement_ms", json!(total));
    let share = facts.visits.share(slow);
    put(finding, "slow_share_percent", json!(share));
    if share >= 1.0 {
        #[expect(clippy::cast_precision_loss, reason = "shown as a count")]
        let calls = calls as f64;
        let words = format!(
            "; slow statements of {} on it take {share:.0} % of all time ({} calls)",
            roles.into_iter().collect::<Vec<_>>().join(", "),
            count(calls)
        );
        finding.message.push_str(&words);
    }
    let harmless = finding.evidence.get("answered_by_index") == Some(&Value::Bool(true));
    if share >= HEAVY_PERCENT && !harmless {
        finding.severity = match finding.severity {
            Severity::Note => Severity::Warning,
            Severity::Warning | Severity::Error => Severity::Error,
        };
    }
}

/// The first few, with their numbers.
pub(super) fn list(visits: &[Visit<'_>]) -> Value {
    visits.iter().take(LISTED).map(listed).collect()
}

fn listed(visit: &Visit<'_>) -> Value {
    let statement = visit.statement;
    json!({
        "query_id": statement.query_id.to_string(),
        "role": visit.role,
        "calls": statement.calls,
        "mean_ms": statement.mean_ms,
        "total_ms": statement.total_ms,
        "text": shorten(statement.text.as_deref().unwrap_or_default()),
    })
}

/// One line of at most 120 characters.
pub(super) fn shorten(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = line.chars().take(120).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}

fn put(finding: &mut Finding, name: &'static str, value: Value) {
    if finding.evidence.get(name).is_none() {
        finding.evidence.insert(name, value);
    }
}
