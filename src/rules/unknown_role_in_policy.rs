use super::{Category, Facts, Sink, rule};
use crate::model::Severity;
use crate::sql::expr::{Compare, Expr, How};
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A policy that compares the session's role, by `auth.role()`, the claim `role`, `current_user` or `session_user`,
    /// with a name that is no role of this server.
    ///
    /// ## Why it matters
    /// An API server switches to the role that the token names, so a role that does not exist is never the session's:
    /// the comparison is never true, and the policy silently lets nobody in. Usually a slip of the pen, or a role of the
    /// application looked for in the wrong place.
    ///
    /// ## What to do
    /// Write the role's name as it is. Roles of the application belong into `app_metadata` or a table.
    /// ```sql,bad
    /// create table doc (id int primary key, org int);
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app using ((select auth.jwt() ->> 'role') = 'authenticted' and org = 1);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org int);
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app using ((select auth.jwt() ->> 'role') = 'app' and org = 1);
    /// ```
    "unknown-role-in-policy" {
        summary: "a policy asks for a role that does not exist",
        category: Category::Safety,
        also: &["pgrls SEC037"],
        check: check,
    }
}

/// Roles that Supabase's tokens name; they exist wherever its API runs.
const USUAL: &[&str] = &["anon", "authenticated", "service_role"];

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        let mut names = BTreeSet::new();
        for (_, qual) in policy.quals() {
            qual.expr.walk(&mut |e| {
                if let Expr::Compare(compare) = e {
                    names.extend(asked_for(compare));
                }
            });
        }
        names.retain(|name| !USUAL.contains(name) && !facts.catalog.roles.contains_key(*name));
        if names.is_empty() {
            continue;
        }
        let names: Vec<&str> = names.into_iter().collect();
        sink.report(
            policy
                .found(
                    Severity::Warning,
                    format!(
                        "compares the session's role with {}, which is no role: that is never true",
                        names.join(", ")
                    ),
                )
                .evidence("names", names)
                .advice("Write the name of a role, or ask app_metadata or a table for what the application calls a role."),
        );
    }
}

/// Names that the role is compared with for equality.
fn asked_for(compare: &Compare) -> Vec<&str> {
    if compare.operator != "=" {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (role, other) in compare.sides() {
        if !is_role(role) {
            continue;
        }
        match other.value() {
            Expr::Text(name) if compare.how == How::Plain => found.push(name.as_str()),
            Expr::Array(names) if compare.how == How::Any => {
                found.extend(names.iter().filter_map(Expr::text))
            }
            _ => {}
        }
    }
    found
}

fn is_role(expr: &Expr) -> bool {
    match expr.value() {
        Expr::Keyword(word) => matches!(*word, "current_user" | "session_user"),
        Expr::Call(call) => {
            let setting = call.arguments.first().and_then(Expr::text);
            call.schema == "auth" && call.name == "role"
                || call.schema.is_empty()
                    && call.name == "current_setting"
                    && matches!(setting, Some("role" | "request.jwt.claim.role"))
        }
        Expr::Compare(c) => {
            let token = |e: &Expr| {
                matches!(e, Expr::Call(call) if call.schema == "auth" && call.name == "jwt"
                    || call.arguments.first().and_then(Expr::text) == Some("request.jwt.claims"))
            };
            // A `role` further inside, as in app_metadata, is the application's.
            let direct = match c.left.value() {
                Expr::Compare(inner) => inner.how == How::NullIf && inner.left.any_outside(token),
                other => token(other),
            };
            c.operator == "->>" && c.right.text() == Some("role") && direct
        }
        _ => false,
    }
}
