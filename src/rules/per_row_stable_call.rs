use super::sink::{Found, count};
use super::{Category, FEW_ROWS, Facts, PolicyFacts, Sink, by_rows, rule};
use crate::model::{ObjectKind, Severity, Volatility};
use crate::sql::inline;
use crate::sql::qual::{Call, Frequency, Qual};
use std::collections::BTreeMap;

rule! {
    /// ## What it finds
    /// A policy calls a stable function that does not depend on the row, such as `auth.uid()` or `current_setting()`,
    /// outside of a sub-select. Each call is judged by its own place: one wrapped call does not excuse a bare one
    /// beside it. A bare call inside a sub-select that is run over a table counts as well.
    ///
    /// ## Why it matters
    /// The function runs once for each row that is read instead of once a statement. Where the comparison is answered
    /// by an index the call runs once anyway, and the finding is only a note.
    ///
    /// ## What to do
    /// Write `(select f())`. The value is then fixed before the scan. Wrapping also hides the value from the planner's
    /// list of common values, so compare plans for a big and a small tenant; `dbtune propose` does.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid, editor_id uuid);
    /// insert into doc select n, gen_random_uuid() from generate_series(1, 20000) n;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()) or editor_id = auth.uid());
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid, editor_id uuid);
    /// insert into doc select n, gen_random_uuid() from generate_series(1, 20000) n;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using ((select auth.uid()) in (owner_id, editor_id));
    /// ```
    "per-row-stable-call" {
        summary: "a policy evaluates a row-independent function for every row",
        category: Category::Speed,
        also: &["pgrls PERF001", "splinter 0003_auth_rls_initplan"],
        check: check,
    }
}

/// The transaction's start: read from memory, nothing to save.
const FREE: &[&str] = &["now", "transaction_timestamp", "statement_timestamp"];

struct Bare {
    clause: &'static str,
    rows: f64,
    /// Answered by an index condition as things are.
    indexed: bool,
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut known = BTreeMap::new();
    for policy in &facts.policies {
        let mut bare: BTreeMap<String, Bare> = BTreeMap::new();
        for (clause, qual) in policy.quals() {
            for (number, call) in qual.calls.iter().enumerate() {
                if !is_bare(facts, qual, call) {
                    continue;
                }
                let found = Bare {
                    clause,
                    rows: facts.rows_per_statement(policy, qual, call),
                    indexed: is_index_condition(facts, qual, number),
                };
                let name = spell(call);
                match bare.get(&name) {
                    Some(known) if known.indexed <= found.indexed && known.rows >= found.rows => {}
                    _ => {
                        bare.insert(name, found);
                    }
                }
            }
        }
        bare.retain(|_, found| found.rows >= FEW_ROWS);
        if !bare.is_empty() {
            let json = parses_json(facts, policy, &mut known);
            report(policy, &bare, json, sink);
        }
    }
}

fn is_bare(facts: &Facts<'_>, qual: &Qual, call: &Call) -> bool {
    call.columns.is_empty()
        && qual.frequency(call) != Frequency::Once
        && facts.volatility(call) == Some(Volatility::Stable)
        && !(call.schema.is_empty() && FREE.contains(&call.name.as_str()))
}

/// Whether the call's value is what an index on the row's column is searched for.
fn is_index_condition(facts: &Facts<'_>, qual: &Qual, number: usize) -> bool {
    let row = qual.scopes.first();
    row.is_some_and(|scope| facts.indexable(scope, &scope.filter))
        && qual
            .tests()
            .iter()
            .filter(|(_, test)| test.calls.contains(&number))
            .all(|(at, test)| {
                let column = test.form.index_column();
                *at == 0
                    && column
                        .zip(row)
                        .is_some_and(|(column, scope)| facts.index_leads(column, scope))
            })
}

fn spell(call: &Call) -> String {
    if call.schema.is_empty() {
        format!("{}()", call.name)
    } else {
        format!("{}.{}()", call.schema, call.name)
    }
}

/// Whether the claims are parsed as JSON in a bare call, or in the policy itself outside of sub-selects. `known` keeps the
/// answer for each text: many tables have the same policy.
fn parses_json<'a>(
    facts: &Facts<'a>,
    policy: &PolicyFacts<'a>,
    known: &mut BTreeMap<&'a str, bool>,
) -> bool {
    let own = [&policy.policy.using, &policy.policy.check];
    let own = own.into_iter().flatten().map(String::as_str);
    let called = policy.quals().flat_map(|(_, qual)| {
        let bare = qual.calls.iter().filter(|call| is_bare(facts, qual, call));
        bare.flat_map(|call| facts.functions(call))
            .filter(|f| f.language == "sql")
            .map(|f| f.body.as_str())
    });
    let mut texts = own.chain(called);
    texts.any(|text| {
        *known
            .entry(text)
            .or_insert_with(|| inline::parses_json(text))
    })
}

fn report(
    policy: &PolicyFacts<'_>,
    bare: &BTreeMap<String, Bare>,
    json: bool,
    sink: &mut Sink<'_>,
) {
    let Some(rows) = bare.values().map(|b| b.rows).max_by(f64::total_cmp) else {
        return;
    };
    let calls = bare.keys().cloned().collect::<Vec<_>>().join(", ");
    let checks_only = bare.values().all(|b| b.clause == "WITH CHECK");
    let indexed = bare.values().all(|b| b.indexed);
    let (severity, how) = if indexed {
        (
            Severity::Note,
            "an index answers the comparison now, other plans would call it for each row"
                .to_owned(),
        )
    } else if checks_only {
        (Severity::Note, "once for each row written".to_owned())
    } else {
        (
            by_rows(rows),
            format!("up to {} times a statement", count(rows)),
        )
    };
    let wrapped = bare
        .keys()
        .map(|call| format!("(select {call})"))
        .collect::<Vec<_>>()
        .join(", ");
    let clauses: Vec<_> = bare.values().map(|b| b.clause).collect();
    sink.report(
        Found::new(
            severity,
            ObjectKind::Policy,
            policy.name,
            Some(&policy.policy.name),
            format!(
                "calls {calls} without a sub-select around it: {how}{}",
                if json {
                    ", parsing the claims as JSON each time"
                } else {
                    ""
                }
            ),
        )
        .evidence("calls", bare.keys().cloned().collect::<Vec<_>>())
        .evidence("rows", rows)
        .evidence("clauses", clauses)
        .evidence("answered_by_index", indexed)
        .evidence("parses_json", json)
        .advice(format!(
            "Write {wrapped} in the policy, with the same arguments."
        )),
    );
}
