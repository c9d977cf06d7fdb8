use super::sink::Found;
use super::{Category, Facts, Sink, exposure, rule};
use crate::model::{ObjectKind, Severity};

rule! {
    /// ## What it finds
    /// A table with row-level security enabled and no policy, to which a role other than its owner has access.
    ///
    /// ## Why it matters
    /// Nobody but the owner and roles that bypass row-level security sees a row or can write one. That may be meant, for
    /// a table that only security-definer functions read.
    ///
    /// ## What to do
    /// Add the policies, or revoke the grants that promise access.
    /// ```sql,bad
    /// create table doc (id int primary key);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// ```
    "rls-without-policies" {
        summary: "row-level security is on and no policy lets anybody in",
        category: Category::Safety,
        also: &["splinter 0008_rls_enabled_no_policy", "pgrls SEC009"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        let ours = table.extension.is_none() && !exposure::platform(&name.schema);
        // A partition is read through its parent, under the parent's policies.
        let guarded = table.rls_enabled && table.policies.is_empty();
        if !ours || !guarded || table.partition_of.is_some() {
            continue;
        }
        let roles: Vec<&str> = table
            .grants
            .keys()
            .map(String::as_str)
            .filter(|role| facts.meets_policies(role, table))
            .collect();
        if roles.is_empty() {
            continue;
        }
        sink.report(
            Found::new(
                Severity::Note,
                ObjectKind::Table,
                name,
                None,
                format!(
                    "row-level security is on without a policy: {} may use the table and see no row",
                    roles.join(", ")
                ),
            )
            .evidence("roles", roles)
            .advice("Add policies, or revoke the grants if only security-definer functions are meant to read it."),
        );
    }
}
