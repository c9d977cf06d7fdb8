use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::Severity;
use crate::sql::expr::Expr;
use crate::sql::fold::Session;

rule! {
    /// ## What it finds
    /// An OR inside a policy, one branch of which is always true, although the policy as a whole is not.
    ///
    /// ## Why it matters
    /// The other branches of that OR are never looked at: a check that reads well is not made. It is usually left from
    /// a try-out.
    ///
    /// ## What to do
    /// Take the branch out, or the whole OR if it is meant.
    /// ```sql,bad
    /// create table doc (id int primary key, org int, owner_id uuid);
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app using (org = 1 and (owner_id = (select auth.uid()) or true));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org int, owner_id uuid);
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app using (org = 1 and owner_id = (select auth.uid()));
    /// ```
    "true-branch" {
        summary: "a branch that is always true makes the others of its OR void",
        category: Category::Safety,
        also: &["pgrls SEC011"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        for (clause, qual) in policy.quals() {
            // As a whole it is another rule's.
            let whole = facts.fold(policy, &qual.expr, Session::Any).is_true();
            if whole || !has_true_branch(facts, policy, &qual.expr) {
                continue;
            }
            sink.report(
                policy
                    .found(
                        Severity::Warning,
                        format!("{clause} has an OR with a branch that is always true, so its other branches mean nothing"),
                    )
                    .evidence("clause", clause)
                    .advice("Take the branch out, or the whole OR if that is what is meant."),
            );
            break;
        }
    }
}

fn has_true_branch(facts: &Facts<'_>, policy: &PolicyFacts<'_>, expr: &Expr) -> bool {
    expr.any_outside(|e| match e {
        Expr::Or(branches) => branches
            .iter()
            .any(|b| facts.fold(policy, b, Session::Any).is_true()),
        _ => false,
    })
}
