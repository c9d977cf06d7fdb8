use super::exposure::{self, Reach};
use super::sink::Found;
use super::{Category, Facts, Sink, rule, tested};
use crate::model::{Function, Name, ObjectKind, Severity, Table, Trigger};
use crate::sql::touches::Touches;
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A trigger that the application's roles can set off and whose function is security definer, where the policies of a
    /// table that the function reads or writes do not apply to its owner; or where its body builds statements as it
    /// runs, so that nobody can tell.
    ///
    /// ## Why it matters
    /// The function acts as its owner: it sees and changes rows that whoever set it off may not. What it copies into the
    /// new row, raises in a message or writes elsewhere shows them. A function that is not security definer acts as the
    /// caller, under the caller's policies, and is no matter.
    ///
    /// ## What to do
    /// Make the function `security invoker`, or hold what it reads against the row that set it off.
    /// ```sql,bad
    /// create table account (id int primary key, tenant int, balance numeric);
    /// alter table account enable row level security;
    /// create policy own on account to app using (tenant = (select current_setting('app.tenant')::int));
    /// create table request (id int primary key, tenant int, total numeric);
    /// create function add_total() returns trigger language plpgsql security definer set search_path = '' as
    ///   $$ begin new.total := (select sum(balance) from public.account); return new; end $$;
    /// create trigger total before insert on request for each row execute function add_total();
    /// grant select, insert on request to app;
    /// ```
    /// ```sql,good
    /// create table account (id int primary key, tenant int, balance numeric);
    /// alter table account enable row level security;
    /// create policy own on account to app using (tenant = (select current_setting('app.tenant')::int));
    /// create table request (id int primary key, tenant int, total numeric);
    /// create function add_total() returns trigger language plpgsql set search_path = '' as
    ///   $$ begin new.total := (select sum(balance) from public.account); return new; end $$;
    /// create trigger total before insert on request for each row execute function add_total();
    /// grant select, insert on request to app;
    /// ```
    "trigger-bypasses-policies" {
        summary: "a trigger's security-definer function works past the policies of whoever sets it off",
        category: Category::Safety,
        also: &["pgrls SEC013"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        let ours = table.extension.is_none() && !exposure::platform(&name.schema);
        if !ours || table.triggers.is_empty() {
            continue;
        }
        for trigger in table.triggers.iter().filter(|t| t.enabled) {
            let function = facts
                .catalog
                .functions_named(&trigger.function.schema, &trigger.function.name)
                .find(|f| f.returns == "trigger");
            let mut reach = facts.exposure.of_table(name, table);
            reach.retain(|r| {
                trigger
                    .events
                    .iter()
                    .any(|e| r.privileges.contains(e.as_str()))
            });
            if let Some(function) = function
                && function.security_definer
                && function.extension.is_none()
                && !reach.is_empty()
            {
                judge(facts, (name, table, trigger), function, &reach, sink);
            }
        }
    }
}

fn judge(
    facts: &Facts<'_>,
    (name, table, trigger): (&Name, &Table, &Trigger),
    function: &Function,
    reach: &[Reach<'_>],
    sink: &mut Sink<'_>,
) {
    let touches = Touches::of_function(function);
    let open = |relations: &BTreeSet<(String, String)>| {
        let some = Touches {
            read: relations.clone(),
            ..Touches::default()
        };
        let named = tested::named(facts, function, &some);
        tested::unguarded(facts, &function.owner, named.into_iter())
    };
    let opaque = touches.as_ref().is_none_or(|t| t.opaque);
    let (read, written, asks) = touches.map_or_else(Default::default, |t| {
        (
            open(&t.read),
            open(&t.written),
            tested::asks_session(facts, &t),
        )
    });
    let bypasses = facts
        .catalog
        .roles
        .get(&function.owner)
        .is_some_and(|r| r.superuser || r.bypass_rls);
    let unknown =
        opaque && (bypasses || table.rls_enabled && !facts.meets_policies(&function.owner, table));
    if read.is_empty() && written.is_empty() && !unknown {
        return;
    }
    let list = |names: &BTreeSet<&Name>| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    let what = match (read.is_empty(), written.is_empty()) {
        (false, true) => format!("reads {}", list(&read)),
        (true, false) => format!("writes {}", list(&written)),
        (false, false) => format!("reads {} and writes {}", list(&read), list(&written)),
        (true, true) => "runs statements that are put together as it runs".to_owned(),
    };
    // Writing an audit trail is what such triggers are for.
    let severity = if read.is_empty() || asks {
        Severity::Note
    } else {
        Severity::Warning
    };
    sink.report(
        Found::new(
            severity,
            ObjectKind::Table,
            name,
            Some(&trigger.name),
            format!(
                "{} sets off {}, which {what} as {}, whom the policies do not hold",
                exposure::who(reach),
                function.name,
                function.owner
            ),
        )
        .evidence("function", function.name.to_string())
        .evidence("owner", function.owner.clone())
        .evidence("roles", exposure::roles(reach))
        .evidence("reads", read.iter().map(ToString::to_string).collect::<Vec<_>>())
        .evidence("writes", written.iter().map(ToString::to_string).collect::<Vec<_>>())
        .advice(
            "Make the function security invoker, or see to it that what it reads belongs to the row that set it off.",
        ),
    );
}
