use super::meaning::table_of;
use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{Function, ObjectKind, Severity, Volatility};
use crate::sql::expr::{Body, Expr, Select};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A function that policies call, declared IMMUTABLE, whose body asks who asks (a setting, `auth.uid()`,
    /// `current_user`) or reads a table.
    ///
    /// ## Why it matters
    /// The server computes an immutable call once, when it plans, and keeps the value in the plan. A plan that is used
    /// again, by a prepared statement, a function or the next user of a pooled connection, then answers for the user
    /// who came first: one user is shown another's rows.
    ///
    /// ## What to do
    /// Declare it STABLE. It is then evaluated anew for each statement, and as often as before where it is written as
    /// `(select f())`.
    /// ```sql,bad
    /// create table doc (id int primary key, tenant text);
    /// create function my_tenant() returns text language sql immutable as $$ select current_setting('app.tenant', true) $$;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (tenant = my_tenant());
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, tenant text);
    /// create function my_tenant() returns text language sql stable as $$ select current_setting('app.tenant', true) $$;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (tenant = my_tenant());
    /// ```
    "immutable-session-function" {
        summary: "a policy's function is computed once for all users",
        category: Category::Safety,
        severity: Severity::Error,
        also: &["pgrls SEC046"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (function, body) in facts.called_by_policies() {
        if function.volatility != Volatility::Immutable || function.extension.is_some() {
            continue;
        }
        let why = if facts.is_asking(function) {
            "depends on who asks".to_owned()
        } else if let Some(table) = table_read(facts, body) {
            format!("reads {table}")
        } else {
            continue;
        };
        report(facts, function, &why, sink);
    }
}

fn table_read(facts: &Facts<'_>, body: &Body) -> Option<String> {
    let inside = |select: &Select| {
        let mut found: Vec<_> = select.sources().into_iter().cloned().collect();
        for part in select.parts() {
            part.walk(&mut |e| {
                if let Expr::SubSelect(sub) = e {
                    found.extend(sub.select.sources().into_iter().cloned());
                }
            });
        }
        found
    };
    let mut sources = body.queries.iter().flat_map(inside);
    sources.find_map(|source| Some(table_of(facts, &source)?.0.to_string()))
}

fn report(facts: &Facts<'_>, function: &Function, why: &str, sink: &mut Sink<'_>) {
    let called = |policy: &&super::PolicyFacts<'_>| {
        let mut calls = policy.quals().flat_map(|(_, q)| &q.calls);
        calls.any(|call| facts.functions(call).iter().any(|f| f.oid == function.oid))
    };
    let policies: Vec<String> = facts
        .policies
        .iter()
        .filter(called)
        .map(|p| format!("{} on {}", p.policy.name, p.name))
        .collect();
    let of = if policies.is_empty() {
        "functions of policies".to_owned()
    } else {
        policies.join(", ")
    };
    sink.report(
        Found::new(
            Severity::Error,
            ObjectKind::Function,
            &function.name,
            None,
            format!("is declared immutable but {why}: a plan that is kept answers {of} for the user who came first"),
        )
        .evidence("policies", policies)
        .evidence("why", why)
        .fix(format!(
            "alter function {}({}) stable;",
            quote::name(&function.name),
            function.arguments
        )),
    );
}
