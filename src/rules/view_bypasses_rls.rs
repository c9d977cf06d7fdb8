use super::sink::Found;
use super::{Category, Facts, Sink, exposure, rule, tested};
use crate::model::{Name, ObjectKind, Severity, Table, TableKind};
use crate::sql::quote;
use crate::sql::touches::Touches;

rule! {
    /// ## What it finds
    /// A view, or a materialised view, over a table with row-level security, directly or through other views, whose owner
    /// that security does not apply to, and which other roles may read.
    ///
    /// ## Why it matters
    /// A view reads its tables as its owner. Whoever may read the view sees every row, whatever the policies say. Where the
    /// view's own condition asks who reads, the condition is all that hides rows.
    ///
    /// ## What to do
    /// From version 15 on set `security_invoker`; its readers then need SELECT on the tables. Before, give the view to
    /// a role that the policies apply to. Revoke materialised views from roles that must not see every row.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// create view doc_list as select id from doc;
    /// grant select on doc_list to app;
    /// ```
    /// ```sql,good from 15 on
    /// create table doc (id int primary key, owner_id uuid);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// create view doc_list with (security_invoker = true) as select id from doc;
    /// grant select on doc, doc_list to app;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// create view doc_list as select id from doc;
    /// grant select on doc to app;
    /// alter view doc_list owner to app;
    /// ```
    "view-bypasses-rls" {
        summary: "a view shows rows that its readers' policies would hide",
        category: Category::Safety,
        severity: Severity::Error,
        also: &[
            "splinter 0010_security_definer_view",
            "splinter 0016_materialized_view_in_api",
            "pgrls VIEW001",
            "pgrls VIEW003",
            "pgrls SEC054",
        ],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, view) in &facts.catalog.tables {
        let stored = view.kind == TableKind::MaterializedView;
        let view_kind = stored || view.kind == TableKind::View && !tested::invoker(view);
        if !view_kind || view.extension.is_some() || exposure::platform(&name.schema) {
            continue;
        }
        let guarded: Vec<&Name> = tested::unguarded(facts, &view.owner, view.reads.iter())
            .into_iter()
            .collect();
        let readers: Vec<&str> = view
            .grants
            .iter()
            .filter(|(_, privileges)| privileges.iter().any(|p| p == "SELECT"))
            .map(|(role, _)| role.as_str())
            .filter(|role| {
                guarded.iter().any(|name| {
                    let table = facts.catalog.table(name);
                    table.is_some_and(|t| facts.meets_policies(role, t))
                })
            })
            .collect();
        if !guarded.is_empty() && !readers.is_empty() {
            report(facts, name, view, &guarded, &readers, sink);
        }
    }
}

/// Whether its own condition asks who reads; what is stored has asked whoever filled it.
fn asks(facts: &Facts<'_>, view: &Table) -> bool {
    let touches = view.definition.as_deref().and_then(Touches::of_query);
    view.kind == TableKind::View
        && touches.is_some_and(|t| t.filtered && tested::asks_session(facts, &t))
}

fn report(
    facts: &Facts<'_>,
    name: &Name,
    view: &Table,
    guarded: &[&Name],
    readers: &[&str],
    sink: &mut Sink<'_>,
) {
    let list = guarded
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let s = if readers.len() == 1 { "s" } else { "" };
    let readers_see = readers.join(", ");
    let asks = asks(facts, view);
    let (severity, what) = if asks {
        let only = format!("its condition alone decides what {readers_see} see{s}");
        (Severity::Note, only)
    } else {
        (Severity::Error, format!("{readers_see} see{s} every row"))
    };
    let found = Found::new(
        severity,
        ObjectKind::Table,
        name,
        None,
        format!(
            "reads {list} as its owner {}, to whom the policies do not apply: {what}",
            view.owner
        ),
    )
    .evidence("asks_reader", asks)
    .evidence(
        "reads",
        guarded.iter().map(ToString::to_string).collect::<Vec<_>>(),
    )
    .evidence("owner", view.owner.clone())
    .evidence("readers", readers.to_vec());
    sink.report(if view.kind == TableKind::MaterializedView {
        found.advice("Revoke SELECT from roles that must not see every row.")
    } else if facts.catalog.server.version_num >= 150_000 {
        found.advice(format!(
            "If that is not meant: alter view {} set (security_invoker = true); its readers then need SELECT on {list}.",
            quote::name(name)
        ))
    } else {
        found.advice("If that is not meant, give the view to a role that the policies apply to.")
    });
}
