use super::sink::{Found, count};
use super::{Category, FEW_ROWS, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity, TableKind};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A table with rows that was never analysed.
    ///
    /// ## Why it matters
    /// Without statistics the planner guesses how many rows a policy lets through, and picks bad joins.
    ///
    /// ## What to do
    /// Analyse it, and leave autovacuum on for it.
    /// ```sql,bad
    /// create table doc (id int primary key, org int) with (autovacuum_enabled = off);
    /// insert into doc select n, n % 3 from generate_series(1, 20000) n;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org int) with (autovacuum_enabled = off);
    /// insert into doc select n, n % 3 from generate_series(1, 20000) n;
    /// analyze doc;
    /// ```
    "never-analyzed" {
        summary: "a table without statistics",
        category: Category::Workload,
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        let stored = matches!(
            table.kind,
            TableKind::Ordinary | TableKind::MaterializedView
        );
        let rows = table.row_estimate();
        let known = table.activity.last_analyze.is_some()
            || table.columns.iter().any(|c| c.stats.is_some());
        if !stored || known || !table.statistics_readable || rows < FEW_ROWS {
            continue;
        }
        let off = table
            .options
            .iter()
            .any(|o| o == "autovacuum_enabled=off" || o == "autovacuum_enabled=false");
        let why = if off {
            "; autovacuum is off for it"
        } else {
            ""
        };
        sink.report(
            Found::new(
                Severity::Warning,
                ObjectKind::Table,
                name,
                None,
                format!("about {} rows and never analysed{why}", count(rows)),
            )
            .evidence("rows", rows)
            .evidence("autovacuum_off", off)
            .fix(format!("analyze {};", quote::name(name))),
        );
    }
}
