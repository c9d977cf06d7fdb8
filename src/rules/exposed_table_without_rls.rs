use super::exposure::{self, Reach, Trust};
use super::sensitive::is_sensitive;
use super::sink::{Found, count};
use super::{Category, Facts, Sink, rule, tested};
use crate::model::{Column, Name, ObjectKind, Severity, Table, TableKind};
use crate::sql::quote;
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A table without row-level security that a role of the application may read or change: one that an API server
    /// switches to, one that policies elsewhere are meant to hold, or every role through PUBLIC. It counts only where
    /// the role may use the schema as well.
    ///
    /// ## Why it matters
    /// The grant alone decides: whoever gets a session as that role sees and changes every row. Severity follows from
    /// who that is, what they may do, and what the columns hold.
    ///
    /// ## What to do
    /// Enable row-level security and write policies, or revoke the grants. Where every row is meant for everybody, say
    /// so with a policy for SELECT that is true.
    /// ```sql,bad
    /// create table note (id int primary key, user_id uuid not null, body text);
    /// grant select, insert, update, delete on note to anon;
    /// ```
    /// ```sql,good
    /// create table note (id int primary key, user_id uuid not null, body text);
    /// alter table note enable row level security;
    /// create policy own on note to anon using (user_id = (select auth.uid()));
    /// grant select, insert, update, delete on note to anon;
    /// ```
    "exposed-table-without-rls" {
        summary: "a table that the application's roles reach has no row-level security",
        category: Category::Safety,
        severity: Severity::Error,
        also: &[
            "splinter 0013_rls_disabled_in_public",
            "splinter 0019_insecure_queue_exposed_in_api",
            "splinter 0023_sensitive_columns_exposed",
            "splinter 0026_pg_graphql_anon_table_exposed",
            "splinter 0027_pg_graphql_authenticated_table_exposed",
            "pgrls SEC001",
            "pgrls SEC049",
        ],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let scoping: BTreeSet<&str> = tested::scoping(facts).into_values().flatten().collect();
    for (name, table) in &facts.catalog.tables {
        let rows = matches!(table.kind, TableKind::Ordinary | TableKind::Partitioned);
        // With policies, or below a table that has them, other rules say it better.
        if !rows || table.rls_enabled || !table.policies.is_empty() || !ours(name, table) {
            continue;
        }
        if tested::ancestors(facts, table).any(|(_, t)| t.rls_enabled) {
            continue;
        }
        let reach = facts.exposure.of_table(name, table);
        // A partition says nothing new where the whole can be reached as well.
        let whole = table.partition_of.as_ref();
        let whole = whole.and_then(|p| Some((p, facts.catalog.table(p)?)));
        let again = whole.is_some_and(|(p, t)| !facts.exposure.of_table(p, t).is_empty());
        if !reach.is_empty() && !again {
            report(name, table, &reach, &scoping, sink);
        }
    }
}

/// Queues are tables that users make, in a schema that the extension keeps.
fn ours(name: &Name, table: &Table) -> bool {
    let queue = name.schema == "pgmq" && name.name.starts_with("q_");
    queue || table.extension.is_none() && !exposure::platform(&name.schema)
}

fn report(
    name: &Name,
    table: &Table,
    reach: &[Reach<'_>],
    scoping: &BTreeSet<&str>,
    sink: &mut Sink<'_>,
) {
    let may = |privilege: &str| reach.iter().any(|r| r.privileges.contains(privilege));
    let writes = ["INSERT", "UPDATE", "DELETE"].into_iter().any(may);
    let columns = |test: &dyn Fn(&Column) -> bool| -> Vec<String> {
        let held = table.columns.iter().filter(|c| test(c));
        held.map(|c| c.name.clone()).collect()
    };
    let sensitive = columns(&is_sensitive);
    // A number that the table draws for itself says nothing of whose a row is.
    let drawn = |c: &Column| {
        let default = c.default.as_ref();
        c.identity || default.is_some_and(|d| d.starts_with("nextval("))
    };
    let owned = columns(&|c| {
        scoping.contains(c.name.as_str()) && !drawn(c) || tested::is_principal(&c.name)
    });
    // What waits in a queue is never meant for everybody.
    let telling = !sensitive.is_empty() || !owned.is_empty() || name.schema == "pgmq";
    let severity = match exposure::least(reach) {
        Trust::Anonymous if writes || telling => Severity::Error,
        Trust::SignedIn if writes => Severity::Error,
        Trust::Role if !(writes && telling) => Severity::Note,
        _ if writes || telling => Severity::Warning,
        _ => Severity::Note,
    };
    let verbs = match (may("SELECT"), writes) {
        (true, true) => "read and change",
        (true, false) => "read",
        (false, _) => "change",
    };
    let mut message = format!(
        "has no row-level security, and {} may {verbs} all of its rows",
        exposure::who(reach)
    );
    if let Some(rows) = table.rows.filter(|rows| *rows > 0.0) {
        message = format!("{message} (about {})", count(rows));
    }
    if !sensitive.is_empty() {
        message = format!("{message}, {} among its columns", sensitive.join(", "));
    }
    let sql = quote::name(name);
    let advice = if telling || writes {
        format!(
            "alter table {sql} enable row level security; and write policies{}. Or revoke the grants.",
            owned
                .first()
                .map(|c| format!(" that hold {} against the session", quote::ident(c)))
                .unwrap_or_default()
        )
    } else {
        format!(
            "If every row is meant for everybody: alter table {sql} enable row level security; create policy \
             everybody on {sql} for select using (true);"
        )
    };
    sink.report(
        Found::new(severity, ObjectKind::Table, name, None, message)
            .evidence("roles", exposure::roles(reach))
            .evidence("writes", writes)
            .evidence("rows", table.rows)
            .evidence("sensitive_columns", sensitive)
            .evidence("owner_columns", owned)
            .advice(advice),
    );
}
