use super::sink::{Found, count};
use super::{Category, FEW_ROWS, Facts, Sink, by_rows, rule};
use crate::model::{ObjectKind, Severity, Volatility};
use crate::sql::qual::Frequency;
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A policy calls a volatile function: one declared so, or one that was never declared otherwise, for that is
    /// the default.
    ///
    /// ## Why it matters
    /// The server must run it for every row, may not use its result to search an index, and keeps the statement from
    /// running in parallel.
    ///
    /// ## What to do
    /// Where the function only reads, declare it `stable`, then wrap calls that do not depend on the row. Where it
    /// writes, draws random numbers or reads the clock, a policy is the wrong place for it; wrapping it would change
    /// what it does.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid not null);
    /// insert into doc select n, gen_random_uuid() from generate_series(1, 20000) n;
    /// create function me() returns uuid language plpgsql as $$ begin return auth.uid(); end $$;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = me());
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid not null);
    /// insert into doc select n, gen_random_uuid() from generate_series(1, 20000) n;
    /// create function me() returns uuid language plpgsql stable as $$ begin return auth.uid(); end $$;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select me()));
    /// ```
    "volatile-policy-function" {
        summary: "a policy calls a volatile function",
        category: Category::Speed,
        also: &["pgrls PERF002"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in &facts.policies {
        let mut names = BTreeSet::new();
        let mut own = Vec::new();
        let mut rows: f64 = 0.0;
        for (_, qual) in policy.quals() {
            for call in &qual.calls {
                let once = qual.frequency(call) == Frequency::Once;
                if once || facts.volatility(call) != Some(Volatility::Volatile) {
                    continue;
                }
                rows = rows.max(facts.rows_per_statement(policy, qual, call));
                for function in facts.functions(call) {
                    names.insert(function.name.to_string());
                    if !call.schema.is_empty() {
                        let name = crate::sql::quote::name(&function.name);
                        own.push(format!(
                            "alter function {name}({}) stable;",
                            function.arguments
                        ));
                    }
                }
            }
        }
        if rows < FEW_ROWS || names.is_empty() {
            continue;
        }
        own.sort();
        own.dedup();
        let list = names.iter().cloned().collect::<Vec<_>>().join(", ");
        let advice = if own.is_empty() {
            "Its result differs from call to call: wrapping it in a sub-select would change which rows are seen."
                .to_owned()
        } else {
            format!(
                "Only if it reads and nothing else (no writes, no random numbers, no clock): {} Then wrap the calls that \
                 do not depend on the row. While it is volatile, wrapping would change what it does.",
                own.join(" ")
            )
        };
        sink.report(
            Found::new(
                by_rows(rows).min(Severity::Warning),
                ObjectKind::Policy,
                policy.name,
                Some(&policy.policy.name),
                format!(
                    "calls volatile {list}: up to {} times a statement, and never as an index condition",
                    count(rows)
                ),
            )
            .evidence("functions", names.into_iter().collect::<Vec<_>>())
            .evidence("rows", rows)
            .advice(advice),
        );
    }
}
