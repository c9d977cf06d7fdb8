use super::reach::{COMMANDS, list};
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::Severity;
use crate::sql::fold::Session;

rule! {
    /// ## What it finds
    /// A restrictive policy that restricts nothing: its conditions are always true, or it has none.
    ///
    /// ## Why it matters
    /// Restrictive policies are there to hold whatever the permissive ones allow. Whoever reads the list of policies
    /// counts on a floor that is not there.
    ///
    /// ## What to do
    /// Give it the condition that it was made for, or drop it.
    /// ```sql,bad
    /// create table doc (id int primary key, org int, owner_id uuid);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// create policy one_org on doc as restrictive for select to app using (true);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org int, owner_id uuid);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// create policy one_org on doc as restrictive for select to app
    ///   using (org = (select current_setting('app.org', true))::int);
    /// ```
    "idle-restrictive-policy" {
        summary: "a restrictive policy that is always true restricts nothing",
        category: Category::Safety,
        also: &["pgrls SEC006", "pgrls SEC031"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force().filter(|p| !p.policy.permissive) {
        if !is_idle(facts, policy) {
            continue;
        }
        let roles = facts.reached(policy, &COMMANDS);
        let severity = if roles.is_empty() {
            Severity::Note
        } else {
            Severity::Warning
        };
        sink.report(
            policy
                .found(
                    severity,
                    format!(
                        "is restrictive and always true: {} of {} is not restricted by it",
                        policy.policy.command.keyword(),
                        list(&roles)
                    ),
                )
                .evidence("roles", roles)
                .advice("Write the condition that rows must meet whatever else allows them, or drop the policy."),
        );
    }
}

fn is_idle(facts: &Facts<'_>, policy: &PolicyFacts<'_>) -> bool {
    let mut conditions = 0;
    let open = policy.quals().all(|(_, qual)| {
        conditions += 1;
        facts.fold(policy, &qual.expr, Session::Any).is_true()
    });
    // A clause that is there and was not understood may restrict.
    let stored = [&policy.policy.using, &policy.policy.check];
    let there = stored.iter().filter(|c| c.is_some()).count();
    open && conditions == there
}
