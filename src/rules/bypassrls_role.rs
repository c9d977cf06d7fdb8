use super::exposure::{self, Trust};
use super::sink::{Found, count};
use super::{Category, Facts, Sink, rule};
use crate::model::{Name, ObjectKind, Role, Severity, Table};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A role that logs in, or that requests run as, and that has BYPASSRLS or may take a role that has it by
    /// `SET ROLE`, where that role may read or change tables with policies. Superusers are left out: they bypass
    /// everything by definition.
    ///
    /// ## Why it matters
    /// BYPASSRLS switches row-level security off for every table of the server, forced or not, and nothing in a table or
    /// a policy shows it. It is not inherited, but one `SET ROLE` reaches it.
    ///
    /// ## What to do
    /// Take the attribute or the membership away, unless the role is there for backups, replication or administration.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid);
    /// alter table doc enable row level security;
    /// create policy own on doc using (owner_id = (select auth.uid()));
    /// grant select on doc to back_office;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid);
    /// alter table doc enable row level security;
    /// create policy own on doc using (owner_id = (select auth.uid()));
    /// grant select on doc to app;
    /// ```
    "bypassrls-role" {
        summary: "a role that can be used from outside has or reaches BYPASSRLS",
        category: Category::Safety,
        also: &["pgrls SEC016", "pgrls SEC029"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let guarded: Vec<(&Name, &Table)> = facts
        .catalog
        .tables
        .iter()
        .filter(|(name, t)| t.rls_enabled && !exposure::platform(&name.schema))
        .collect();
    for (name, role) in &facts.catalog.roles {
        let outsider = facts.exposure.trust(name).is_some_and(|t| t < Trust::Role);
        if role.superuser || name.starts_with("pg_") || !(role.login || outsider) {
            continue;
        }
        let taken = role.becomes.iter().filter_map(|b| {
            let (name, role) = facts.catalog.roles.get_key_value(b)?;
            (role.bypass_rls || role.superuser).then_some(name.as_str())
        });
        let own = role.bypass_rls.then_some(name.as_str());
        let through: Vec<(&str, usize)> = own
            .into_iter()
            .chain(taken)
            .map(|bypassing| {
                let open = guarded.iter().filter(|(_, t)| may_use(facts, bypassing, t));
                (bypassing, open.count())
            })
            .filter(|(_, tables)| *tables > 0)
            .collect();
        if !through.is_empty() {
            report(facts, name, role, &through, outsider, sink);
        }
    }
}

/// Whether the role may read or change rows of the table.
fn may_use(facts: &Facts<'_>, role: &str, table: &Table) -> bool {
    let predefined = ["pg_read_all_data", "pg_write_all_data"];
    facts.acts_as(role, &table.owner)
        || predefined.iter().any(|p| facts.acts_as(role, p))
        || table.grants.iter().any(|(granted, privileges)| {
            let rows = |p: &String| !matches!(p.as_str(), "REFERENCES" | "TRIGGER" | "MAINTAIN");
            (granted == "public" || facts.acts_as(role, granted)) && privileges.iter().any(rows)
        })
}

fn report(
    facts: &Facts<'_>,
    name: &str,
    role: &Role,
    through: &[(&str, usize)],
    outsider: bool,
    sink: &mut Sink<'_>,
) {
    let (first, tables) = through
        .iter()
        .max_by_key(|(_, n)| *n)
        .copied()
        .unwrap_or((name, 0));
    let bypassing: Vec<&str> = through.iter().map(|(role, _)| *role).collect();
    let statements = facts.statements.map_or(&[][..], |s| &s.statements);
    let calls: i64 = statements
        .iter()
        .filter(|s| s.top_level && bypassing.contains(&s.role.as_str()))
        .map(|s| s.calls)
        .sum();
    let own = role.bypass_rls;
    // A gate that inherits nothing takes the role that each request asks for: that is what it is for.
    let gate = !own && !role.inherit;
    let severity = match (outsider, own || calls > 0) {
        (true, _) => Severity::Error,
        (false, true) if !gate => Severity::Warning,
        _ => Severity::Note,
    };
    let how = if own {
        "has BYPASSRLS".to_owned()
    } else {
        format!(
            "may SET ROLE to {}, whom no policy holds",
            bypassing.join(", ")
        )
    };
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let used = if calls > 0 {
        format!("; {} statements ran that way", count(calls as f64))
    } else {
        String::new()
    };
    let plural = if tables == 1 { "table" } else { "tables" };
    let role = quote::ident(name);
    sink.report(
        Found::new(
            severity,
            ObjectKind::Role,
            &Name::new("", name),
            None,
            format!("{how}: the policies of {tables} {plural} do not apply{used}"),
        )
        .evidence("bypassing", bypassing)
        .evidence("tables", tables)
        .evidence("calls", calls)
        .advice(if own {
            format!(
                "Unless it is there for backups or administration: alter role {role} nobypassrls;"
            )
        } else {
            format!(
                "Unless that is what it is for: revoke {} from {role};",
                quote::ident(first)
            )
        }),
    );
}
