use super::measure::{float, percent};
use super::sink::count;
use super::traffic::{Traffic, Used, per_call};
use super::{Category, Facts, Sink, rule};
use crate::model::{Command, Severity, Table};
use crate::sql::access;

rule! {
    /// ## What it finds
    /// A lookup by key, of one table and about one row, that is called ten times as often as any other kind of
    /// statement of its role, 10,000 times at least, and makes up a quarter or more of the role's calls. The other
    /// statements must be in use too, a hundred calls at least.
    ///
    /// ## Why it matters
    /// It looks like one query for a list and then one for each of its rows (N+1). Each call is fast, yet costs a round
    /// trip, and under row-level security the policies are set up and checked again.
    ///
    /// ## What to do
    /// Fetch the rows with the list by a join, or all at once by `where id = any ($1)`.
    /// ```sql,bad shown
    /// select * from doc where org = $1;           -- 1,000 calls, 100 rows each
    /// select * from author where id = $1;         -- 100,000 calls, a row each
    /// ```
    /// ```sql,good shown
    /// select * from doc where org = $1;           -- 1,000 calls, 100 rows each
    /// select * from author where id = any ($1);   -- 1,000 calls, 80 rows each
    /// ```
    "repeated-lookup" {
        summary: "single rows looked up one by one",
        category: Category::Workload,
        severity: Severity::Note,
        check: check,
    }
}

const MIN_CALLS: i64 = 10_000;
const MIN_SHARE: f64 = 25.0;
const TIMES: i64 = 10;
const MIN_LISTS: i64 = 100;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let Some(traffic) = facts.traffic() else {
        return;
    };
    for used in traffic.top().filter(|u| u.statement.calls >= MIN_CALLS) {
        if is_lookup(facts, used) {
            judge(facts, traffic, used, sink);
        }
    }
}

fn judge(facts: &Facts<'_>, traffic: &Traffic<'_>, used: &Used<'_>, sink: &mut Sink<'_>) {
    let own = used.statement;
    let same_role: Vec<_> = traffic
        .top()
        .filter(|u| u.statement.role == own.role)
        .collect();
    let calls: i64 = same_role.iter().map(|u| u.statement.calls).sum();
    let share = percent(float(own.calls), float(calls));
    // One list may have several lookups behind it.
    let busiest = same_role
        .iter()
        .filter(|u| u.statement.calls * TIMES <= own.calls || !is_lookup(facts, u))
        .max_by_key(|u| u.statement.calls);
    let Some(busiest) = busiest.filter(|b| b.statement.calls * TIMES <= own.calls) else {
        return;
    };
    // Beside a service that does nothing but look up keys, a few statements by hand are no list.
    if share < MIN_SHARE || busiest.statement.calls < MIN_LISTS {
        return;
    }
    // The list is the one that returned about as many rows as there were lookups.
    let list = same_role.iter().find(|u| {
        let rows = float(u.statement.rows);
        u.command == Command::Select
            && per_call(u.statement, u.statement.rows) >= 2.0
            && (0.8..=1.25).contains(&(rows / float(own.calls)))
    });
    let behind = list.map_or_else(String::new, |u| {
        format!(", about as many as the rows of `{}`", u.short())
    });
    let time = traffic.share(own.total_ms);
    sink.report(
        used.found(
            if time >= 10.0 { Severity::Warning } else { Severity::Note },
            format!(
                "{} calls for one row each, {share:.0} % of the role's, {:.0} times as many as its next statement{behind}",
                count(float(own.calls)),
                float(own.calls) / float(busiest.statement.calls.max(1))
            ),
        )
        .evidence("calls_share_percent", share)
        .evidence("time_share_percent", time)
        .evidence("next_calls", busiest.statement.calls)
        .evidence("list", list.map(|u| u.text)),
    );
}

/// One row of one table, by a key of it.
fn is_lookup(facts: &Facts<'_>, used: &Used<'_>) -> bool {
    let mut tables = used.tables.iter();
    let (Some(name), None) = (tables.next(), tables.next()) else {
        return false;
    };
    let rows = per_call(used.statement, used.statement.rows);
    if used.command != Command::Select || used.locking || rows > 1.5 {
        return false;
    }
    let Some(table) = facts.catalog.table(name) else {
        return false;
    };
    let accesses = access::of_statement(used.text, facts.catalog).unwrap_or_default();
    let [only] = accesses.as_slice() else {
        return false;
    };
    only.ranges.is_empty() && has_key(table, &only.equals)
}

/// Whether a unique index lies within the columns, or a foreign key is one of them.
fn has_key(table: &Table, columns: &[String]) -> bool {
    let unique = table
        .indexes
        .iter()
        .filter(|i| i.unique && i.valid)
        .any(|index| {
            let mut keys = index.keys.iter();
            keys.all(|k| k.column.as_ref().is_some_and(|c| columns.contains(c)))
        });
    let mut foreign = table.foreign_keys.iter();
    unique || foreign.any(|key| key.columns.iter().all(|c| columns.contains(c)))
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::{Catalog, Index, IndexKey, Statement};
    use crate::rules::traffic::fixture::{catalog, doc, judge, statement};

    fn keyed() -> Catalog {
        let mut catalog = catalog();
        let table = catalog.tables.get_mut(&doc()).unwrap();
        table.indexes.push(Index {
            unique: true,
            valid: true,
            keys: vec![IndexKey {
                column: Some("id".to_owned()),
                ..IndexKey::default()
            }],
            ..Index::default()
        });
        catalog
    }

    #[test]
    fn lookups_behind_a_list() {
        let list = Statement {
            rows: 100_000,
            ..statement("select * from doc where org = $1", 1000, 5.0)
        };
        let lookup = statement("select * from doc where id = $1", 100_000, 0.05);
        let found = judge(&RULE, &keyed(), &[list.clone(), lookup.clone()]);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("100 times as many as its next statement, about as many as the rows of `select * from doc where org = $1`"), "{found:?}");
        assert_eq!(
            judge(&RULE, &keyed(), std::slice::from_ref(&lookup)),
            [],
            "a key-value service"
        );
        assert_eq!(
            judge(&RULE, &catalog(), &[list.clone(), lookup.clone()]),
            [],
            "by no key"
        );
        let busy = statement("update doc set seen = 1 where id = $1", 50_000, 0.1);
        assert_eq!(
            judge(&RULE, &keyed(), &[list, lookup, busy]),
            [],
            "one lookup each request"
        );
    }
}
