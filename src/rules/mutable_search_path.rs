use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{Function, ObjectKind, Severity};
use crate::sql::{body, quote};
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// A security-definer function that a policy calls and that has no search path of its own.
    ///
    /// ## Why it matters
    /// It resolves names by the caller's search path. A caller who can create a temporary table, which everybody can by
    /// default, puts one of the same name in front and decides what the policy answers.
    ///
    /// ## What to do
    /// Qualify the names in the body, then set an empty search path. Only then: a body with unqualified names stops
    /// working.
    /// ```sql,bad
    /// create table roles (user_id uuid, role text);
    /// create table doc (id int primary key);
    /// create function is_admin() returns boolean language sql stable security definer
    ///   as $$ select exists (select from roles r where r.user_id = auth.uid() and r.role = 'admin') $$;
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app using ((select is_admin()));
    /// ```
    /// ```sql,good
    /// create table roles (user_id uuid, role text);
    /// create table doc (id int primary key);
    /// create function is_admin() returns boolean language sql stable security definer set search_path = ''
    ///   as $$ select exists (select from public.roles r where r.user_id = auth.uid() and r.role = 'admin') $$;
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app using ((select is_admin()));
    /// ```
    "mutable-search-path" {
        summary: "a policy's security-definer function trusts the caller's search path",
        category: Category::Safety,
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut found: BTreeMap<u32, (&Function, BTreeSet<String>)> = BTreeMap::new();
    for policy in &facts.policies {
        for call in policy.quals().flat_map(|(_, qual)| &qual.calls) {
            for function in facts.functions(call) {
                let fixed = function
                    .config
                    .iter()
                    .any(|c| c.starts_with("search_path="));
                if function.security_definer && !fixed && function.language != "c" {
                    let (_, policies) = found
                        .entry(function.oid)
                        .or_insert_with(|| (function, BTreeSet::new()));
                    policies.insert(format!("{} on {}", policy.policy.name, policy.name));
                }
            }
        }
    }
    for (function, policies) in found.into_values() {
        report(function, policies, sink);
    }
}

fn report(function: &Function, policies: BTreeSet<String>, sink: &mut Sink<'_>) {
    let list = policies.iter().cloned().collect::<Vec<_>>().join(", ");
    let bare = body::mentions(&function.body)
        .filter(|_| function.language == "sql")
        .map(|m| {
            m.relations
                .into_iter()
                .filter(|(schema, _)| schema.is_empty())
        });
    let bare: Vec<String> = bare.into_iter().flatten().map(|(_, name)| name).collect();
    let first = if bare.is_empty() {
        "Qualify every name in its body".to_owned()
    } else {
        format!("Qualify {} in its body", bare.join(", "))
    };
    sink.report(
        Found::new(
            Severity::Warning,
            ObjectKind::Function,
            &function.name,
            None,
            format!(
                "is security definer without a search path of its own: a caller's temporary objects can decide {list}"
            ),
        )
        .evidence("policies", policies.into_iter().collect::<Vec<_>>())
        .evidence("unqualified", bare)
        .advice(format!(
            "{first}, then: alter function {}({}) set search_path = '';",
            quote::name(&function.name),
            function.arguments
        )),
    );
}
