use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Command, Policy, Severity};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A policy that another one of the same table covers: the same conditions and kind, for the same roles and command
    /// or for more.
    ///
    /// ## Why it matters
    /// It changes nothing: `a or a` is `a`, `a and a` too. But it is evaluated, and who edits one of the two leaves the
    /// other behind, so that the edit has no effect.
    ///
    /// ## What to do
    /// Drop it.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid);
    /// alter table doc enable row level security;
    /// create policy own on doc for all to app using (owner_id = (select auth.uid()));
    /// create policy own_read on doc for select to app using (owner_id = (select auth.uid()));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid);
    /// alter table doc enable row level security;
    /// create policy own on doc for all to app using (owner_id = (select auth.uid()));
    /// ```
    "duplicate-policy" {
        summary: "a policy that another one covers",
        category: Category::Safety,
        severity: Severity::Note,
        also: &["pgrls HYG003"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policies in facts.policies.chunk_by(|a, b| a.name == b.name) {
        let ours = |p: &PolicyFacts<'_>| p.table.extension.is_none();
        let mut dropped: Vec<&str> = Vec::new();
        // Of two that are the same the first stays.
        for policy in policies.iter().rev().filter(|p| ours(p)) {
            let mut others = policies.iter().filter(|other| {
                let name = other.policy.name.as_str();
                name != policy.policy.name && !dropped.contains(&name)
            });
            if let Some(other) = others.find(|other| covers(other.policy, policy.policy)) {
                dropped.push(&policy.policy.name);
                report(policy, &other.policy.name, sink);
            }
        }
    }
}

/// Whether whatever `policy` does, `other` does as well.
fn covers(other: &Policy, policy: &Policy) -> bool {
    let roles = other.roles.iter().any(|r| r == "public")
        || policy.roles.iter().all(|r| other.roles.contains(r));
    other.permissive == policy.permissive
        && other.command.covers(policy.command)
        && roles
        && (policy.command == Command::Insert || other.using == policy.using)
        && (!writes(policy.command) || written(other) == written(policy))
}

fn writes(command: Command) -> bool {
    !matches!(command, Command::Select | Command::Delete)
}

/// WITH CHECK, or USING where it stands for it.
fn written(policy: &Policy) -> Option<&String> {
    let using = policy
        .using
        .as_ref()
        .filter(|_| policy.command != Command::Insert);
    policy.check.as_ref().or(using)
}

fn report(policy: &PolicyFacts<'_>, other: &str, sink: &mut Sink<'_>) {
    sink.report(
        policy
            .found(
                Severity::Note,
                format!(
                    "says what {other} says as well, for the same roles and command or for more"
                ),
            )
            .evidence("covered_by", other)
            .fix(format!(
                "drop policy {} on {};",
                quote::ident(&policy.policy.name),
                quote::name(policy.name)
            )),
    );
}
