use super::sink::{Found, count};
use super::{Category, Facts, Sink, by_rows, rule};
use crate::model::{ObjectKind, Severity};
use crate::sql::qual::Form;

rule! {
    /// ## What it finds
    /// A policy casts the column before comparing it: `owner_id::text = …`. Casts that change nothing, such as varchar
    /// to text, do not count.
    ///
    /// ## Why it matters
    /// An index on the column cannot answer a comparison of something made from it: the whole table is read.
    ///
    /// ## What to do
    /// Cast the other side to the column's type. Mind values that do not convert: they raise an error instead of
    /// matching nothing. An index on the cast expression keeps the behaviour as it is.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid not null);
    /// insert into doc select n, gen_random_uuid() from generate_series(1, 20000) n;
    /// create index on doc (owner_id);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id::text = (select auth.uid()::text));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid not null);
    /// insert into doc select n, gen_random_uuid() from generate_series(1, 20000) n;
    /// create index on doc (owner_id);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// ```
    "cast-on-policy-column" {
        summary: "a policy casts a column, so its index cannot be used",
        category: Category::Speed,
        also: &["pgrls PERF004"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.policies.iter().filter(|p| p.reads()) {
        let Some(qual) = &policy.using else { continue };
        for (scope, test) in qual.tests() {
            let Form::Compare {
                column,
                operator,
                cast: Some(cast),
            } = &test.form
            else {
                continue;
            };
            let Some(name) = &column.table else { continue };
            let Some((table, scope)) = facts.large(name).zip(qual.scope(scope)) else {
                continue;
            };
            let cast_is_indexed = facts.expression_indexed(name, &column.column);
            if operator != "=" || cast_is_indexed || facts.indexable(scope, &scope.filter) {
                continue;
            }
            let rows = table.row_estimate();
            let indexed = facts.index_leads(column, scope);
            let kind = table
                .column(&column.column)
                .map_or("", |c| c.type_name.as_str());
            sink.report(
                Found::new(
                    by_rows(rows).min(Severity::Warning),
                    ObjectKind::Policy,
                    policy.name,
                    Some(&policy.policy.name),
                    format!(
                        "casts {}.{} from {kind} to {cast} before comparing it{}: all {} rows are read",
                        name.name,
                        column.column,
                        if indexed { ", so its index is not used" } else { "" },
                        count(rows)
                    ),
                )
                .evidence("column", column.column.clone())
                .evidence("cast", cast.clone())
                .evidence("rows", rows)
                .evidence("indexed", indexed)
                .advice(format!(
                    "Compare {} with a value of type {kind}: cast the other side, once, in a sub-select. A value that is \
                     no {kind} then raises an error where it matched nothing before.",
                    column.column
                )),
            );
        }
    }
}
