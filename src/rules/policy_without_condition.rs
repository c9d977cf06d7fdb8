use super::reach::{COMMANDS, list};
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Command, Severity};

rule! {
    /// ## What it finds
    /// A permissive policy without the condition that its command needs: FOR INSERT without WITH CHECK, or any other
    /// command without USING.
    ///
    /// ## Why it matters
    /// A missing condition does not stand for true: the policy lets nothing through. INSERT fails with "new row violates
    /// row-level security policy", the other commands find no row.
    ///
    /// ## What to do
    /// Write the condition, or drop the policy.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid);
    /// grant insert on doc to app;
    /// alter table doc enable row level security;
    /// create policy add on doc for insert to app;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid);
    /// grant insert on doc to app;
    /// alter table doc enable row level security;
    /// create policy add on doc for insert to app with check (owner_id = (select auth.uid()));
    /// ```
    "policy-without-condition" {
        summary: "a permissive policy without a condition lets nothing through",
        category: Category::Safety,
        also: &["pgrls SEC006", "splinter 0024_rls_policy_always_true"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force().filter(|p| p.policy.permissive) {
        let clause = if policy.policy.command == Command::Insert {
            &policy.policy.check
        } else {
            &policy.policy.using
        };
        if clause.is_none() {
            report(facts, policy, sink);
        }
    }
}

fn report(facts: &Facts<'_>, policy: &PolicyFacts<'_>, sink: &mut Sink<'_>) {
    let roles = facts.reached(policy, &COMMANDS);
    let severity = if roles.is_empty() {
        Severity::Note
    } else {
        Severity::Warning
    };
    let (clause, what) = match policy.policy.command {
        Command::Insert => ("WITH CHECK", "no row can be inserted by it"),
        _ => ("USING", "no row is found by it"),
    };
    sink.report(
        policy
            .found(
                severity,
                format!(
                    "has no {clause}: {what}, for {} by {}",
                    policy.policy.command.keyword(),
                    list(&roles)
                ),
            )
            .evidence("clause", clause)
            .evidence("roles", roles)
            .advice(format!(
                "Write {clause} with the rows that are meant, or drop the policy."
            )),
    );
}
