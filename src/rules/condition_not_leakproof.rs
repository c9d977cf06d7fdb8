use super::sink::{Found, count};
use super::visits::{Visit, shorten};
use super::{Category, FEW_ROWS, Facts, PolicyFacts, Sink, by_rows, rule};
use crate::model::{Index, Name, ObjectKind, Severity, Table};
use crate::sql::access::{self, Access, Tested};
use crate::sql::qual::Form;
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// A statement in `pg_stat_statements` that runs under a table's policies and searches by an operator or function that
    /// is not leakproof (LIKE, `@>`, `@@`, `=` of numeric or an enum, `lower(…) = …`), although an index for exactly this
    /// search exists. Statements that another index answers, and tables where the policy leaves few rows, are left out.
    ///
    /// ## Why it matters
    /// An operator that is not leakproof could tell about rows that the policy hides, for instance in an error message, so
    /// it may only see rows that passed the policy. It cannot be an index condition: the index that the same
    /// statement uses as a superuser is left alone, every row that the policy lets through is read and tested.
    ///
    /// ## What to do
    /// Where the statement always asks for the same value, a partial index on the policy's column whose predicate is that
    /// test (`on t (tenant) where status = 'open'`): proving the predicate does not run the operator. Where the statement
    /// reads few columns, an index that starts with the policy's column and holds them all: the test then runs in the
    /// index. For search in text or documents, a security-definer function that applies the policy's condition itself.
    /// ```sql,bad shown
    /// create table doc (id int primary key, tenant int not null, name text);
    /// create index on doc (tenant);
    /// create index on doc (name text_pattern_ops);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (tenant = (select current_setting('app.tenant')::int));
    /// -- as app, again and again:
    /// select * from doc where name like 'smith%';
    /// ```
    /// ```sql,good shown
    /// create table doc (id int primary key, tenant int not null, name text);
    /// create index on doc (tenant, name, id);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (tenant = (select current_setting('app.tenant')::int));
    /// -- as app, again and again:
    /// select id, name from doc where name like 'smith%';
    /// ```
    "condition-not-leakproof" {
        summary: "a statement's search is not leakproof, so its index is not used under row-level security",
        category: Category::Speed,
        check: check,
    }
}

/// A search that row-level security keeps from its index: the table, what is searched, the index.
type Key<'a> = (&'a Name, String, &'a Name);

#[derive(Default)]
struct Lost<'a> {
    operators: BTreeSet<String>,
    rows: f64,
    policy_columns: BTreeSet<String>,
    visits: Vec<Visit<'a>>,
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut parsed: BTreeMap<i64, Vec<Access>> = BTreeMap::new();
    let mut lost: BTreeMap<Key<'_>, Lost<'_>> = BTreeMap::new();
    for (name, table) in &facts.catalog.tables {
        if !table.rls_enabled || table.row_estimate() < FEW_ROWS {
            continue;
        }
        for visit in facts.visits.of(name) {
            let Some(text) = visit.statement.text.as_deref() else {
                continue;
            };
            let Some(left) = left_by_policies(facts, name, table, visit) else {
                continue;
            };
            let accesses = parsed
                .entry(visit.statement.query_id)
                .or_insert_with(|| access::of_statement(text, facts.catalog).unwrap_or_default());
            for access in accesses.iter().filter(|a| a.table == *name) {
                for (index, test) in searches(facts, table, access) {
                    if mended(facts, name, table, &left.columns, test) {
                        continue;
                    }
                    let entry = lost
                        .entry((name, test.shape.clone(), &index.name))
                        .or_default();
                    entry.operators.insert(test.operator.clone());
                    entry.rows = entry.rows.max(left.rows);
                    entry.policy_columns.extend(left.columns.iter().cloned());
                    entry.visits.push(*visit);
                }
            }
        }
    }
    for ((name, searched, index), lost) in lost {
        report(facts, (name, &searched, index), &lost, sink);
    }
}

/// What the policies leave of a table for a role.
struct Left {
    rows: f64,
    columns: Vec<String>,
}

