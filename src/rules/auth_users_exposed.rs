use super::exposure::{self, Reach, Trust};
use super::sink::Found;
use super::{Category, Facts, Sink, rule, tested};
use crate::model::{Name, ObjectKind, Severity, Table, TableKind};
use crate::sql::quote;
use crate::sql::touches::Touches;

/// Tables of the sign-in service that hold what identifies people.
const TABLES: [&str; 4] = ["users", "identities", "sessions", "mfa_factors"];

rule! {
    /// ## What it finds
    /// A view or materialised view over the tables of the sign-in service (`auth.users` and its like) that a role of
    /// the application may read without its condition asking who reads; or such a table granted to one directly.
    ///
    /// ## Why it matters
    /// A view reads as its owner. One over `auth.users` hands out every account: addresses, password hashes, what the
    /// providers told. Only the missing grants kept them apart.
    ///
    /// ## What to do
    /// Keep what the application shows in a table of its own with policies, or let the view hold each row against the
    /// session: `where id = (select auth.uid())`, as a security barrier. Otherwise revoke SELECT.
    /// ```sql,bad
    /// create table auth.users (id uuid primary key, email text);
    /// create view people as select id, email from auth.users;
    /// grant select on people to anon;
    /// ```
    /// ```sql,good
    /// create table auth.users (id uuid primary key, email text);
    /// create view me with (security_barrier) as select id, email from auth.users where id = (select auth.uid());
    /// grant select on me to anon;
    /// ```
    "auth-users-exposed" {
        summary: "a view hands out the accounts of the sign-in service",
        category: Category::Safety,
        severity: Severity::Error,
        also: &[
            "splinter 0002_auth_users_exposed",
            "splinter 0010_security_definer_view",
            "pgrls SEC052",
        ],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        if name.schema == "auth" {
            let reach = facts.exposure.with("SELECT", name, table);
            if TABLES.contains(&name.name.as_str()) && !table.rls_enabled && !reach.is_empty() {
                report(name, name, &reach, sink);
            }
            continue;
        }
        let stored = table.kind == TableKind::MaterializedView;
        if table.extension.is_some() || !(stored || table.kind == TableKind::View) {
            continue;
        }
        let Some(accounts) = accounts(table) else {
            continue;
        };
        let mut reach = facts.exposure.with("SELECT", name, table);
        // As its reader a view shows what its reader may see anyway.
        if !stored && tested::invoker(table) {
            reach.clear();
        }
        if !reach.is_empty() && (stored || !bound(facts, table)) {
            report(name, accounts, &reach, sink);
        }
    }
}

fn accounts(view: &Table) -> Option<&Name> {
    let mut reads = view.reads.iter();
    reads.find(|r| r.schema == "auth" && TABLES.contains(&r.name.as_str()))
}

/// Whether the view has a condition that asks who reads.
fn bound(facts: &Facts<'_>, view: &Table) -> bool {
    let touches = view.definition.as_deref().and_then(Touches::of_query);
    touches.is_some_and(|t| t.filtered && tested::asks_session(facts, &t))
}

fn report(name: &Name, accounts: &Name, reach: &[Reach<'_>], sink: &mut Sink<'_>) {
    let severity = if exposure::least(reach) == Trust::Role {
        Severity::Warning
    } else {
        Severity::Error
    };
    let what = if name == accounts {
        "is open to".to_owned()
    } else {
        format!("shows every row of {accounts} to")
    };
    sink.report(
        Found::new(
            severity,
            ObjectKind::Table,
            name,
            None,
            format!("{what} {}", exposure::who(reach)),
        )
        .evidence("accounts", accounts.to_string())
        .evidence("roles", exposure::roles(reach))
        .advice(format!(
            "revoke select on {} from {}; or let its condition hold each row against the session.",
            quote::name(name),
            exposure::roles(reach).join(", ")
        )),
    );
}
