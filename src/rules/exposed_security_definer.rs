use super::exposure::{self, Reach, Trust};
use super::sink::Found;
use super::{Category, Facts, Sink, rule, tested};
use crate::model::{Function, ObjectKind, Severity};
use crate::sql::quote;
use crate::sql::touches::Touches;
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// A security-definer function that a role of the application may call, where its owner bypasses row-level security
    /// altogether or the policies of a table that the body names. EXECUTE is everybody's unless revoked. A function that
    /// a policy calls must be executable by the policy's roles: those are left out, and so are trigger functions, which
    /// nobody can call.
    ///
    /// ## Why it matters
    /// Inside, no policy holds the caller. An API server offers every function in its schemas to whoever may execute it.
    ///
    /// ## What to do
    /// Revoke EXECUTE from PUBLIC and grant it to those who need it; make it `security invoker` where the caller's own
    /// rights are enough; or let it check the caller and move it out of the schemas that the API serves.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// create function all_docs() returns setof public.doc language sql stable security definer set search_path = ''
    ///   as $$ select * from public.doc $$;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// create function all_docs() returns setof public.doc language sql stable security definer set search_path = ''
    ///   as $$ select * from public.doc $$;
    /// revoke execute on function all_docs() from public;
    /// ```
    "exposed-security-definer" {
        summary: "the application's roles may call a function that no policy holds",
        category: Category::Safety,
        also: &[
            "splinter 0028_anon_security_definer_function_executable",
            "splinter 0029_authenticated_security_definer_function_executable",
            "pgrls SEC014",
            "pgrls SEC042",
        ],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut needed: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    for policy in &facts.policies {
        for call in policy.quals().flat_map(|(_, qual)| &qual.calls) {
            for function in facts.functions(call) {
                let roles = policy.policy.roles.iter().map(String::as_str);
                needed.entry(function.oid).or_default().extend(roles);
            }
        }
    }
    for function in &facts.catalog.functions {
        let ours = function.extension.is_none() && !exposure::platform(&function.name.schema);
        let callable = !matches!(function.returns.as_str(), "trigger" | "event_trigger");
        if !function.security_definer || !ours || !callable {
            continue;
        }
        let mut reach = facts.exposure.of_function(function);
        let of_policy = needed.get(&function.oid);
        if let Some(roles) = of_policy {
            reach = beyond(facts, function, reach, roles);
        }
        if !reach.is_empty() {
            judge(facts, function, &reach, of_policy.is_some(), sink);
        }
    }
}

/// Those of them whom no policy needs to call it for. PUBLIC stands for the outsiders that are left.
fn beyond<'a>(
    facts: &Facts<'a>,
    function: &Function,
    reach: Vec<Reach<'a>>,
    needed: &BTreeSet<&str>,
) -> Vec<Reach<'a>> {
    let needs = |role: &str| {
        let mut roles = needed.iter();
        roles.any(|needed| *needed == "public" || facts.acts_as(role, needed))
    };
    let left = reach.into_iter().filter_map(|mut r| {
        if r.role != "public" {
            return (!needs(r.role)).then_some(r);
        }
        let others = facts.exposure.everybody(&function.name.schema);
        r.trust = others
            .filter(|(role, _)| !needs(role))
            .map(|(_, trust)| trust)
            .min()?;
        (!needed.contains("public")).then_some(r)
    });
    left.collect()
}

fn judge(
    facts: &Facts<'_>,
    function: &Function,
    reach: &[Reach<'_>],
    of_policy: bool,
    sink: &mut Sink<'_>,
) {
    let touches = Touches::of_function(function);
    let named = touches
        .as_ref()
        .map(|t| tested::named(facts, function, t))
        .unwrap_or_default();
    let open = tested::unguarded(facts, &function.owner, named.into_iter());
    let owner = facts.catalog.roles.get(&function.owner);
    let above = owner.is_some_and(|r| r.superuser || r.bypass_rls);
    let trust = exposure::least(reach);
    // Without a table that has policies there is nothing to bypass but the grants.
    if open.is_empty() && (!above || trust == Trust::Role) {
        return;
    }
    let asks = touches.is_some_and(|t| tested::asks_session(facts, &t));
    let severity = match trust {
        // What tells a policy who asks tells a stranger that he is nobody.
        _ if of_policy && asks => Severity::Note,
        Trust::Anonymous if !open.is_empty() && !asks => Severity::Error,
        Trust::Anonymous => Severity::Warning,
        _ if !open.is_empty() && !asks => Severity::Warning,
        _ => Severity::Note,
    };
    let tables: Vec<String> = open.iter().map(ToString::to_string).collect();
    let what = if tables.is_empty() {
        "whom no policy holds".to_owned()
    } else {
        format!("whom the policies of {} do not hold", tables.join(", "))
    };
    let checks = if asks {
        "; its body asks who calls"
    } else {
        ""
    };
    let call = format!("{}({})", quote::name(&function.name), function.arguments);
    let from = exposure::roles(reach).join(", ");
    sink.report(
        Found::new(
            severity,
            ObjectKind::Function,
            &function.name,
            None,
            format!(
                "{} may call it and act as {}, {what}{checks}",
                exposure::who(reach),
                function.owner
            ),
        )
        .evidence("arguments", function.arguments.clone())
        .evidence("roles", exposure::roles(reach))
        .evidence("owner", function.owner.clone())
        .evidence("tables", tables)
        .evidence("asks_caller", asks)
        .advice(if of_policy {
            format!(
                "Grant execute on function {call} to the roles of the policies that call it, then: revoke execute on \
                 function {call} from {from};"
            )
        } else {
            format!(
                "revoke execute on function {call} from {from}; and grant it to those who need it, or alter function \
                 {call} security invoker;"
            )
        }),
    );
}
