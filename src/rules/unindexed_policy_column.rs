use super::sink::{Found, count};
use super::{Category, Facts, PolicyFacts, Sink, by_rows, fix, rule};
use crate::model::{Index, Name, ObjectKind, Severity, Table, Volatility};
use crate::sql::qual::{Clause, ColumnUse, Frequency, Qual, Scope, Test};
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// A policy compares a column with a value that is known before the scan, and no usable index starts with that
    /// column: there is none, or the column comes second in it. Columns of the tables that a policy's sub-selects read count as well. Columns with few distinct values
    /// and small tables are left out: an index would not be used there.
    ///
    /// ## Why it matters
    /// Every statement on the table reads all of it, and the policy throws nearly all of it away.
    ///
    /// ## What to do
    /// Create an index that starts with the column; the columns of one that has it further on come after it.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid not null);
    /// insert into doc select n, gen_random_uuid() from generate_series(1, 20000) n;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid not null);
    /// insert into doc select n, gen_random_uuid() from generate_series(1, 20000) n;
    /// create index on doc (owner_id);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// ```
    "unindexed-policy-column" {
        summary: "a policy filters by a column that no index starts with",
        category: Category::Speed,
        also: &["pgrls PERF003"],
        check: check,
    }
}

/// Missing indexes by table and columns, with the policies that want each.
type Wanted<'a> = BTreeMap<(&'a Name, Vec<String>), BTreeSet<String>>;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut wanted = Wanted::new();
    for policy in &facts.policies {
        for (clause, qual) in policy.quals() {
            for (number, scope) in qual.scopes.iter().enumerate() {
                // WITH CHECK looks at one new row at a time, a restrictive policy at what others let through.
                let filters_rows =
                    number > 0 || (clause == "USING" && policy.reads() && decides(facts, policy));
                if filters_rows {
                    collect(facts, policy, (qual, number), scope, &mut wanted);
                }
            }
        }
    }
    for ((name, columns), policies) in longest(wanted) {
        if let Some(table) = facts.catalog.table(name) {
            report(name, table, &columns, &policies, sink);
        }
    }
}

/// An index serves those that want its first columns only, too.
fn longest(wanted: Wanted<'_>) -> Wanted<'_> {
    let mut kept = Wanted::new();
    // A prefix comes right before what it begins, so what is looked at from the end need only be compared with the next.
    for (key, policies) in wanted.into_iter().rev() {
        match kept.first_entry() {
            Some(mut next) if next.key().0 == key.0 && next.key().1.starts_with(&key.1) => {
                next.get_mut().extend(policies);
            }
            _ => {
                kept.insert(key, policies);
            }
        }
    }
    kept
}

/// Permissive policies choose the rows; a restrictive one does where no permissive one names a column.
fn decides(facts: &Facts<'_>, policy: &PolicyFacts<'_>) -> bool {
    policy.policy.permissive
        || !facts.policies_of(policy.name).iter().any(|other| {
            other.policy.permissive
                && other.using.as_ref().is_some_and(|qual| {
                    qual.tests()
                        .iter()
                        .any(|(scope, test)| *scope == 0 && test.form.equality_column().is_some())
                })
        })
}

fn collect<'a>(
    facts: &Facts<'a>,
    policy: &PolicyFacts<'_>,
    (qual, number): (&Qual, usize),
    scope: &Scope,
    wanted: &mut Wanted<'a>,
) {
    if facts.indexable(scope, &scope.filter) {
        return;
    }
    let mut by_table: BTreeMap<&'a Name, Vec<&ColumnUse>> = BTreeMap::new();
    for column in missing(facts, qual, scope, &scope.filter).unwrap_or_default() {
        let known = column.table.as_ref().and_then(|name| {
            facts.large(name)?;
            facts.catalog.tables.get_key_value(name)
        });
        if let Some((name, _)) = known {
            by_table.entry(name).or_default().push(column);
        }
    }
    let alternatives = scope.filter.iter().any(|c| matches!(c, Clause::AnyOf(_)));
    for (name, columns) in by_table {
        let label = if name == policy.name {
            policy.policy.name.clone()
        } else {
            format!("{} on {}", policy.policy.name, policy.name)
        };
        let mut names: Vec<String> = columns.iter().map(|c| c.column.clone()).collect();
        names.dedup();
        // The sub-select's conditions hold together, so one index serves them; the branches of an OR need one each.
        let indexes = if number > 0 && !alternatives {
            vec![names]
        } else {
            names.into_iter().map(|n| vec![n]).collect()
        };
        for columns in indexes {
            wanted
                .entry((name, columns))
                .or_default()
                .insert(label.clone());
        }
    }
}

