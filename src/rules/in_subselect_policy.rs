use super::sink::{Found, count};
use super::{Category, Facts, PolicyFacts, Sink, by_rows, rule};
use crate::model::{ObjectKind, Severity};
use crate::sql::qual::{Clause, Form, Scope};

rule! {
    /// ## What it finds
    /// A policy tests a column with `in (select …)`.
    ///
    /// ## Why it matters
    /// The sub-select is hashed and every row of the table is looked up in it: an index on the column cannot be used.
    /// A comparison with an array that is known before the scan can be an index condition.
    ///
    /// ## What to do
    /// Write `column = any (array(select …))`, with an index on the column. Both show the same rows.
    /// ```sql,bad
    /// create table doc (id int primary key, org int not null);
    /// insert into doc select n, n % 500 from generate_series(1, 20000) n;
    /// create table member (user_id uuid, org int);
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app
    ///   using (org in (select m.org from member m where m.user_id = (select auth.uid())));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org int not null);
    /// insert into doc select n, n % 500 from generate_series(1, 20000) n;
    /// create index on doc (org);
    /// create table member (user_id uuid, org int);
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app
    ///   using (org = any (array(select m.org from member m where m.user_id = (select auth.uid()))));
    /// ```
    "in-subselect-policy" {
        summary: "a policy's `in (select …)` keeps the column out of index conditions",
        category: Category::Speed,
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.policies.iter().filter(|p| p.reads()) {
        let (Some(qual), Some(table)) = (&policy.using, facts.large(policy.name)) else {
            continue;
        };
        let Some(row) = qual.scopes.first() else {
            continue;
        };
        if facts.indexable(row, &row.filter) {
            continue;
        }
        for (_, test) in qual.tests().iter().filter(|(scope, _)| *scope == 0) {
            let Form::InSelect {
                column,
                scope,
                negated: false,
            } = &test.form
            else {
                continue;
            };
            // A policy that reads its own table has a worse problem.
            let plain = |s: &Scope| {
                let mut tables = s.relations.iter().filter_map(|r| r.table.as_ref());
                !s.correlated && tables.all(|t| t != policy.name)
            };
            if qual.scope(*scope).is_some_and(plain) {
                let indexed = facts.index_leads(column, row);
                report(
                    policy,
                    &column.column,
                    indexed,
                    row,
                    table.row_estimate(),
                    sink,
                );
            }
        }
    }
}

fn report(
    policy: &PolicyFacts<'_>,
    column: &str,
    indexed: bool,
    row: &Scope,
    rows: f64,
    sink: &mut Sink<'_>,
) {
    let alternatives = row.filter.iter().any(|c| matches!(c, Clause::AnyOf(_)));
    // Under an OR the other branches need an index as well.
    let severity = if alternatives {
        Severity::Note
    } else {
        by_rows(rows).min(Severity::Warning)
    };
    let index = if indexed {
        ", although an index starts with it"
    } else {
        ""
    };
    sink.report(
        Found::new(
            severity,
            ObjectKind::Policy,
            policy.name,
            Some(&policy.policy.name),
            format!(
                "{column} in (select …) is looked up for each of {} rows{index}",
                count(rows)
            ),
        )
        .evidence("column", column)
        .evidence("rows", rows)
        .evidence("indexed", indexed)
        .advice(format!(
            "Write {column} = any (array(select …)){}.",
            if indexed {
                ""
            } else {
                " and create an index on the column"
            }
        )),
    );
}
