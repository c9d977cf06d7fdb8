use super::reach::{COMMANDS, list};
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::Severity;
use crate::sql::expr::{Expr, How};

rule! {
    /// ## What it finds
    /// A policy that compares a column with `current_user` or `session_user`.
    ///
    /// ## Why it matters
    /// That tells rows apart only where each user or tenant has a database role. Behind a pool or an API server all of
    /// them share one role, and then everybody matches the same rows.
    ///
    /// ## What to do
    /// Compare with what the application sets for each request: a setting or a claim. With a role for each tenant,
    /// leave it; the finding is a note where more than two roles meet the policy.
    /// ```sql,bad
    /// create table doc (id int primary key, owner text);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner = current_user);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner text);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner = (select current_setting('app.user', true)));
    /// ```
    "role-keyed-policy" {
        summary: "a policy tells rows apart by the database role",
        category: Category::Safety,
        also: &["pgrls SEC018"],
        check: check,
    }
}

/// More roles than that are roles of users or tenants.
const FEW_ROLES: usize = 2;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        let mut column = None;
        for (_, qual) in policy.quals() {
            qual.expr.walk(&mut |e| {
                if let Some(found) = keyed(e) {
                    column.get_or_insert(found);
                }
            });
        }
        if let Some((column, word)) = column {
            report(facts, policy, column, word, sink);
        }
    }
}

/// The row's column and the word that it is compared with.
fn keyed(expr: &Expr) -> Option<(&str, &'static str)> {
    let Expr::Compare(compare) = expr else {
        return None;
    };
    let comparison = matches!(
        compare.operator.as_str(),
        "=" | "<>" | "<" | ">" | "<=" | ">="
    );
    if !comparison || matches!(compare.how, How::Distinct | How::NullIf) {
        return None;
    }
    compare.sides().into_iter().find_map(|(word, other)| {
        let Expr::Keyword(word @ ("current_user" | "session_user")) = word.value() else {
            return None;
        };
        let mut column = None;
        other.walk_outside(&mut |e| {
            if let Expr::Column(c) = e
                && c.row
            {
                column = Some(c.name.as_str());
            }
        });
        Some((column?, *word))
    })
}

fn report(
    facts: &Facts<'_>,
    policy: &PolicyFacts<'_>,
    column: &str,
    word: &str,
    sink: &mut Sink<'_>,
) {
    let reached = facts.reached(policy, &COMMANDS);
    // Whoever inherits one of them may be the one who asks.
    let roles: Vec<&str> = facts
        .catalog
        .roles
        .iter()
        .filter(|(name, role)| {
            !role.superuser && !role.bypass_rls && reached.iter().any(|r| facts.acts_as(name, r))
        })
        .map(|(name, _)| name.as_str())
        .collect();
    let everybody = reached.contains(&"public");
    let (severity, shared) = if reached.is_empty() || everybody || roles.len() > FEW_ROLES {
        (
            Severity::Note,
            "where users share a role, all of them match the same rows".to_owned(),
        )
    } else {
        let one = format!("whoever comes as {} matches the same rows", list(&roles));
        (Severity::Warning, one)
    };
    sink.report(
        policy
            .found(severity, format!("compares {column} with {word}: {shared}"))
            .evidence("column", column)
            .evidence("word", word)
            .evidence("roles", roles)
            .advice(
                "Compare with what is set for each request, such as (select current_setting('app.user', true)), unless \
                 each user has a role.",
            ),
    );
}
