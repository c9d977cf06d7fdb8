use super::sink::{Found, count};
use super::{Category, Facts, Sink, rule};
use crate::model::{Function, ObjectKind, Parallel, Severity, Volatility};
use crate::sql::quote;
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// A function declared parallel unsafe, which is the default, in a policy of a big table whose rows no index finds.
    ///
    /// ## Why it matters
    /// One such function anywhere in a statement, sub-selects and wrapped calls included, and the whole statement runs
    /// in one process. Every statement on the table gets the policy.
    ///
    /// ## What to do
    /// Where the function reads settings and tables and nothing else, declare it parallel safe.
    /// ```sql,bad
    /// create table doc (id int primary key, org int, pad text);
    /// insert into doc select n, n % 3, repeat('x', 100) from generate_series(1, 120000) n;
    /// create function my_org() returns int language sql stable as $$ select (auth.jwt() ->> 'org')::int $$;
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app using (org >= (select my_org()));
    /// analyze doc;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org int, pad text);
    /// insert into doc select n, n % 3, repeat('x', 100) from generate_series(1, 120000) n;
    /// create function my_org() returns int language sql stable parallel safe
    ///   as $$ select (current_setting('app.org', true))::int $$;
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app using (org >= (select my_org()));
    /// analyze doc;
    /// ```
    "parallel-unsafe-policy-function" {
        summary: "a policy's function keeps statements from running in parallel",
        category: Category::Speed,
        check: check,
    }
}

/// `min_parallel_table_scan_size` in pages, as delivered: smaller tables are never read in parallel.
const MIN_PAGES: i64 = 1024;
/// Below this a parallel plan gains next to nothing.
const MIN_ROWS: f64 = 100_000.0;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let setting = facts
        .catalog
        .server
        .settings
        .get("max_parallel_workers_per_gather");
    if setting.is_some_and(|workers| workers == "0") {
        return;
    }
    let mut found: BTreeMap<u32, (&Function, BTreeSet<String>, f64)> = BTreeMap::new();
    for policy in facts.policies.iter().filter(|p| p.reads()) {
        let rows = policy.table.row_estimate();
        let Some(qual) = &policy.using else { continue };
        let indexed = qual
            .scopes
            .first()
            .is_some_and(|row| facts.indexable(row, &row.filter));
        // Where an index is what is missing, few rows are left once it is there.
        let may_be_indexed = qual.tests().iter().any(|(scope, test)| {
            let column = test.form.equality_column();
            *scope == 0 && column.is_some_and(|c| facts.selective(&test.form, c))
        });
        if policy.table.pages < MIN_PAGES || rows < MIN_ROWS || indexed || may_be_indexed {
            continue;
        }
        for function in qual.calls.iter().flat_map(|call| facts.functions(call)) {
            // What is volatile has worse about it.
            if function.parallel == Parallel::Unsafe && function.volatility != Volatility::Volatile
            {
                let (_, policies, most) = found
                    .entry(function.oid)
                    .or_insert_with(|| (function, BTreeSet::new(), 0.0));
                policies.insert(format!("{} on {}", policy.policy.name, policy.name));
                *most = most.max(rows);
            }
        }
    }
    for (function, policies, rows) in found.into_values() {
        report(function, policies, rows, sink);
    }
}

fn report(function: &Function, policies: BTreeSet<String>, rows: f64, sink: &mut Sink<'_>) {
    let list = policies.iter().cloned().collect::<Vec<_>>().join(", ");
    sink.report(
        Found::new(
            Severity::Note,
            ObjectKind::Function,
            &function.name,
            None,
            format!(
                "is parallel unsafe and part of {list}: {} rows are read in one process",
                count(rows)
            ),
        )
        .evidence("policies", policies.into_iter().collect::<Vec<_>>())
        .evidence("rows", rows)
        .advice(format!(
            "If it writes nothing, uses no temporary table and changes no setting: alter function {}({}) parallel safe;",
            quote::name(&function.name),
            function.arguments
        )),
    );
}
