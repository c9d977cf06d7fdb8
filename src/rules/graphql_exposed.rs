use super::exposure::{self, Trust};
use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{Command, Name, ObjectKind, Severity, Table};
use crate::sql::quote;
use std::collections::BTreeMap;

rule! {
    /// ## What it finds
    /// With `pg_graphql` installed: tables that a role of the API may select from and whose policies never show it a row.
    ///
    /// ## Why it matters
    /// The GraphQL schema that a caller may ask for lists every relation he may select from, with its columns and how it
    /// hangs together with others. The grant gives away the structure and buys nothing.
    ///
    /// ## What to do
    /// Revoke SELECT where no policy admits the role. Tables that it does read have to be listed.
    /// ```sql,bad shown
    /// create extension pg_graphql;
    /// create table ledger (id int primary key, amount numeric);
    /// alter table ledger enable row level security;
    /// grant select on ledger to anon;
    /// ```
    /// ```sql,good shown
    /// create extension pg_graphql;
    /// create table ledger (id int primary key, amount numeric);
    /// alter table ledger enable row level security;
    /// ```
    "graphql-exposed" {
        summary: "the GraphQL schema lists tables to a role that sees no row of them",
        category: Category::Safety,
        severity: Severity::Note,
        also: &[
            "splinter 0026_pg_graphql_anon_table_exposed",
            "splinter 0027_pg_graphql_authenticated_table_exposed",
        ],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    if !facts.catalog.server.extensions.contains_key("pg_graphql") {
        return;
    }
    let mut listed: BTreeMap<&str, Vec<&Name>> = BTreeMap::new();
    for (name, table) in &facts.catalog.tables {
        let ours = table.extension.is_none() && !exposure::platform(&name.schema);
        if !table.rls_enabled || !ours {
            continue;
        }
        for reach in facts.exposure.with("SELECT", name, table) {
            if reach.trust < Trust::Role && !admitted(facts, table, reach.role) {
                listed.entry(reach.role).or_default().push(name);
            }
        }
    }
    for (role, tables) in listed {
        report(role, &tables, sink);
    }
}

/// Whether some policy may show it a row.
fn admitted(facts: &Facts<'_>, table: &Table, role: &str) -> bool {
    table.policies.iter().any(|p| {
        let applies = role == "public" || facts.catalog.applies_to(p, role);
        p.permissive && p.command.covers(Command::Select) && applies
    })
}

fn report(role: &str, tables: &[&Name], sink: &mut Sink<'_>) {
    let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
    let quoted: Vec<String> = tables.iter().map(|t| quote::name(t)).collect();
    let grantee = if role == "public" {
        role.to_owned()
    } else {
        quote::ident(role)
    };
    let plural = if tables.len() == 1 { "table" } else { "tables" };
    sink.report(
        Found::new(
            Severity::Note,
            ObjectKind::Role,
            &Name::new("", role),
            None,
            format!(
                "the GraphQL schema shows it {} {plural} of which no policy shows it a row: {}",
                tables.len(),
                names.iter().take(3).cloned().collect::<Vec<_>>().join(", ")
            ),
        )
        .evidence("tables", names)
        .fix(format!(
            "revoke select on {} from {grantee};",
            quoted.join(", ")
        )),
    );
}

#[cfg(test)]
mod tests {
    use crate::model::{Catalog, Extension, Name, Policy, Role, Table};
    use crate::rules::{Scope, audit};

    fn found(policy: Option<Policy>) -> Vec<String> {
        let mut catalog = Catalog::default();
        let extensions = &mut catalog.server.extensions;
        extensions.insert("pg_graphql".into(), Extension::default());
        catalog.roles.insert("anon".into(), Role::default());
        let table = Table {
            rls_enabled: true,
            grants: [("anon".into(), vec!["SELECT".into()])].into(),
            policies: policy.into_iter().collect(),
            ..Table::default()
        };
        catalog.tables.insert(Name::new("public", "ledger"), table);
        let scope = Scope {
            only: vec!["graphql-exposed".into()],
            ..Scope::default()
        };
        let (findings, _) = audit(&catalog, None, &scope);
        findings.into_iter().filter_map(|f| f.fix).collect()
    }

    #[test]
    fn a_table_is_listed_in_vain_only_where_no_policy_admits_the_role() {
        assert_eq!(found(None), ["revoke select on public.ledger from anon;"]);
        let policy = |role: &str| Policy {
            permissive: true,
            roles: vec![role.into()],
            using: Some("true".into()),
            ..Policy::default()
        };
        assert!(found(Some(policy("anon"))).is_empty());
        assert!(found(Some(policy("public"))).is_empty());
        assert_eq!(found(Some(policy("authenticated"))).len(), 1);
    }
}
