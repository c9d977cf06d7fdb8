use super::sink::Found;
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Function, ObjectKind, Severity};
use crate::sql::quote;
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A policy calls a function that a role it applies to may not execute, and the role has access to the table.
    ///
    /// ## Why it matters
    /// Every statement of that role on the table fails with "permission denied for function" (SQLSTATE 42501).
    ///
    /// ## What to do
    /// Grant EXECUTE to the role. A function that an API exposes by its schema is then callable there too: keep such
    /// functions in a schema that is not exposed.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid);
    /// grant select on doc to app;
    /// create function me() returns uuid language sql stable security definer set search_path = ''
    ///   as $$ select auth.uid() $$;
    /// revoke execute on function me() from public;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select me()));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid);
    /// grant select on doc to app;
    /// create function me() returns uuid language sql stable security definer set search_path = ''
    ///   as $$ select auth.uid() $$;
    /// revoke execute on function me() from public;
    /// grant execute on function me() to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select me()));
    /// ```
    "policy-function-not-executable" {
        summary: "a policy calls a function that its role may not execute",
        category: Category::Safety,
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.policies.iter().filter(|p| p.table.rls_enabled) {
        let roles = facts.roles_of(policy);
        let mut done = BTreeSet::new();
        for call in policy.quals().flat_map(|(_, qual)| &qual.calls) {
            // Several overloads may fit: then it is not certain which one is called.
            let &[function] = facts.functions(call).as_slice() else {
                continue;
            };
            let denied: Vec<&str> = roles
                .iter()
                .copied()
                .filter(|role| !facts.may_execute(function, role))
                .collect();
            if !denied.is_empty() && done.insert(function.oid) {
                report(policy, function, &denied, sink);
            }
        }
    }
}

fn report(policy: &PolicyFacts<'_>, function: &Function, denied: &[&str], sink: &mut Sink<'_>) {
    let grantees = denied
        .iter()
        .map(|role| quote::ident(role))
        .collect::<Vec<_>>()
        .join(", ");
    sink.report(
        Found::new(
            Severity::Error,
            ObjectKind::Policy,
            policy.name,
            Some(&policy.policy.name),
            format!(
                "calls {}, which {} may not execute: its statements on the table fail with 42501",
                function.name,
                denied.join(", ")
            ),
        )
        .evidence("function", function.name.to_string())
        .evidence("roles", denied.to_vec())
        .fix(format!(
            "grant execute on function {}({}) to {grantees};",
            quote::name(&function.name),
            function.arguments
        )),
    );
}
