use super::exposure::{self, Trust};
use super::sink::Found;
use super::{Category, Facts, PolicyFacts, Sink, rule, tested};
use crate::model::{Function, ObjectKind, Severity};
use crate::sql::quote;
use crate::sql::touches::Touches;
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// A security-definer function that a policy or a trigger calls, or that the application's roles may call, and that
    /// either has no search path of its own, or has one in which temporary objects come first although its body names
    /// tables without their schema.
    ///
    /// ## Why it matters
    /// Without a search path of its own it resolves names by the caller's. With one, temporary tables still come before
    /// everything else unless `pg_temp` stands at its end. A caller who can create a temporary table, which everybody
    /// can by default, puts one of the same name in front and decides what the owner's code reads or what the policy
    /// answers. A function that runs as its caller gives nothing away by that.
    ///
    /// ## What to do
    /// Qualify the names in the body, then set an empty search path; a body with unqualified names stops working with
    /// one. Or put `pg_temp` at the end of the search path it has.
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
        summary: "a security-definer function resolves names as its caller wants",
        category: Category::Safety,
        also: &["splinter 0011_function_search_path_mutable", "pgrls SEC015"],
        check: check,
    }
}

/// Who makes the function run.
#[derive(Default)]
struct Callers {
    policies: BTreeSet<String>,
    triggers: BTreeSet<String>,
    roles: Vec<String>,
    who: String,
    trust: Option<Trust>,
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut policies: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for policy in &facts.policies {
        for call in policy.quals().flat_map(|(_, qual)| &qual.calls) {
            for function in facts.functions(call).iter().filter(|f| f.security_definer) {
                let names = policies.entry(function.oid).or_default();
                names.insert(described(policy));
            }
        }
    }
    let mut triggers: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for (name, table) in &facts.catalog.tables {
        for trigger in table.triggers.iter().filter(|t| t.enabled) {
            let names = triggers.entry(&trigger.function).or_default();
            names.insert(format!("{} on {name}", trigger.name));
        }
    }
    for function in facts
        .catalog
        .functions
        .iter()
        .filter(|f| f.security_definer)
    {
        let platform = exposure::platform(&function.name.schema);
        let built = matches!(function.language.as_str(), "c" | "internal");
        if built || platform || function.extension.is_some() {
            continue;
        }
        let mut callers = Callers {
            policies: policies.remove(&function.oid).unwrap_or_default(),
            ..Callers::default()
        };
        if function.returns == "trigger" {
            callers.triggers = triggers.get(&function.name).cloned().unwrap_or_default();
        } else if function.returns != "event_trigger" {
            let reach = facts.exposure.of_function(function);
            callers.who = exposure::who(&reach);
            callers.trust = (!reach.is_empty()).then(|| exposure::least(&reach));
            callers.roles = exposure::roles(&reach)
                .into_iter()
                .map(str::to_owned)
                .collect();
        }
        if !callers.policies.is_empty() || !callers.triggers.is_empty() || callers.trust.is_some() {
            judge(function, callers, sink);
        }
    }
}

fn described(policy: &PolicyFacts<'_>) -> String {
    format!("{} on {}", policy.policy.name, policy.name)
}

fn judge(function: &Function, callers: Callers, sink: &mut Sink<'_>) {
    let touches = Touches::of_function(function);
    let bare: Vec<String> = touches
        .iter()
        .flat_map(Touches::relations)
        .filter(|(schema, _)| schema.is_empty())
        .map(|(_, name)| name.to_owned())
        .collect();
    let call = format!("{}({})", quote::name(&function.name), function.arguments);
    let by = by(&callers);
    let (message, fix, advice) = match tested::path(function) {
        None => {
            let first = if bare.is_empty() {
                "Qualify every name in its body".to_owned()
            } else {
                format!("Qualify {} in its body", bare.join(", "))
            };
            (
                format!(
                    "is security definer without a search path of its own: temporary objects of a caller can decide what it does for {by}"
                ),
                None,
                Some(format!(
                    "{first}, then: alter function {call} set search_path = '';"
                )),
            )
        }
        Some(path) => {
            let unsure = touches.is_none_or(|t| t.opaque);
            let last = path.last().is_some_and(|p| *p == "pg_temp");
            // An empty path finds nothing but what is qualified, or temporary: such a body would not work at all.
            if path.is_empty() || last || bare.is_empty() && !unsure {
                return;
            }
            let kept = path
                .iter()
                .filter(|p| **p != "pg_temp")
                .map(|p| quote::ident(p));
            let kept: Vec<String> = kept.chain(["pg_temp".to_owned()]).collect();
            let names = if bare.is_empty() {
                "names that it makes up as it runs".to_owned()
            } else {
                bare.join(", ")
            };
            (
                format!(
                    "is security definer and looks for {names} among the caller's temporary tables first, when it runs for {by}"
                ),
                Some(format!(
                    "alter function {call} set search_path = {};",
                    kept.join(", ")
                )),
                None,
            )
        }
    };
    let severity = match callers.trust {
        _ if !callers.policies.is_empty() => Severity::Warning,
        Some(Trust::Anonymous | Trust::SignedIn) => Severity::Warning,
        _ => Severity::Note,
    };
    let mut found = Found::new(
        severity,
        ObjectKind::Function,
        &function.name,
        None,
        message,
    )
    .evidence("arguments", function.arguments.clone())
    .evidence("policies", callers.policies.into_iter().collect::<Vec<_>>())
    .evidence("triggers", callers.triggers.into_iter().collect::<Vec<_>>())
    .evidence("roles", callers.roles)
    .evidence("unqualified", bare);
    if let Some(fix) = fix {
        found = found.fix(fix);
    }
    if let Some(advice) = advice {
        found = found.advice(advice);
    }
    sink.report(found);
}

fn by(callers: &Callers) -> String {
    let named: Vec<&str> = callers
        .policies
        .union(&callers.triggers)
        .map(String::as_str)
        .collect();
    if named.is_empty() {
        callers.who.clone()
    } else {
        named.join(", ")
    }
}
