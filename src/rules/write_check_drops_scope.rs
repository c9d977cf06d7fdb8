use super::reach::{is_anonymous, list};
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Command, Severity};
use crate::sql::expr::Expr;
use crate::sql::fold::Session;

rule! {
    /// ## What it finds
    /// A policy whose USING restricts rows and whose WITH CHECK does not: it is always true, or it says nothing of whose
    /// row it is while USING does.
    ///
    /// ## Why it matters
    /// Without WITH CHECK the server takes USING for both. Writing it replaces that: users can add rows in the name of
    /// others, and hand their own rows over. Rows written that way show up in the lists of whoever they are made out to.
    ///
    /// ## What to do
    /// Repeat the condition of USING in WITH CHECK, with what else new rows must satisfy. To take WITH CHECK away, make
    /// the policy anew: ALTER POLICY cannot.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid, status text);
    /// grant select, insert, update on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for all to app
    ///   using (owner_id = (select auth.uid())) with check (status in ('draft', 'final'));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid, status text);
    /// grant select, insert, update on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for all to app
    ///   using (owner_id = (select auth.uid()))
    ///   with check (owner_id = (select auth.uid()) and status in ('draft', 'final'));
    /// ```
    "write-check-drops-scope" {
        summary: "rows can be written that the policy would not let their writer see",
        category: Category::Safety,
        also: &["pgrls SEC020", "pgrls SEC040"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        let (Some(using), Some(check)) = (&policy.using, &policy.check) else {
            continue;
        };
        if let Some(dropped) = dropped(facts, policy, &using.expr, &check.expr) {
            report(facts, policy, &dropped, sink);
        }
    }
}

/// What WITH CHECK leaves out: nothing at all is left, or columns.
fn dropped(
    facts: &Facts<'_>,
    policy: &PolicyFacts<'_>,
    using: &Expr,
    check: &Expr,
) -> Option<Vec<String>> {
    let seen = facts.fold(policy, using, Session::Any);
    let written = facts.fold(policy, check, Session::Any);
    // An open USING is another rule's; what is never true lets nothing be written.
    if seen.is_true() || seen.is_never_true() || written.is_never_true() {
        return None;
    }
    if written.is_true() {
        return Some(Vec::new());
    }
    // A plain UPDATE reads the new row as well, and with it meets the policies for SELECT.
    let whole = policy.policy.permissive && policy.policy.command == Command::All;
    let scope = facts.scoped_columns(using);
    (whole && !scope.is_empty() && !scopes(facts, check))
        .then(|| scope.into_iter().map(str::to_owned).collect())
}

/// Whether the expression ties the row to who asks, in whatever way.
fn scopes(facts: &Facts<'_>, expr: &Expr) -> bool {
    !facts.scoped_columns(expr).is_empty()
        || expr.any(|e| match e {
            Expr::SubSelect(sub) => facts.binds(sub),
            Expr::Call(call) => {
                let of_row = call
                    .arguments
                    .iter()
                    .any(|a| a.any(|p| p.row_column().is_some()));
                of_row && (facts.asks(e) || facts.is_closed(e))
            }
            _ => false,
        })
}

fn report(facts: &Facts<'_>, policy: &PolicyFacts<'_>, dropped: &[String], sink: &mut Sink<'_>) {
    let writing = [Command::Insert, Command::Update];
    let roles = facts.reached(policy, &writing);
    let severity = if roles.is_empty() || facts.is_narrowed(policy, &writing) {
        Severity::Note
    } else if roles.iter().any(|r| is_anonymous(r) || *r == "public") {
        Severity::Error
    } else {
        Severity::Warning
    };
    let what = if dropped.is_empty() {
        "is always true".to_owned()
    } else {
        format!("says nothing of {}", dropped.join(", "))
    };
    sink.report(
        policy
            .found(
                severity,
                format!(
                    "WITH CHECK {what}, unlike USING: {} can write rows made out to others",
                    list(&roles)
                ),
            )
            .evidence("dropped", dropped.to_vec())
            .evidence("roles", roles)
            .advice("Repeat the condition of USING in WITH CHECK, or make the policy anew without WITH CHECK."),
    );
}
