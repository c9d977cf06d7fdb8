use super::sink::{Found, count};
use super::{Category, Facts, Sink, by_rows, rule};
use crate::model::ObjectKind;
use crate::sql::qual::{Qual, ScopeKind};

rule! {
    /// ## What it finds
    /// A policy's sub-select reads a table and depends on the row that is judged: `exists (select … where
    /// m.org = doc.org)` or `auth.uid() in (select … where m.org = doc.org)`.
    ///
    /// ## Why it matters
    /// A policy's sub-select is never turned into a join. It is run again for every row, or its whole table is hashed;
    /// either way no index on the guarded table can be used.
    ///
    /// ## What to do
    /// Ask for the user's values instead of the row's: `org = any (array(select org from … where user_id = …))`. Keep
    /// every condition that depends on another column of the row.
    /// ```sql,bad
    /// create table doc (id int primary key, org int not null);
    /// insert into doc select n, n % 500 from generate_series(1, 20000) n;
    /// create table member (user_id uuid, org int);
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app
    ///   using (exists (select from member m where m.org = doc.org and m.user_id = (select auth.uid())));
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
    "correlated-subselect-policy" {
        summary: "a policy's sub-select depends on the row",
        category: Category::Speed,
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.policies.iter().filter(|p| p.reads()) {
        let (Some(qual), Some(table)) = (&policy.using, facts.large(policy.name)) else {
            continue;
        };
        // Another condition that an index answers leaves few rows to run the sub-select for.
        let row = qual.scopes.first();
        if row.is_some_and(|row| facts.indexable(row, &row.filter)) {
            continue;
        }
        let reads = correlated(qual);
        if reads.is_empty() {
            continue;
        }
        let rows = table.row_estimate();
        let list = reads.join(", ");
        sink.report(
            Found::new(
                by_rows(rows),
                ObjectKind::Policy,
                policy.name,
                Some(&policy.policy.name),
                format!(
                    "its sub-select on {list} depends on the row, so it runs for each of {} rows or hashes {list} whole",
                    count(rows)
                ),
            )
            .evidence("rows", rows)
            .evidence("reads", reads)
            .advice(
                "Ask for the user's values once: column = any (array(select …)), with an index on the column.",
            ),
        );
    }
}

/// Tables of the sub-selects directly over the row that depend on it.
fn correlated(qual: &Qual) -> Vec<String> {
    let mut tables: Vec<String> = qual
        .scopes
        .iter()
        .filter(|s| s.parent == Some(0) && s.correlated && s.kind != ScopeKind::Derived)
        .flat_map(|s| &s.relations)
        .filter_map(|r| r.table.as_ref().map(ToString::to_string))
        .collect();
    tables.sort();
    tables.dedup();
    tables
}
