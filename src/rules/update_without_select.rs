use super::reach::list;
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Command, Severity};

rule! {
    /// ## What it finds
    /// A policy for UPDATE or DELETE that applies to a role which may read the table and for which no permissive policy
    /// lets it see a row.
    ///
    /// ## Why it matters
    /// A statement that looks at a column, and `where id = …` does, must be let through by a policy for SELECT as well.
    /// Without one the statement succeeds and changes nothing.
    ///
    /// ## What to do
    /// Add a policy FOR SELECT with the same condition.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid);
    /// grant select, update on doc to app;
    /// alter table doc enable row level security;
    /// create policy change on doc for update to app using (owner_id = (select auth.uid()));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid);
    /// grant select, update on doc to app;
    /// alter table doc enable row level security;
    /// create policy change on doc for update to app using (owner_id = (select auth.uid()));
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// ```
    "update-without-select" {
        summary: "rows can be changed or deleted by a policy, but not found",
        category: Category::Safety,
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force().filter(|p| p.policy.permissive) {
        let command = policy.policy.command;
        // Without a condition it lets nothing through anyway.
        if !matches!(command, Command::Update | Command::Delete) || policy.policy.using.is_none() {
            continue;
        }
        let mut roles = facts.reached(policy, &[command]);
        roles.retain(|role| {
            facts.holds(role, policy.table, Command::Select) && !sees_rows(facts, policy, role)
        });
        if !roles.is_empty() {
            report(policy, &roles, sink);
        }
    }
}

fn sees_rows(facts: &Facts<'_>, policy: &PolicyFacts<'_>, role: &str) -> bool {
    facts.policies_of(policy.name).iter().any(|other| {
        let for_role = if role == "public" {
            other.policy.roles.iter().any(|r| r == "public")
        } else {
            facts.catalog.applies_to(other.policy, role)
        };
        other.policy.permissive && other.policy.command.covers(Command::Select) && for_role
    })
}

fn report(policy: &PolicyFacts<'_>, roles: &[&str], sink: &mut Sink<'_>) {
    let command = policy.policy.command.keyword();
    sink.report(
        policy
            .found(
                Severity::Warning,
                format!(
                    "is for {command}, but no policy lets {} see a row: {command} with a WHERE changes nothing",
                    list(roles)
                ),
            )
            .evidence("roles", roles.to_vec())
            .advice("Add a policy FOR SELECT to the same roles with the same condition."),
    );
}