/// The columns whose indexes would make the conjunction indexable, best first; `None` where none would.
fn missing<'q>(
    facts: &Facts<'_>,
    qual: &Qual,
    scope: &Scope,
    clauses: &'q [Clause],
) -> Option<Vec<&'q ColumnUse>> {
    let mut single: Vec<(f64, &ColumnUse)> = clauses
        .iter()
        .filter_map(|clause| match clause {
            Clause::Test(test) => candidate(facts, qual, test),
            Clause::AnyOf(_) => None,
        })
        .map(|column| (facts.distinct(column).unwrap_or(f64::MAX), column))
        .collect();
    single.sort_by(|a, b| b.0.total_cmp(&a.0));
    if !single.is_empty() {
        let best = if scope.parent.is_some() { 3 } else { 1 };
        return Some(single.into_iter().map(|(_, c)| c).take(best).collect());
    }
    clauses.iter().find_map(|clause| match clause {
        Clause::Test(_) => None,
        Clause::AnyOf(branches) => branches.iter().try_fold(Vec::new(), |mut all, branch| {
            if !facts.indexable(scope, branch) {
                all.extend(missing(facts, qual, scope, branch)?);
            }
            Some(all)
        }),
    })
}

fn candidate<'q>(facts: &Facts<'_>, qual: &Qual, test: &'q Test) -> Option<&'q ColumnUse> {
    let column = test.form.equality_column()?;
    let volatile = test
        .calls
        .iter()
        .filter_map(|c| qual.calls.get(*c))
        .any(|call| {
            qual.frequency(call) != Frequency::Once
                && facts.volatility(call) == Some(Volatility::Volatile)
        });
    let known = column.table.as_ref().and_then(|t| facts.catalog.table(t))?;
    // A type without a default btree class cannot be indexed this way.
    let ordered = known.column(&column.column)?.ordering_leakproof.is_some();
    // An invalid index is a finding of its own, with another cure.
    let broken = known.indexes.iter().any(|index| {
        let first = index.keys.first().and_then(|k| k.column.as_ref());
        !index.valid && first == Some(&column.column)
    });
    (ordered && !broken && !volatile && facts.selective(&test.form, column)).then_some(column)
}

/// A usable btree index over plain columns that has the columns, but not first.
fn held_further_on<'a>(table: &'a Table, columns: &[String]) -> Option<&'a Index> {
    table.indexes.iter().find(|index| {
        let mut keys: Vec<&str> = Vec::new();
        for key in &index.keys {
            keys.extend(key.column.as_deref());
        }
        index.valid
            && index.method == "btree"
            && index.predicate.is_none()
            && keys.len() == index.keys.len()
            && columns.iter().all(|c| keys.contains(&c.as_str()))
            && keys
                .first()
                .is_some_and(|first| columns.iter().all(|c| c != first))
    })
}

fn report(
    name: &Name,
    table: &Table,
    columns: &[String],
    policies: &BTreeSet<String>,
    sink: &mut Sink<'_>,
) {
    let rows = table.row_estimate();
    let plural = if policies.len() == 1 { "y" } else { "ies" };
    let list = policies.iter().cloned().collect::<Vec<_>>().join(", ");
    let what = columns.join(", ");
    let mut keys: Vec<&str> = columns.iter().map(String::as_str).collect();
    let held = held_further_on(table, columns);
    if let Some(index) = held.filter(|index| index.constraint.is_none()) {
        let others = index.keys.iter().filter_map(|k| k.column.as_deref());
        keys.extend(others.filter(|c| !columns.iter().any(|own| own == c)));
    }
    let (sql, words) = fix::create_index(name, table, &keys);
    // A value that most rows have is read in full with an index as well.
    let top = columns
        .iter()
        .filter_map(|c| table.column(c)?.stats.as_ref())
        .map(|stats| stats.top_frequency)
        .fold(f64::MAX, f64::min);
    let common = columns.len() == 1 && (0.5..=1.0).contains(&top);
    let (severity, except) = if common {
        let share = format!(
            "; {:.0} % of the rows share one value, which an index does not help",
            top * 100.0
        );
        (Severity::Note, share)
    } else {
        (by_rows(rows), String::new())
    };
    let order = held.map_or_else(String::new, |index| {
        let first = index.keys.first().and_then(|k| k.column.as_deref());
        format!(
            "; {} holds it, but after {}, so it cannot be searched by it alone",
            index.name.name,
            first.unwrap_or("an expression")
        )
    });
    let mut found = Found::new(
        severity,
        ObjectKind::Column,
        name,
        Some(&what),
        format!(
            "polic{plural} {list} filter{} {} rows by {what}, and no usable index starts with it{order}{except}",
            if policies.len() == 1 { "s" } else { "" },
            count(rows)
        ),
    )
    .evidence("rows", rows)
    .evidence("bytes", table.bytes)
    .evidence("seq_scans", table.activity.seq_scans)
    .evidence("policies", policies.iter().cloned().collect::<Vec<_>>())
    .fix(sql);
    if let Some(index) = held {
        found = found.evidence("held_by", index.name.to_string());
    }
    let reorder = held.filter(|index| index.constraint.is_none() && !index.unique);
    let reorder = reorder.map(|index| {
        format!(
            "It takes the place of {}, where no statement searches by the first column of that alone.",
            index.name
        )
    });
    let words: Vec<String> = words.into_iter().chain(reorder).collect();
    if !words.is_empty() {
        found = found.advice(words.join(" "));
    }
    sink.report(found);
}
