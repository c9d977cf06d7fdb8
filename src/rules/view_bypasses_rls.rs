use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{Name, ObjectKind, Severity, Table, TableKind};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A view, or a materialised view, over a table with row-level security, whose owner that security does not apply
    /// to, and which other roles may read.
    ///
    /// ## Why it matters
    /// A view reads its tables as its owner. Whoever may read the view sees every row, whatever the policies say.
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
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, view) in &facts.catalog.tables {
        let stored = view.kind == TableKind::MaterializedView;
        if !(stored || view.kind == TableKind::View && !invoker(view)) || view.extension.is_some() {
            continue;
        }
        let guarded: Vec<&Name> = view
            .reads
            .iter()
            .filter(|read| {
                facts
                    .catalog
                    .table(read)
                    .is_some_and(|t| t.rls_enabled && !facts.meets_policies(&view.owner, t))
            })
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

fn invoker(view: &Table) -> bool {
    view.options.iter().any(|option| {
        option.split_once('=').is_some_and(|(name, value)| {
            name == "security_invoker" && matches!(value, "true" | "on" | "1" | "yes")
        })
    })
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
    let found = Found::new(
        Severity::Error,
        ObjectKind::Table,
        name,
        None,
        format!(
            "reads {list} as its owner {}, to whom the policies do not apply: {} see{} every row",
            view.owner,
            readers.join(", "),
            if readers.len() == 1 { "s" } else { "" }
        ),
    )
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
