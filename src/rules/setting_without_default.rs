use super::{Category, Facts, Sink, rule};
use crate::model::Severity;
use crate::sql::expr::Expr;
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A policy that reads a setting of the application with `current_setting('app.name')`, without the second argument.
    ///
    /// ## Why it matters
    /// Every statement on the table fails with "unrecognized configuration parameter" (SQLSTATE 42704) in a session that
    /// never set it: a migration, a job, a tool. That may be meant, so that a forgotten setting is noticed; with `true`
    /// as second argument the setting is NULL there, and no row matches.
    ///
    /// ## What to do
    /// Decide, and do the same in all policies.
    /// ```sql,bad
    /// create table doc (id int primary key, org int);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (org = (select current_setting('app.org')::int));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org int);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (org = (select nullif(current_setting('app.org', true), '')::int));
    /// ```
    "setting-without-default" {
        summary: "a policy fails where a setting was never made",
        category: Category::Safety,
        severity: Severity::Note,
        also: &["pgrls SEC019"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        let mut names = BTreeSet::new();
        for (_, qual) in policy.quals() {
            qual.expr.walk(&mut |e| names.extend(raising(e)));
        }
        if names.is_empty() {
            continue;
        }
        let names: Vec<&str> = names.into_iter().collect();
        sink.report(
            policy
                .found(
                    Severity::Note,
                    format!(
                        "reads {} without a default: statements fail in sessions that never set it",
                        names.join(", ")
                    ),
                )
                .evidence("settings", names)
                .advice("Leave it if a missing setting is to be an error; otherwise give `true` as second argument."),
        );
    }
}

/// The name of a setting that may be missing, where that is an error. The server's own settings are never missing.
fn raising(expr: &Expr) -> Option<&str> {
    let Expr::Call(call) = expr else {
        return None;
    };
    if !call.schema.is_empty() || call.name != "current_setting" {
        return None;
    }
    match call.arguments.as_slice() {
        [name] | [name, Expr::Bool(false)] => {
            let name = name.text().unwrap_or("a setting");
            (name.contains('.') || name == "a setting").then_some(name)
        }
        _ => None,
    }
}