/// `None` where no policy stands between the statement and the rows, or few rows are left.
fn left_by_policies(
    facts: &Facts<'_>,
    name: &Name,
    table: &Table,
    visit: &Visit<'_>,
) -> Option<Left> {
    if !visit.statement.top_level || !facts.meets_policies(visit.role, table) {
        return None;
    }
    let applying: Vec<&PolicyFacts<'_>> = facts
        .policies_of(name)
        .iter()
        .filter(|p| p.policy.command.covers(visit.command))
        .filter(|p| facts.catalog.applies_to(p.policy, visit.role))
        .collect();
    let permissive = || applying.iter().filter(|p| p.policy.permissive);
    // A policy that is simply true leaves nothing to protect.
    let restricted = applying.iter().any(|p| !p.policy.permissive && !open(p));
    if permissive().count() == 0 || (permissive().any(|p| open(p)) && !restricted) {
        return None;
    }
    let all = table.row_estimate();
    let mut rows = 0.0;
    let mut columns = Vec::new();
    for policy in permissive() {
        let (share, column) = share(facts, policy);
        rows += share * all;
        columns.extend(column);
    }
    let rows = f64::min(rows, all);
    (rows >= FEW_ROWS).then_some(Left { rows, columns })
}

fn open(policy: &PolicyFacts<'_>) -> bool {
    policy.using.as_ref().is_some_and(|qual| {
        matches!(
            qual.filter(),
            [crate::sql::qual::Clause::Test(test)] if test.form == Form::Constant(true)
        )
    })
}

/// The part of the table that is read for the policy, with the column an index finds it by.
fn share(facts: &Facts<'_>, policy: &PolicyFacts<'_>) -> (f64, Option<String>) {
    let indexed = policy.using.as_ref().and_then(|qual| {
        let row = qual.scopes.first()?;
        let tests = qual.tests();
        let mut own = tests.iter().filter(|(scope, _)| *scope == 0);
        let column = own.find_map(|(_, test)| {
            let column = test.form.equality_column()?;
            facts.index_leads(column, row).then_some(column)
        })?;
        facts.indexable(row, &row.filter).then_some(column)
    });
    match indexed {
        Some(column) => {
            let share = facts.distinct(column).map_or(0.1, |n| 1.0 / n.max(1.0));
            let stats = policy
                .table
                .column(&column.column)
                .and_then(|c| c.stats.as_ref());
            let largest = stats.map_or(0.0, |s| s.top_frequency);
            (share.max(largest), Some(column.column.clone()))
        }
        None => (1.0, None),
    }
}

/// The searches of one access that an index is there for and that are not leakproof; none where another index serves.
fn searches<'a, 'q>(
    facts: &Facts<'_>,
    table: &'a Table,
    access: &'q Access,
) -> Vec<(&'a Index, &'q Tested)> {
    let joined = access.joins.iter().any(|column| served(table, column, "="));
    let tested = access.tests.iter().any(|test| {
        let column = test.column.as_deref();
        column.is_some_and(|column| served(table, column, &test.operator))
    });
    if joined || tested {
        return Vec::new();
    }
    access
        .tests
        .iter()
        .filter_map(|test| Some((lost_index(facts, table, test)?, test)))
        .collect()
}

/// Whether an index finds a few rows by a leakproof comparison of the column.
fn served(table: &Table, column: &str, operator: &str) -> bool {
    let Some(known) = table.column(column) else {
        return false;
    };
    let leakproof = match operator {
        "=" => known.equality_leakproof == Some(true) && distinct(table, column) >= 100.0,
        "<" | "<=" | ">" | ">=" => known.ordering_leakproof == Some(true),
        _ => false,
    };
    leakproof && table.indexes.iter().any(|i| super::facts::leads(i, column))
}

fn distinct(table: &Table, column: &str) -> f64 {
    let stats = table.column(column).and_then(|c| c.stats.as_ref());
    stats.map_or(f64::MAX, |s| {
        if s.n_distinct < 0.0 {
            -s.n_distinct * table.row_estimate()
        } else {
            s.n_distinct
        }
    })
}

fn lost_index<'a>(facts: &Facts<'_>, table: &'a Table, test: &Tested) -> Option<&'a Index> {
    table
        .indexes
        .iter()
        .filter(|index| index.valid && index.ready && index.predicate.is_none())
        .find(|index| {
            let Some(key) = index.keys.first() else {
                return false;
            };
            let same = match (&key.column, &key.expression) {
                (Some(column), _) => test.column.as_ref() == Some(column),
                (None, Some(expression)) => access::shape(expression).as_ref() == Some(&test.shape),
                (None, None) => false,
            };
            // An index on three values would not be used by anybody.
            let narrow = test.operator != "="
                || test
                    .column
                    .as_ref()
                    .is_none_or(|c| distinct(table, c) >= 10.0);
            let leaks = index
                .leaks
                .first()
                .is_some_and(|l| l.contains(&test.operator));
            let prefix = matches!(test.operator.as_str(), "~~" | "~")
                && index.method == "btree"
                && (key
                    .opclass
                    .as_ref()
                    .is_some_and(|o| o.ends_with("pattern_ops"))
                    || key.collation.as_ref().is_some_and(|c| c.ends_with("\"C\"")));
            let called = index.method == "btree"
                && matches!(test.operator.as_str(), "=" | "<" | "<=" | ">" | ">=")
                && test.calls.iter().any(|call| leaky_call(facts, call));
            same && narrow && (leaks || prefix || called)
        })
}

