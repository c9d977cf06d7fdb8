use super::sink::{Found, count};
use super::{Category, Facts, PolicyFacts, Sink, by_rows, rule};
use crate::model::{Name, ObjectKind, Severity, TableKind, Volatility};
use crate::sql::qual::{Clause, ColumnUse, Form, Frequency, Qual, Test};
use crate::sql::tree::partition_columns;
use std::collections::BTreeMap;

rule! {
    /// ## What it finds
    /// A policy on a partitioned table that tests the partition key, but in a form by which no partition can be left out:
    /// the key is cast, goes into a function, is looked up in a sub-select (`in (select …)`, `= any (array(select …))`
    /// without an index), or is compared with a volatile function; or an OR has a branch without the key.
    ///
    /// ## Why it matters
    /// A comparison of the bare key with a stable function or with `(select …)` leaves all partitions but one unread, when
    /// the statement starts or while it runs. In the other forms every statement reads every partition.
    ///
    /// ## What to do
    /// Compare the bare key: `key = (select f())`. For a set of keys have an index on the key in each partition and write
    /// `= any (array(select …))`: every partition is still asked, by its index.
    /// ```sql,bad
    /// create table event (tenant int not null, note text) partition by list (tenant);
    /// create table event_1 partition of event for values in (1);
    /// create table event_2 partition of event for values in (2);
    /// insert into event select n % 2 + 1, 'x' from generate_series(1, 20000) n;
    /// alter table event enable row level security;
    /// create policy own on event for select to app using (tenant::text = (select current_setting('app.tenant', true)));
    /// analyze;
    /// ```
    /// ```sql,good
    /// create table event (tenant int not null, note text) partition by list (tenant);
    /// create table event_1 partition of event for values in (1);
    /// create table event_2 partition of event for values in (2);
    /// insert into event select n % 2 + 1, 'x' from generate_series(1, 20000) n;
    /// alter table event enable row level security;
    /// create policy own on event for select to app using (tenant = (select current_setting('app.tenant', true)::int));
    /// analyze;
    /// ```
    "policy-without-pruning" {
        summary: "a policy tests the partition key so that no partition can be left out",
        category: Category::Speed,
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut partitions: BTreeMap<&Name, usize> = BTreeMap::new();
    for table in facts.catalog.tables.values() {
        if let Some(parent) = &table.partition_of {
            *partitions.entry(parent).or_default() += 1;
        }
    }
    for policy in facts.policies.iter().filter(|p| p.reads()) {
        let number = partitions.get(policy.name).copied().unwrap_or_default();
        let partitioned = policy.table.kind == TableKind::Partitioned && number > 1;
        if !partitioned || facts.large(policy.name).is_none() {
            continue;
        }
        let key = policy.table.partition_key.as_deref().unwrap_or_default();
        let columns = partition_columns(key);
        let Some(Some(column)) = columns.first() else {
            continue;
        };
        let (Some(qual), true) = (&policy.using, policy.table.rls_enabled) else {
            continue;
        };
        if let Some(why) = hindrance(facts, qual, column) {
            report(policy, column, number, why, sink);
        }
    }
}

/// Why no partition is left out, where the policy speaks of the key at all.
fn hindrance(facts: &Facts<'_>, qual: &Qual, key: &str) -> Option<&'static str> {
    let row = qual.scopes.first()?;
    let about = |c: &ColumnUse| c.scope == 0 && c.column == key;
    let tests: Vec<&Test> = qual
        .tests()
        .into_iter()
        .filter(|(scope, test)| *scope == 0 && test.columns.iter().any(about))
        .map(|(_, test)| test)
        .collect();
    if tests.is_empty() || prunes(facts, qual, &row.filter, key) {
        return None;
    }
    // An index on the key finds out in each partition that it holds nothing.
    if facts.indexable(row, &row.filter) {
        return None;
    }
    let reason = tests
        .iter()
        .find_map(|test| obstacle(facts, qual, test, key));
    Some(reason.unwrap_or("an OR has a branch without it"))
}

fn prunes(facts: &Facts<'_>, qual: &Qual, clauses: &[Clause], key: &str) -> bool {
    clauses.iter().any(|clause| match clause {
        Clause::Test(test) => {
            test.columns.iter().any(|c| c.scope == 0 && c.column == key)
                && obstacle(facts, qual, test, key).is_none()
        }
        Clause::AnyOf(branches) => branches.iter().all(|b| prunes(facts, qual, b, key)),
    })
}

/// What keeps one test of the key from leaving partitions out, as PostgreSQL 15 does it.
fn obstacle(facts: &Facts<'_>, qual: &Qual, test: &Test, key: &str) -> Option<&'static str> {
    let volatile = test
        .calls
        .iter()
        .filter_map(|number| qual.calls.get(*number))
        .any(|call| {
            qual.frequency(call) == Frequency::PerRow
                && facts.volatility(call) == Some(Volatility::Volatile)
        });
    match &test.form {
        Form::Compare { column, cast, .. } if column.column == key => match cast {
            Some(_) => Some("it is cast"),
            None if volatile => Some("it is compared with a volatile function"),
            None => None,
        },
        Form::AnyOfArray { column } if column.column == key && !test.scopes.is_empty() => {
            Some("it is looked up in what a sub-select returns")
        }
        Form::InSelect { column, .. } if column.column == key => {
            Some("it is looked up in what a sub-select returns")
        }
        Form::Other if !test.scopes.is_empty() => Some("a sub-select depends on it"),
        Form::Other => Some("it goes into an expression"),
        _ => None,
    }
}

fn report(
    policy: &PolicyFacts<'_>,
    column: &str,
    partitions: usize,
    why: &str,
    sink: &mut Sink<'_>,
) {
    let rows = policy.table.row_estimate();
    sink.report(
        Found::new(
            by_rows(rows).min(Severity::Warning),
            ObjectKind::Policy,
            policy.name,
            Some(&policy.policy.name),
            format!(
                "tests the partition key {column}, yet all {partitions} partitions with {} rows are read: {why}",
                count(rows)
            ),
        )
        .evidence("partition_key", column)
        .evidence("partitions", partitions)
        .evidence("rows", rows)
        .evidence("because", why)
        .advice(format!(
            "Compare the bare key with one value that is known before the scan: {column} = (select …)."
        )),
    );
}
