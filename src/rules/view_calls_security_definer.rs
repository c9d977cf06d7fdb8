use super::exposure::{self, Reach, Trust};
use super::sink::Found;
use super::{Category, Facts, Sink, rule, tested};
use crate::model::{Function, Name, ObjectKind, Severity, TableKind};
use crate::sql::touches::Touches;
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A view that the application's roles may read and that calls a security-definer function whose owner the policies
    /// of a table it reads do not hold, without asking who calls.
    ///
    /// ## Why it matters
    /// `security_invoker` on the view does not reach into the function: inside, the owner reads, and the view shows rows
    /// that its reader's policies hide. The view also opens a function in a schema that the reader may not use.
    ///
    /// ## What to do
    /// Make the function `security invoker`, or let it hold what it returns against the session.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid);
    /// alter table doc enable row level security;
    /// create policy own on doc to app using (owner_id = (select auth.uid()));
    /// create function doc_ids() returns setof int language sql stable security definer set search_path = ''
    ///   as $$ select id from public.doc $$;
    /// create view ids as select id from doc_ids() id;
    /// grant select on ids to app;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid);
    /// alter table doc enable row level security;
    /// create policy own on doc to app using (owner_id = (select auth.uid()));
    /// create function doc_ids() returns setof int language sql stable security definer set search_path = ''
    ///   as $$ select id from public.doc where owner_id = auth.uid() $$;
    /// create view ids as select id from doc_ids() id;
    /// grant select on ids to app;
    /// ```
    "view-calls-security-definer" {
        summary: "a view shows what a security-definer function reads past its readers' policies",
        category: Category::Safety,
        also: &["pgrls VIEW004"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, view) in &facts.catalog.tables {
        let ours = view.extension.is_none() && !exposure::platform(&name.schema);
        if view.kind != TableKind::View || view.calls.is_empty() || !ours {
            continue;
        }
        let reach = facts.exposure.with("SELECT", name, view);
        if reach.is_empty() {
            continue;
        }
        let mut done = BTreeSet::new();
        for call in &view.calls {
            for function in facts.catalog.functions_named(&call.schema, &call.name) {
                let open = shown(facts, function);
                if !open.is_empty() && done.insert(&function.name) {
                    report(name, function, &open, &reach, sink);
                }
            }
        }
    }
}

/// Guarded tables that a function shows whoever calls it.
fn shown<'a>(facts: &Facts<'a>, function: &Function) -> BTreeSet<&'a Name> {
    let touches = Touches::of_function(function)
        .filter(|_| function.security_definer && function.extension.is_none())
        .filter(|t| !tested::asks_session(facts, t));
    let named = touches.map(|t| tested::named(facts, function, &t));
    tested::unguarded(facts, &function.owner, named.into_iter().flatten())
}

fn report(
    name: &Name,
    function: &Function,
    open: &BTreeSet<&Name>,
    reach: &[Reach<'_>],
    sink: &mut Sink<'_>,
) {
    let tables: Vec<String> = open.iter().map(ToString::to_string).collect();
    let severity = match exposure::least(reach) {
        Trust::Anonymous => Severity::Error,
        _ => Severity::Warning,
    };
    sink.report(
        Found::new(
            severity,
            ObjectKind::Table,
            name,
            None,
            format!(
                "calls {}, which reads {} as {}: {} sees rows that policies hide",
                function.name,
                tables.join(", "),
                function.owner,
                exposure::who(reach)
            ),
        )
        .evidence("function", function.name.to_string())
        .evidence("tables", tables)
        .evidence("roles", exposure::roles(reach))
        .advice("Make the function security invoker, or let it hold what it returns against the session."),
    );
}