/// Whether an index by the policy's column holds what is searched, as a further column or as its predicate.
fn mended(
    facts: &Facts<'_>,
    name: &Name,
    table: &Table,
    policy_columns: &[String],
    test: &Tested,
) -> bool {
    let Some(column) = &test.column else {
        return false;
    };
    let by_policy = |index: &&Index| policy_columns.iter().any(|c| super::facts::leads(index, c));
    table.indexes.iter().filter(by_policy).any(|index| {
        let key = index.keys.iter().any(|k| k.column.as_ref() == Some(column));
        let predicate = index.predicate.as_deref().is_some_and(|text| {
            crate::sql::qual::Qual::of_policy(text, name, facts.catalog).is_ok_and(|qual| {
                let tests = qual.tests();
                let mut columns = tests.iter().flat_map(|(_, t)| &t.columns);
                columns.any(|c| c.column == *column)
            })
        });
        key || predicate || index.include.contains(column)
    })
}

fn leaky_call(facts: &Facts<'_>, (schema, name): &(String, String)) -> bool {
    let known = &facts.catalog.leakproof_builtins;
    if matches!(schema.as_str(), "" | "pg_catalog") && facts.catalog.builtins.contains_key(name) {
        return !known.is_empty() && !known.contains(name);
    }
    let mut functions = facts.catalog.functions_named(schema, name).peekable();
    functions.peek().is_some() && functions.any(|f| !f.leakproof)
}

fn report(
    facts: &Facts<'_>,
    (name, searched, index): (&Name, &str, &Name),
    lost: &Lost<'_>,
    sink: &mut Sink<'_>,
) {
    let Some(table) = facts.catalog.table(name) else {
        return;
    };
    let mut visits = lost.visits.clone();
    visits.sort_by(|a, b| b.statement.total_ms.total_cmp(&a.statement.total_ms));
    let Some(worst) = visits.first().map(|v| v.statement) else {
        return;
    };
    let rows = table.row_estimate();
    let operators: Vec<String> = lost.operators.iter().map(|o| spell(o)).collect();
    let severity = by_rows(lost.rows).min(Severity::Warning);
    let first = lost
        .policy_columns
        .first()
        .map_or("the policy's column", String::as_str);
    sink.report(
        Found::new(
            severity,
            ObjectKind::Column,
            name,
            Some(searched),
            format!(
                "searched by {}, which is not leakproof: under row-level security index {} is not used, and up to {} of \
                 {} rows are read and tested. At worst {:.1} ms on average over {} calls: {}",
                operators.join(", "),
                index.name,
                count(lost.rows),
                count(rows),
                worst.mean_ms,
                worst.calls,
                shorten(worst.text.as_deref().unwrap_or_default()),
            ),
        )
        .evidence("operators", lost.operators.iter().cloned().collect::<Vec<_>>())
        .evidence("index", index.to_string())
        .evidence("rows", rows)
        .evidence("rows_tested", lost.rows)
        .evidence("mean_ms", worst.mean_ms)
        .evidence("calls", visits.iter().map(|v| v.statement.calls).sum::<i64>())
        .evidence("statements", super::visits::list(&visits))
        .advice(advice(searched, first, &lost.operators)),
    );
}

fn spell(operator: &str) -> String {
    let word = match operator {
        "~~" => "LIKE",
        "~~*" => "ILIKE",
        "~" | "~*" => "a regular expression",
        "@@" => "full-text search",
        "@>" => "containment",
        "&&" => "overlap",
        _ => return operator.to_owned(),
    };
    format!("{operator} ({word})")
}

fn advice(searched: &str, policy_column: &str, operators: &BTreeSet<String>) -> String {
    let document = ["@@", "@>", "<@", "&&", "?", "?|", "?&", "@?"];
    if operators.iter().any(|o| document.contains(&o.as_str())) {
        return format!(
            "A security-definer function that applies the policy's condition itself can search the index. Where the value is \
             always the same, a partial index on ({policy_column}) with that test as its predicate is used as it is."
        );
    }
    format!(
        "Where the value is always the same: an index on ({policy_column}) where {searched} … that value. Where the statement \
         reads few columns: an index on ({policy_column}, {searched}) that includes them, so that the test runs in the \
         index. Only a superuser can declare the operator's function leakproof, and it must not be where its errors \
         or its time tell about the value."
    )
}
