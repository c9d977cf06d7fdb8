use super::reach::list;
use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{Command, ObjectKind, Severity};

rule! {
    /// ## What it finds
    /// A table whose policies are all for SELECT, and a role that they apply to with a privilege to write.
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

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        // A partition is written through its parent.
        let ours = table.rls_enabled && table.extension.is_none() && table.partition_of.is_none();
        let reading = table.policies.iter().any(|p| p.permissive)
            && table.policies.iter().all(|p| p.command == Command::Select);
        if !ours || !reading {
            continue;
        }
        let writing = [Command::Insert, Command::Update, Command::Delete];
        let roles: Vec<&str> = table
            .grants
            .keys()
            .map(String::as_str)
            .filter(|role| facts.meets_policies(role, table))
            .filter(|role| writing.iter().any(|c| facts.holds(role, table, *c)))
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
                    "{} may write by privilege and by no policy: INSERT fails, UPDATE and DELETE change nothing",
                    list(&roles)
                ),
            )
            .evidence("roles", roles)
            .advice("Revoke INSERT, UPDATE and DELETE if reading is all that is meant, otherwise add the policies."),
        );
    }
}
