use super::reach::list;
use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{Command, Name, ObjectKind, Severity};
use std::collections::BTreeMap;

rule! {
    /// ## What it finds
    /// A role with a privilege to write tables all of whose policies are for SELECT.
    ///
    /// ## Why it matters
    /// The privilege is worth nothing: INSERT fails, UPDATE and DELETE succeed and change nothing. Either a policy was
    /// forgotten, or the privilege is more than the role needs.
    ///
    /// ## What to do
    /// Revoke the privilege where reading is all that is meant; otherwise add the policy.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid);
    /// grant select, insert, update on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// ```
    "no-write-policy" {
        summary: "a privilege to write that no policy allows to use",
        category: Category::Safety,
        severity: Severity::Note,
        also: &["pgrls SEC022"],
        check: check,
    }
}

/// So many tables are named.
const SHOWN: usize = 5;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, table) in &facts.catalog.tables {
        // A partition is written through its parent.
        let ours = table.rls_enabled && table.extension.is_none() && table.partition_of.is_none();
        let reading = table.policies.iter().any(|p| p.permissive)
            && table.policies.iter().all(|p| p.command == Command::Select);
        if !ours || !reading {
            continue;
        }
        let writing = [Command::Insert, Command::Update, Command::Delete];
        let roles = table.grants.keys().map(String::as_str);
        for role in roles.filter(|role| facts.meets_policies(role, table)) {
            if writing.iter().any(|c| facts.holds(role, table, *c)) {
                found.entry(role).or_default().push(name.to_string());
            }
        }
    }
    for (role, tables) in found {
        report(role, &tables, sink);
    }
}

fn report(role: &str, tables: &[String], sink: &mut Sink<'_>) {
    let shown: Vec<&str> = tables.iter().take(SHOWN).map(String::as_str).collect();
    let more = tables.len().saturating_sub(SHOWN);
    let which = if more > 0 {
        format!("{} and {more} more", shown.join(", "))
    } else {
        list(&shown)
    };
    sink.report(
        Found::new(
            Severity::Note,
            ObjectKind::Role,
            &Name::new("", role),
            None,
            format!(
                "may write {which} by privilege but by no policy: INSERT fails, UPDATE and DELETE change nothing"
            ),
        )
        .evidence("tables", tables.to_vec())
        .advice("Revoke INSERT, UPDATE and DELETE where reading is all that is meant, otherwise add policies."),
    );
}
