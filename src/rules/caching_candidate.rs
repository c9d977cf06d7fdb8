use super::measure::{days, float, percent};
use super::sink::{Found, count};
use super::traffic::{Used, per_call};
use super::{Category, Facts, Sink, rule};
use crate::model::{Command, Name, ObjectKind, Severity, Table, TableKind};
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// Tables that are read a thousand times for each row written, and whose SELECTs, over such tables alone and
    /// returning a hundred rows or fewer, take 5 % or more of all time, a minute at least.
    ///
    /// ## Why it matters
    /// The answer is nearly always the one given before. The time of those statements is what a cache in the application
    /// would save, less its own misses.
    ///
    /// ## What to do
    /// Keep the answers in the application and forget them when a row is written (`notify` from a trigger, or a short time
    /// to live). Under row-level security the answer belongs to one user or tenant: the cache's key must hold the role and
    /// the claims that the policies read.
    /// ```sql,bad shown
    /// select * from plan where id = $1;  -- 4,000,000 calls, 9 % of all time; 12 rows written in a month
    /// ```
    /// ```sql,good shown
    /// select * from plan where id = $1;  -- 3,000 calls
    /// ```
    "caching-candidate" {
        summary: "rarely written tables whose reads a cache would save",
        category: Category::Workload,
        severity: Severity::Note,
        check: check,
    }
}

const READS_PER_WRITE: f64 = 1000.0;
const MIN_READS: f64 = 10_000.0;
const MAX_ROWS: f64 = 100.0;
const MIN_SHARE: f64 = 5.0;
const MIN_MS: f64 = 60_000.0;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let (Some(traffic), Some(days)) = (facts.traffic(), days(&facts.catalog.server)) else {
        return;
    };
    // A day shows both work and night.
    if days < 1.0 {
        return;
    }
    let mut groups: BTreeMap<&BTreeSet<Name>, Vec<&Used<'_>>> = BTreeMap::new();
    for used in traffic.top() {
        let answer = per_call(used.statement, used.statement.rows);
        let small = used.command == Command::Select && !used.locking && answer <= MAX_ROWS;
        let calm = |name: &Name| facts.catalog.table(name).is_some_and(is_calm);
        if small && used.written.is_empty() && used.tables.iter().all(calm) {
            groups.entry(&used.tables).or_default().push(used);
        }
    }
    for (tables, statements) in groups {
        let total: f64 = statements.iter().map(|u| u.statement.total_ms).sum();
        let share = traffic.share(total);
        if total >= MIN_MS && share >= MIN_SHARE {
            report(facts, tables, &statements, (total, share, days), sink);
        }
    }
}

fn report(
    facts: &Facts<'_>,
    tables: &BTreeSet<Name>,
    statements: &[&Used<'_>],
    (total, share, days): (f64, f64, f64),
    sink: &mut Sink<'_>,
) {
    let Some(first) = tables.first() else {
        return;
    };
    let known: Vec<&Table> = tables
        .iter()
        .filter_map(|t| facts.catalog.table(t))
        .collect();
    let written: i64 = known.iter().map(|t| writes(t)).sum();
    let calls: i64 = statements.iter().map(|u| u.statement.calls).sum();
    let guarded = known.iter().any(|t| t.rls_enabled);
    let others: Vec<String> = tables.iter().skip(1).map(Name::to_string).collect();
    let with = if others.is_empty() {
        String::new()
    } else {
        format!(" (with {})", others.join(", "))
    };
    let hour = total / 1000.0 / (days * 24.0);
    let texts: Vec<String> = statements.iter().take(3).map(|u| u.short()).collect();
    let roles: BTreeSet<&str> = statements
        .iter()
        .map(|u| u.statement.role.as_str())
        .collect();
    let found = Found::new(
        Severity::Note,
        ObjectKind::Table,
        first,
        None,
        format!(
            "{} rows written{with} in {days:.0} days, and {} reads that take {share:.0} % of all time: a cache would save up to {hour:.1} s an hour",
            count(float(written)),
            count(float(calls))
        ),
    )
    .evidence("rows_written", written)
    .evidence("calls", calls)
    .evidence("saved_ms", total)
    .evidence("share_percent", share)
    .evidence("days", days)
    .evidence("roles", serde_json::json!(roles))
    .evidence("statements", texts);
    sink.report(if guarded {
        found.advice("The cache's key must hold the role and the claims that the policies read.")
    } else {
        found
    });
}

fn writes(table: &Table) -> i64 {
    table.activity.inserted + table.activity.updated + table.activity.deleted
}

fn is_calm(table: &Table) -> bool {
    let reads = float(table.activity.seq_scans + table.activity.idx_scans);
    let view = table.kind == TableKind::View;
    let stored = matches!(
        table.kind,
        TableKind::Ordinary | TableKind::MaterializedView
    );
    // A view is as calm as the tables behind it, which are judged beside it.
    view || stored
        && reads >= MIN_READS
        && percent(float(writes(table)), reads) * READS_PER_WRITE <= 100.0
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::Activity;
    use crate::rules::traffic::fixture::{catalog, doc, judge, statement};

    #[test]
    fn read_much_and_hardly_written() {
        let mut catalog = catalog();
        let mut with = |inserted, calls| {
            let table = catalog.tables.get_mut(&doc()).unwrap();
            table.activity = Activity {
                idx_scans: calls,
                inserted,
                ..Activity::default()
            };
            let reading = statement("select * from doc where id = $1", calls, 0.5);
            let other = statement("select pg_sleep($1)", 1000, 1000.0);
            judge(&RULE, &catalog, &[reading, other])
        };
        let found = with(12, 4_000_000);
        assert_eq!(found[0].evidence["saved_ms"], 2_000_000.0);
        assert!(
            found[0]
                .message
                .starts_with("12 rows written in 30 days, and 4,000,000 reads that take 67 %"),
            "{found:?}"
        );
        assert_eq!(with(500_000, 4_000_000), [], "written");
        assert_eq!(with(0, 3_000), [], "not hot");
    }
}
