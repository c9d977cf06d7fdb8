use super::sink::{Found, count};
use super::{Category, FEW_ROWS, Facts, PolicyFacts, Sink, by_rows, rule};
use crate::model::{Function, ObjectKind, Severity};
use crate::sql::inline;
use crate::sql::qual::{Call, Frequency, Qual};
use std::collections::BTreeMap;

rule! {
    /// ## What it finds
    /// A policy passes a column of the row to a function that the server cannot fold into the query: plpgsql,
    /// security definer, STRICT, with settings of its own, or with a query inside.
    ///
    /// ## Why it matters
    /// The function runs for every row of the table, a query inside it too, and no index can be used. Wrapping it in a
    /// sub-select does not help, because its argument changes with the row.
    ///
    /// ## What to do
    /// Turn the question around: compute the set of permitted values once and compare the column with it.
    /// ```sql,bad
    /// create table item (id int primary key, location_id int not null);
    /// insert into item select n, n % 500 from generate_series(1, 20000) n;
    /// create table grants (user_id uuid, location_id int);
    /// create function can_access(loc int) returns boolean language sql stable security definer
    ///   as $$ select exists (select from public.grants g where g.location_id = loc and g.user_id = auth.uid()) $$;
    /// alter table item enable row level security;
    /// create policy p on item for select to app using (can_access(location_id));
    /// ```
    /// ```sql,good
    /// create table item (id int primary key, location_id int not null);
    /// insert into item select n, n % 500 from generate_series(1, 20000) n;
    /// create index on item (location_id);
    /// create table grants (user_id uuid, location_id int);
    /// create function my_locations() returns setof int language sql stable security definer
    ///   as $$ select g.location_id from public.grants g where g.user_id = auth.uid() $$;
    /// alter table item enable row level security;
    /// create policy p on item for select to app using (location_id = any (array(select my_locations())));
    /// ```
    "per-row-column-call" {
        summary: "a policy runs a function of the row's columns for every row",
        category: Category::Speed,
        also: &["pgrls PERF004"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in &facts.policies {
        let mut found: BTreeMap<u32, (&Function, bool, Vec<String>)> = BTreeMap::new();
        for (clause, qual) in policy.quals() {
            for call in &qual.calls {
                if let Some(function) = costly(facts, qual, call) {
                    let columns = call.columns.iter().map(|c| c.column.clone()).collect();
                    let entry = found
                        .entry(function.oid)
                        .or_insert((function, false, columns));
                    entry.1 |= clause == "USING" && policy.reads();
                }
            }
        }
        for (function, reads, columns) in found.into_values() {
            report(facts, policy, function, reads, &columns, sink);
        }
    }
}

/// The function behind a call that runs for each row because of its arguments.
fn costly<'a>(facts: &Facts<'a>, qual: &Qual, call: &Call) -> Option<&'a Function> {
    let per_row = match qual.frequency(call) {
        Frequency::PerRow => call.columns.iter().any(|c| c.scope == 0),
        Frequency::Once | Frequency::PerInnerRow(_) => false,
    };
    if !per_row || call.schema.is_empty() {
        return None;
    }
    let function = *facts.functions(call).first()?;
    let indexed = call.columns.iter().any(|c| {
        c.table
            .as_ref()
            .is_some_and(|t| facts.expression_indexed(t, &c.column))
    });
    let folded = inline::blockers(function, facts.catalog).is_empty();
    (function.language != "c" && !folded && !indexed).then_some(function)
}

fn report(
    facts: &Facts<'_>,
    policy: &PolicyFacts<'_>,
    function: &Function,
    reads: bool,
    columns: &[String],
    sink: &mut Sink<'_>,
) {
    let rows = policy.table.row_estimate();
    if rows < FEW_ROWS {
        return;
    }
    let (severity, when) = if reads {
        (by_rows(rows), format!("for each of {} rows", count(rows)))
    } else {
        (
            by_rows(rows).min(Severity::Warning),
            "for each row written".to_owned(),
        )
    };
    let blockers = inline::blockers(function, facts.catalog);
    let definer = if function.security_definer {
        "security definer "
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
                "runs the {definer}{} function {}({}) {when}",
                function.language,
                function.name,
                columns.join(", ")
            ),
        )
        .evidence("function", function.name.to_string())
        .evidence("columns", columns.to_vec())
        .evidence("language", function.language.clone())
        .evidence("security_definer", function.security_definer)
        .evidence("rows", rows)
        .evidence("not_folded_because", blockers.clone())
        .advice(advice(function, &blockers, columns)),
    );
}

fn advice(function: &Function, blockers: &[&str], columns: &[String]) -> String {
    // A body that only compares would be folded, and could then be an index condition, were it not for one clause.
    let clause = match blockers {
        ["STRICT, with a body that could answer for NULL"] => "STRICT",
        ["a SET clause"] => "its SET clause (with every name in its body qualified)",
        ["it is declared IMMUTABLE, which its body is not"] => {
            return format!(
                "Declare {} STABLE, which it is: the server then puts its text in place of the call.",
                function.name
            );
        }
        _ => {
            return format!(
                "Compute the permitted values once: {} = any (array(select …)) with an index on the column. \
                 `dbtune propose` writes it where the function's body allows.",
                columns.first().map_or("column", String::as_str)
            );
        }
    };
    format!(
        "Without {clause}, the server would put the text of {} in place of the call.",
        function.name
    )
}
