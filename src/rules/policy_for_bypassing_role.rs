use super::reach::list;
use super::{Category, Facts, Sink, rule};
use crate::model::Severity;
use crate::sql::fold::Session;

rule! {
    /// ## What it finds
    /// A policy TO a role that has BYPASSRLS.
    ///
    /// ## Why it matters
    /// No policy applies to such a role. A condition written for it limits nothing, though it reads as if it did; one
    /// that lets everything through is idle.
    ///
    /// ## What to do
    /// Take BYPASSRLS from the role if the condition is meant; otherwise take the role out of the policy.
    /// ```sql,bad
    /// do $$ begin create role loader nologin bypassrls; exception when duplicate_object or unique_violation then null; end $$;
    /// create table doc (id int primary key, org int);
    /// alter table doc enable row level security;
    /// create policy one_org on doc for select to loader using (org = 1);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org int);
    /// alter table doc enable row level security;
    /// create policy one_org on doc for select to app using (org = 1);
    /// ```
    "policy-for-bypassing-role" {
        summary: "a policy for a role that no policy applies to",
        category: Category::Safety,
        also: &["pgrls SEC023"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        let named = policy.policy.roles.iter().map(String::as_str);
        let bypassing: Vec<&str> = named
            .filter(|name| {
                let role = facts.catalog.roles.get(*name);
                role.is_some_and(|r| r.bypass_rls && !r.superuser)
            })
            .collect();
        if bypassing.is_empty() {
            continue;
        }
        let limits = policy
            .quals()
            .any(|(_, q)| !facts.fold(policy, &q.expr, Session::Any).is_true());
        let (severity, what) = if limits {
            (
                Severity::Warning,
                "its condition does not limit what that role sees",
            )
        } else {
            (Severity::Note, "it changes nothing for that role")
        };
        sink.report(
            policy
                .found(
                    severity,
                    format!("is for {}, which bypasses row-level security: {what}", list(&bypassing)),
                )
                .evidence("roles", bypassing)
                .evidence("limits", limits)
                .advice("Take the role out of the policy, or BYPASSRLS from the role if the condition is meant."),
        );
    }
}
