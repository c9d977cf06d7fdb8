use super::meaning::is_identity;
use super::reach::COMMANDS;
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::Severity;
use crate::sql::expr::{Expr, How};
use crate::sql::fold::Session;

rule! {
    /// ## What it finds
    /// A policy that compares a column which tells whose row it is (`tenant_id`, `owner_id`, …) with a constant.
    ///
    /// ## Why it matters
    /// Everybody gets the same rows, whoever asks: usually a value of the developer's own tenant that was never replaced.
    /// It is a note where another part of the policy does depend on who asks, for then it may mark shared rows.
    ///
    /// ## What to do
    /// Compare with a setting or a claim of the request.
    /// ```sql,bad
    /// create table doc (id int primary key, tenant_id int);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (tenant_id = 1);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, tenant_id int);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (tenant_id = (select current_setting('app.tenant', true)::int));
    /// ```
    "identity-compared-with-literal" {
        summary: "a policy is pinned to one tenant or user",
        category: Category::Safety,
        also: &["pgrls SEC021"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        let mut column = None;
        for (_, qual) in policy.quals() {
            qual.expr.walk(&mut |e| {
                if let Some(found) = pinned(e) {
                    column.get_or_insert(found);
                }
            });
        }
        // What lets everything through is reported as that.
        let mut quals = policy.quals();
        if quals.any(|(_, q)| facts.fold(policy, &q.expr, Session::Any).is_true()) {
            continue;
        }
        if let Some(column) = column {
            report(facts, policy, column, sink);
        }
    }
}

/// The column, in the row or in a sub-select.
fn pinned(expr: &Expr) -> Option<&str> {
    let Expr::Compare(compare) = expr else {
        return None;
    };
    if compare.operator != "=" || compare.how != How::Plain {
        return None;
    }
    compare.sides().into_iter().find_map(|(column, other)| {
        let Expr::Column(column) = column.value() else {
            return None;
        };
        (is_identity(&column.name) && other.is_literal()).then_some(column.name.as_str())
    })
}

fn report(facts: &Facts<'_>, policy: &PolicyFacts<'_>, column: &str, sink: &mut Sink<'_>) {
    let asks = policy
        .quals()
        .any(|(_, q)| q.expr.any(|e| facts.asks(e) || facts.is_closed(e)));
    let roles = facts.reached(policy, &COMMANDS);
    let (severity, what) = if roles.is_empty() {
        (
            Severity::Note,
            "it would show everybody the same rows, whoever asks",
        )
    } else if asks {
        (
            Severity::Note,
            "that part does not depend on who asks, others do",
        )
    } else {
        (
            Severity::Warning,
            "everybody gets the same rows, whoever asks",
        )
    };
    sink.report(
        policy
            .found(severity, format!("compares {column} with a constant: {what}"))
            .evidence("column", column)
            .evidence("depends_on_who_asks", asks)
            .evidence("roles", roles)
            .advice("Compare with what the request says, such as (select current_setting('app.tenant_id', true))."),
    );
}
