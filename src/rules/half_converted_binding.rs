use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::Severity;
use crate::sql::expr::{Expr, Select};
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A policy that reads a setting with `current_setting(…, true)`, in a database where other policies read the same
    /// setting through a function that raises an error when it is missing.
    ///
    /// ## Why it matters
    /// The function was made so that a request without a tenant fails instead of looking like an empty result. Where a
    /// policy still reads the setting itself, it does not.
    ///
    /// ## What to do
    /// Call the function there as well, unless the table is meant to be read before a tenant is known.
    /// ```sql,bad
    /// create function require_tenant() returns int language plpgsql stable as $$
    /// begin
    ///   if current_setting('app.tenant', true) is null then raise exception 'no tenant'; end if; -- or empty
    ///   return current_setting('app.tenant')::int; end $$;
    /// create table doc (id int primary key, tenant_id int not null);
    /// create table page (id int primary key, tenant_id int not null);
    /// alter table doc enable row level security;
    /// alter table page enable row level security;
    /// create policy own on doc for select to app using (tenant_id = (select require_tenant()));
    /// create policy own on page for select to app using (tenant_id = (select current_setting('app.tenant', true)::int));
    /// ```
    /// ```sql,good
    /// create function require_tenant() returns int language plpgsql stable as $$
    /// begin
    ///   if current_setting('app.tenant', true) is null then raise exception 'no tenant'; end if; -- or empty
    ///   return current_setting('app.tenant')::int; end $$;
    /// create table doc (id int primary key, tenant_id int not null);
    /// create table page (id int primary key, tenant_id int not null);
    /// alter table doc enable row level security;
    /// alter table page enable row level security;
    /// create policy own on doc for select to app using (tenant_id = (select require_tenant()));
    /// create policy own on page for select to app using (tenant_id = (select require_tenant()));
    /// ```
    "half-converted-binding" {
        summary: "some policies fail without a tenant, this one looks empty",
        category: Category::Safety,
        also: &["pgrls SEC055"],
        check: check,
    }
}

/// What functions that raise without a setting are called, where their bodies do not tell.
const MARK: &str = "require_";

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut functions = BTreeSet::new();
    let mut guarded = BTreeSet::new();
    for policy in facts.in_force() {
        for call in policy.quals().flat_map(|(_, q)| &q.calls) {
            for function in facts.functions(call) {
                let body = facts.body(function);
                let raises = body.is_some_and(|b| b.raises && facts.is_asking(function));
                if raises || function.name.name.contains(MARK) {
                    functions.insert(function.name.to_string());
                    let queries = body.iter().flat_map(|b| &b.queries);
                    guarded.extend(queries.flat_map(Select::parts).flat_map(settings));
                }
            }
        }
    }
    if functions.is_empty() {
        return;
    }
    for policy in facts.in_force().filter(|p| !converted(p, &functions)) {
        let mut silent: BTreeSet<&str> =
            policy.quals().flat_map(|(_, q)| silent(&q.expr)).collect();
        silent.retain(|name| guarded.is_empty() || guarded.contains(*name));
        if !silent.is_empty() {
            report(policy, &functions, &silent, sink);
        }
    }
}

fn converted(policy: &PolicyFacts<'_>, functions: &BTreeSet<String>) -> bool {
    let mut calls = policy.quals().flat_map(|(_, q)| &q.calls);
    calls.any(|c| functions.contains(&format!("{}.{}", c.schema, c.name)))
}

/// Names of the settings that an expression reads.
fn settings(expr: &Expr) -> Vec<String> {
    let mut found = Vec::new();
    expr.walk(&mut |e| {
        if let Expr::Call(call) = e
            && call.schema.is_empty()
            && call.name == "current_setting"
        {
            found.extend(
                call.arguments
                    .first()
                    .and_then(Expr::text)
                    .map(str::to_owned),
            );
        }
    });
    found
}

/// Names of those for which a missing one is NULL.
fn silent(expr: &Expr) -> Vec<&str> {
    let mut found = Vec::new();
    expr.walk(&mut |e| {
        if let Expr::Call(call) = e
            && call.schema.is_empty()
            && call.name == "current_setting"
            && let [name, Expr::Bool(true)] = call.arguments.as_slice()
        {
            found.extend(name.text());
        }
    });
    found
}

fn report(
    policy: &PolicyFacts<'_>,
    functions: &BTreeSet<String>,
    settings: &BTreeSet<&str>,
    sink: &mut Sink<'_>,
) {
    let functions: Vec<String> = functions.iter().cloned().collect();
    let settings: Vec<&str> = settings.iter().copied().collect();
    sink.report(
        policy
            .found(
                Severity::Note,
                format!(
                    "reads {} itself, where other policies call {}: without it this table looks empty instead of failing",
                    settings.join(", "),
                    functions.join(", ")
                ),
            )
            .evidence("settings", settings)
            .evidence("functions", functions)
            .advice("Call the function here too, unless the table is read before a tenant is known."),
    );
}
