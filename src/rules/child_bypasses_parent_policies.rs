use super::exposure::{self, Trust};
use super::sink::Found;
use super::{Category, Facts, Sink, rule, tested};
use crate::model::{Name, ObjectKind, Severity, Table};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A partition, or a table that inherits, without row-level security of its own, below a table that has it, and
    /// with grants of its own to roles that the policies above hold.
    ///
    /// ## Why it matters
    /// Policies belong to the table that a statement names. Who names the child instead of its parent gets every row in
    /// it. Reading through the parent needs no privilege on the child, so the grant serves nothing else.
    ///
    /// ## What to do
    /// Revoke the grants on the child. Where it must be named by itself, give it row-level security and policies.
    /// ```sql,bad
    /// create table event (tenant int, body text) partition by list (tenant);
    /// create table event_1 partition of event for values in (1);
    /// alter table event enable row level security;
    /// create policy own on event for select to app using (tenant = (select current_setting('app.tenant')::int));
    /// grant select on event, event_1 to app;
    /// ```
    /// ```sql,good
    /// create table event (tenant int, body text) partition by list (tenant);
    /// create table event_1 partition of event for values in (1);
    /// alter table event enable row level security;
    /// create policy own on event for select to app using (tenant = (select current_setting('app.tenant')::int));
    /// grant select on event to app;
    /// ```
    "child-bypasses-parent-policies" {
        summary: "a partition or inheriting table can be read past its parent's policies",
        category: Category::Safety,
        also: &["pgrls SEC041", "pgrls SEC043"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        if table.rls_enabled || table.extension.is_some() {
            continue;
        }
        let guarded: Vec<(&Name, &Table)> = tested::ancestors(facts, table)
            .filter(|(_, above)| above.rls_enabled)
            .collect();
        let Some((parent, above)) = guarded.first() else {
            continue;
        };
        let mut reach = facts.exposure.of_table(name, table);
        reach.retain(|r| r.role == "public" || facts.meets_policies(r.role, above));
        if reach.is_empty() {
            continue;
        }
        let severity = if exposure::least(&reach) < Trust::Role {
            Severity::Error
        } else {
            Severity::Warning
        };
        let roles: Vec<String> = exposure::roles(&reach)
            .into_iter()
            .map(|role| {
                if role == "public" {
                    role.to_owned()
                } else {
                    quote::ident(role)
                }
            })
            .collect();
        sink.report(
            Found::new(
                severity,
                ObjectKind::Table,
                name,
                None,
                format!(
                    "has no row-level security: {} may name it instead of {parent} and meet none of its policies",
                    exposure::who(&reach)
                ),
            )
            .evidence("parent", parent.to_string())
            .evidence("roles", exposure::roles(&reach))
            .evidence("rows", table.rows)
            .fix(format!(
                "revoke all on {} from {};",
                quote::name(name),
                roles.join(", ")
            )),
        );
    }
}
