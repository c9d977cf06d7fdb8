use super::{Category, Facts, Sink, rule};
use crate::model::Severity;
use crate::sql::expr::{Compare, Expr};
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A policy that matches with LIKE, ILIKE, SIMILAR TO or a regular expression, where the value that tells who asks is
    /// the pattern, or is matched against a pattern that is stored in the data.
    ///
    /// ## Why it matters
    /// `%`, `_` and `.*` in a value match what they were not meant to: a setting or claim that is `%` matches every row.
    /// The server cannot use an index for it either.
    ///
    /// ## What to do
    /// Compare with `=`; for addresses whatever their case, `lower(a) = lower(b)`.
    /// ```sql,bad
    /// create table doc (id int primary key, email text);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (email ilike (select current_setting('app.email', true)));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, email text);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app
    ///   using (lower(email) = (select lower(current_setting('app.email', true))));
    /// ```
    "pattern-from-session" {
        summary: "a value that tells who asks is used as a pattern",
        category: Category::Safety,
        also: &["pgrls SEC026"],
        check: check,
    }
}

const PATTERNS: &[&str] = &["~~", "~~*", "!~~", "!~~*", "~", "~*", "!~", "!~*"];
/// Types whose `~` is no regular expression.
const OTHER_TYPES: &[&str] = &[
    "ltree",
    "lquery",
    "ltxtquery",
    "box",
    "circle",
    "polygon",
    "point",
];

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        let mut operators = BTreeSet::new();
        for (_, qual) in policy.quals() {
            qual.expr.walk(&mut |e| {
                if let Expr::Compare(compare) = e
                    && is_from_session(facts, compare)
                {
                    operators.insert(compare.operator.as_str());
                }
            });
        }
        if operators.is_empty() {
            continue;
        }
        // NOT LIKE with a pattern that matches everything hides everything.
        let only_hides = operators.iter().all(|o| o.starts_with('!'));
        let what = if only_hides {
            "hides every row"
        } else {
            "shows every row"
        };
        let operators: Vec<&str> = operators.into_iter().collect();
        sink.report(
            policy
                .found(
                    Severity::Warning,
                    format!(
                        "matches by {} with a value that tells who asks: a value such as % or .* {what}",
                        operators.join(", ")
                    ),
                )
                .evidence("operators", operators)
                .advice("Compare with =, of lower() on both sides where case is not to matter."),
        );
    }
}

fn is_from_session(facts: &Facts<'_>, compare: &Compare) -> bool {
    if !PATTERNS.contains(&compare.operator.as_str())
        || [&compare.left, &compare.right]
            .into_iter()
            .any(of_other_type)
    {
        return false;
    }
    // A fixed pattern was written by whoever wrote the policy.
    facts.is_session_value(&compare.right)
        || facts.is_session_value(&compare.left) && !is_fixed(&compare.right)
}

fn is_fixed(expr: &Expr) -> bool {
    match expr.value() {
        Expr::Call(call) if call.name == "similar_to_escape" => {
            call.arguments.iter().all(Expr::is_literal)
        }
        _ => expr.is_literal(),
    }
}

fn of_other_type(expr: &Expr) -> bool {
    match expr {
        Expr::Cast(_, to) => OTHER_TYPES.contains(&to.as_str()),
        Expr::SubSelect(sub) => sub.scalar().is_some_and(of_other_type),
        Expr::Call(call) => OTHER_TYPES.contains(&call.name.as_str()),
        _ => false,
    }
}
