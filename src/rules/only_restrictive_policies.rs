use super::reach::list;
use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity};

rule! {
    /// ## What it finds
    /// A table all of whose policies are restrictive.
    ///
    /// ## Why it matters
    /// Restrictive policies take away from what permissive ones allow. Without a permissive policy nobody but the owner
    /// sees or writes a row, and no statement says why.
    ///
    /// ## What to do
    /// Add the permissive policy that says who may see rows, or leave out `as restrictive`.
    /// ```sql,bad
    /// create table doc (id int primary key, org int);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy one_org on doc as restrictive for select to app using (org = 1);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org int, owner_id uuid);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy one_org on doc as restrictive for select to app using (org = 1);
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// ```
    "only-restrictive-policies" {
        summary: "a table with restrictive policies alone lets nobody in",
        category: Category::Safety,
        also: &["pgrls SEC012"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        let ours = table.rls_enabled && table.extension.is_none();
        if !ours || table.policies.is_empty() || table.policies.iter().any(|p| p.permissive) {
            continue;
        }
        let roles: Vec<&str> = table
            .grants
            .keys()
            .map(String::as_str)
            .filter(|role| facts.meets_policies(role, table))
            .collect();
        let severity = if roles.is_empty() {
            Severity::Note
        } else {
            Severity::Warning
        };
        let number = table.policies.len();
        let policies = if number == 1 { "policy" } else { "policies" };
        sink.report(
            Found::new(
                severity,
                ObjectKind::Table,
                name,
                None,
                format!(
                    "has {number} restrictive {policies} and no permissive one: {} may use the table and see no row",
                    list(&roles)
                ),
            )
            .evidence("policies", number)
            .evidence("roles", roles)
            .advice("Add a permissive policy that says who sees which rows; the restrictive ones then narrow it."),
        );
    }
}
