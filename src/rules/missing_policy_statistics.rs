use super::sink::{Found, count};
use super::{Category, FEW_ROWS, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A column that a policy compares and that has no statistics, although its table was analysed.
    ///
    /// ## Why it matters
    /// The planner guesses how many rows the policy lets through, for every statement on the table.
    ///
    /// ## What to do
    /// Let ANALYZE look at the column: its statistics target is 0, or it was added after the last run.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid not null);
    /// insert into doc select n, gen_random_uuid() from generate_series(1, 20000) n;
    /// alter table doc alter owner_id set statistics 0;
    /// analyze doc;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid not null);
    /// insert into doc select n, gen_random_uuid() from generate_series(1, 20000) n;
    /// analyze doc;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// ```
    "missing-policy-statistics" {
        summary: "a policy column without statistics",
        category: Category::Workload,
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        let rows = table.row_estimate();
        let analysed = table.columns.iter().any(|c| c.stats.is_some());
        if !analysed || !table.statistics_readable || rows < FEW_ROWS {
            continue;
        }
        for column in table.columns.iter().filter(|c| c.stats.is_none()) {
            if !facts.compares(name, &column.name) {
                continue;
            }
            let (on, quoted) = (quote::name(name), quote::ident(&column.name));
            sink.report(
                Found::new(
                    Severity::Warning,
                    ObjectKind::Column,
                    name,
                    Some(&column.name),
                    format!(
                        "policies compare it, and it has no statistics among {} rows",
                        count(rows)
                    ),
                )
                .evidence("rows", rows)
                .fix(format!(
                    "alter table {on} alter column {quoted} set statistics -1; analyze {on} ({quoted});"
                )),
            );
        }
    }
}
