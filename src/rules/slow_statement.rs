use super::sink::Found;
use super::visits::shorten;
use super::{Category, Facts, Sink, rule};
use crate::model::{Name, ObjectKind, Severity, Statement};
use crate::sql::body::Kind;

rule! {
    /// ## What it finds
    /// A statement in `pg_stat_statements` whose mean time is over the target, or whose 95th percentile would be if its
    /// times were spread normally (mean + 1.645 standard deviations). Statements with fewer than 5 calls, utility
    /// commands and statements that read nothing but the system catalogs are left out.
    ///
    /// ## Why it matters
    /// These are the statements that people wait for.
    ///
    /// ## What to do
    /// Look at the findings on the tables it reads, and at its plan as the role that runs it.
    /// ```sql,bad
    /// select pg_sleep(0.12);
    /// select pg_sleep(0.12);
    /// select pg_sleep(0.12);
    /// select pg_sleep(0.12);
    /// select pg_sleep(0.12);
    /// ```
    /// ```sql,good
    /// select pg_sleep(0.001);
    /// select pg_sleep(0.001);
    /// select pg_sleep(0.001);
    /// select pg_sleep(0.001);
    /// select pg_sleep(0.001);
    /// ```
    "slow-statement" {
        summary: "a statement over its time target",
        category: Category::Workload,
        check: check,
    }
}

/// Fewer calls are maintenance or a trial, and have no spread worth the name.
pub(super) const MIN_CALLS: i64 = 5;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let Some(known) = facts.statements else {
        return;
    };
    let total: f64 = known.statements.iter().map(|s| s.total_ms).sum();
    let mut unreadable = 0;
    for (place, statement) in known.statements.iter().enumerate() {
        let p95 = estimated_p95(statement);
        if !statement.top_level || statement.calls < MIN_CALLS || p95 <= facts.slo_ms {
            continue;
        }
        // Hidden texts are a gap of their own.
        let Some(text) = &statement.text else {
            continue;
        };
        match facts.visits.mentions(place) {
            Some(mentions) if mentions.kind == Kind::Other || own(&mentions.relations) => {}
            Some(mentions) => {
                let guarded = guarded(facts, statement, &mentions.relations);
                report(facts, statement, text, p95, total, &guarded, sink);
            }
            None => unreadable += 1,
        }
    }
    if unreadable > 0 {
        sink.gap(
            format!("{unreadable} slow statements hold SQL that could not be parsed"),
            None,
        );
    }
}

/// Of times that are spread normally.
pub(super) fn estimated_p95(statement: &Statement) -> f64 {
    statement.mean_ms + 1.645 * statement.stddev_ms
}

/// Monitoring queries, dbtune's own among them.
fn own(relations: &std::collections::BTreeSet<(String, String)>) -> bool {
    !relations.is_empty()
        && relations.iter().all(|(schema, name)| {
            matches!(schema.as_str(), "pg_catalog" | "information_schema")
                || schema.is_empty() && name.starts_with("pg_")
                || name.starts_with("pg_stat_statements")
        })
}

/// Tables it names that have row-level security which applies to its role.
fn guarded(
    facts: &Facts<'_>,
    statement: &Statement,
    relations: &std::collections::BTreeSet<(String, String)>,
) -> Vec<String> {
    relations
        .iter()
        .filter_map(|(schema, name)| facts.catalog.resolve(schema, name))
        .filter(|(_, table)| table.rls_enabled && facts.meets_policies(&statement.role, table))
        .map(|(name, _)| name.to_string())
        .collect()
}

fn report(
    facts: &Facts<'_>,
    statement: &Statement,
    text: &str,
    p95: f64,
    total: f64,
    guarded: &[String],
    sink: &mut Sink<'_>,
) {
    let over = statement.mean_ms > facts.slo_ms;
    let share = if total > 0.0 {
        100.0 * statement.total_ms / total
    } else {
        0.0
    };
    let policies = if guarded.is_empty() {
        String::new()
    } else {
        format!(", under the policies of {}", guarded.join(", "))
    };
    let shown = shorten(text);
    sink.report(
        Found::new(
            if over { Severity::Warning } else { Severity::Note },
            ObjectKind::Statement,
            &Name::new("", &statement.role),
            Some(&statement.query_id.to_string()),
            format!(
                "mean {:.0} ms, p95 about {p95:.0} ms against a target of {:.0} ms: {} calls, {share:.0} % of all time{policies}: {shown}",
                statement.mean_ms, facts.slo_ms, statement.calls
            ),
        )
        .evidence("mean_ms", statement.mean_ms)
        .evidence("p95_ms_estimate", p95)
        .evidence("calls", statement.calls)
        .evidence("total_ms", statement.total_ms)
        .evidence("share_percent", share)
        .evidence("role", statement.role.clone())
        .evidence("rls_tables", guarded.to_vec())
        .evidence("text", text),
    );
}
