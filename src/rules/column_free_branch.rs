use super::sink::{Found, count};
use super::{Category, FEW_ROWS, Facts, Sink, by_rows, rule};
use crate::model::{ObjectKind, Severity};
use crate::sql::qual::{Clause, Form, Test};

rule! {
    /// ## What it finds
    /// A policy joins by OR a comparison that an index could answer and a condition that names no column, such as
    /// `is_admin()`.
    ///
    /// ## Why it matters
    /// For all the planner knows the condition is true for every row, so it must read them all: the index on the compared
    /// column cannot be used by anybody, wrapped or not.
    ///
    /// ## What to do
    /// Give those users a role of their own with a policy of its own, or ask for the set of permitted values, which for
    /// an administrator is all of them.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid not null);
    /// insert into doc select n, gen_random_uuid() from generate_series(1, 20000) n;
    /// create index on doc (owner_id);
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app
    ///   using (owner_id = (select auth.uid()) or (select auth.jwt() ->> 'admin') = 'yes');
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid not null);
    /// insert into doc select n, gen_random_uuid() from generate_series(1, 20000) n;
    /// create index on doc (owner_id);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// create policy every on doc for select to anon using ((select auth.jwt() ->> 'admin') = 'yes');
    /// ```
    "column-free-branch" {
        summary: "a branch without a column keeps every index from being used",
        category: Category::Speed,
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.policies.iter().filter(|p| p.reads()) {
        let rows = policy.table.row_estimate();
        let Some(row) = policy.using.as_ref().and_then(|q| q.scopes.first()) else {
            continue;
        };
        if rows < FEW_ROWS || facts.indexable(row, &row.filter) {
            continue;
        }
        let lost = row.filter.iter().find_map(|clause| match clause {
            Clause::AnyOf(branches) if branches.iter().any(|b| is_free(b)) => {
                branches.iter().find_map(|b| comparison(facts, b))
            }
            _ => None,
        });
        let Some(column) = lost else { continue };
        sink.report(
            Found::new(
                by_rows(rows).min(Severity::Warning),
                ObjectKind::Policy,
                policy.name,
                Some(&policy.policy.name),
                format!(
                    "one branch of its OR names no column, so no index on {column} can be used: all {} rows are read",
                    count(rows)
                ),
            )
            .evidence("column", column)
            .evidence("rows", rows)
            .advice(
                "Let those users work as a role of their own, with a policy of its own; \
                 or compare the column with the set of permitted values, computed once.",
            ),
        );
    }
}

fn is_free(branch: &[Clause]) -> bool {
    !branch.is_empty()
        && branch.iter().all(|clause| match clause {
            Clause::Test(Test { form, columns, .. }) => {
                columns.is_empty() && *form != Form::Constant(false)
            }
            Clause::AnyOf(branches) => branches.iter().any(|b| is_free(b)),
        })
}

/// The column that an index would be searched for, were it not for the other branch.
fn comparison(facts: &Facts<'_>, branch: &[Clause]) -> Option<String> {
    branch.iter().find_map(|clause| match clause {
        Clause::Test(test) => test
            .form
            .equality_column()
            .filter(|column| facts.selective(&test.form, column))
            .map(|column| column.column.clone()),
        Clause::AnyOf(_) => None,
    })
}
