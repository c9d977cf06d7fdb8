use super::measure::{float, just_now, storage};
use super::sink::{Found, count};
use super::{Category, FEW_ROWS, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity, TableKind};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A table of which so many rows changed since it was last analysed, a quarter of an hour ago or more, that autovacuum
    /// should have analysed it twice over.
    ///
    /// ## Why it matters
    /// The planner works with an old picture: a tenant that came since counts as one row, and policies get the wrong
    /// joins.
    ///
    /// ## What to do
    /// Analyse it, and see why autovacuum does not come: switched off for the table, or too few workers.
    /// ```sql,bad shown
    /// create table doc (id int primary key, org int) with (autovacuum_enabled = off);
    /// insert into doc select n, n % 3 from generate_series(1, 20000) n;
    /// analyze doc;
    /// insert into doc select n, 4 from generate_series(20001, 40000) n;  -- and nobody analyses it again
    /// ```
    /// ```sql,good shown
    /// create table doc (id int primary key, org int);
    /// insert into doc select n, n % 3 from generate_series(1, 20000) n;
    /// analyze doc;
    /// insert into doc select n, 4 from generate_series(20001, 40000) n;  -- autovacuum comes within a minute
    /// ```
    "stale-statistics" {
        summary: "a table whose statistics are out of date",
        category: Category::Workload,
        check: check,
    }
}

/// Fewer changed rows mislead nobody.
const MIN_CHANGED: i64 = 10_000;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    for (name, table) in &facts.catalog.tables {
        let activity = &table.activity;
        let changed = activity.modified_since_analyze;
        let known =
            activity.last_analyze.is_some() || table.columns.iter().any(|c| c.stats.is_some());
        let rows = table.row_estimate();
        let stored = matches!(
            table.kind,
            TableKind::Ordinary | TableKind::MaterializedView
        );
        if !stored
            || !known
            || changed < MIN_CHANGED
            || rows < FEW_ROWS
            || table.extension.is_some()
        {
            continue;
        }
        let base = storage(server, table, "autovacuum_analyze_threshold", 50.0);
        let scale = storage(server, table, "autovacuum_analyze_scale_factor", 0.1);
        let due = base + scale * rows;
        if float(changed) <= 2.0 * due || just_now(server, activity.last_analyze) {
            continue;
        }
        let since = activity.last_analyze.map_or_else(
            || "it was last analysed".to_owned(),
            |at| format!("{}", at.format("%Y-%m-%d %H:%M UTC")),
        );
        // The row count is of the last ANALYZE as well, so the larger of the two is nearer to the truth.
        let most = float(changed) >= 0.5 * rows.max(float(activity.live));
        sink.report(
            Found::new(
                if most {
                    Severity::Warning
                } else {
                    Severity::Note
                },
                ObjectKind::Table,
                name,
                None,
                format!(
                    "{} rows changed since {since}, of about {}; autovacuum analyses it after {}",
                    count(float(changed)),
                    count(rows.max(float(activity.live))),
                    count(due)
                ),
            )
            .evidence("changed", changed)
            .evidence("rows", rows)
            .evidence("live", activity.live)
            .evidence("due_after", due)
            .fix(format!("analyze {};", quote::name(name))),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::Severity;
    use crate::rules::traffic::fixture::{catalog, doc, judge};
    use chrono::TimeDelta;

    #[test]
    fn changes_that_autovacuum_should_have_seen() {
        let mut catalog = catalog();
        let now = catalog.server.read_at.unwrap();
        let mut with = |changed, minutes| {
            let table = catalog.tables.get_mut(&doc()).unwrap();
            table.activity.modified_since_analyze = changed;
            table.activity.last_analyze = Some(now - TimeDelta::minutes(minutes));
            judge(&RULE, &catalog, &[])
        };
        let found = with(600_000, 60);
        assert_eq!(found[0].severity, Severity::Warning);
        assert!(
            found[0].message.contains("600,000 rows changed since"),
            "{found:?}"
        );
        assert_eq!(found[0].fix.as_deref(), Some("analyze public.doc;"));
        assert_eq!(with(600_000, 2), [], "autovacuum comes once a minute");
        assert_eq!(with(150_000, 60), [], "not due twice over");
    }
}
