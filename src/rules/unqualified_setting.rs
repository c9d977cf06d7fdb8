use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::Severity;
use crate::sql::expr::Expr;
use std::collections::BTreeMap;

rule! {
    /// ## What it finds
    /// A policy that reads a setting whose name has no prefix, as in `current_setting('tenant_id', true)`.
    ///
    /// ## Why it matters
    /// Settings of an application must have a prefix: `SET tenant_id = …` is refused. The policy then never matches, or
    /// fails with each statement where the second argument is missing. Names without a prefix are the server's own, and
    /// those that a policy may read, such as `application_name`, can be set by every client.
    ///
    /// ## What to do
    /// Write the name with its prefix, as the application sets it.
    /// ```sql,bad
    /// create table doc (id int primary key, tenant_id int);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (tenant_id = (select current_setting('tenant_id', true)::int));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, tenant_id int);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (tenant_id = (select current_setting('app.tenant_id', true)::int));
    /// ```
    "unqualified-setting" {
        summary: "a policy reads a setting that no application can make",
        category: Category::Safety,
        also: &["pgrls SEC024"],
        check: check,
    }
}

/// Settings of the server that a policy may read with a purpose.
const SERVER: &[&str] = &[
    "application_name",
    "datestyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "is_superuser",
    "lc_messages",
    "role",
    "search_path",
    "server_version",
    "server_version_num",
    "session_authorization",
    "session_replication_role",
    "timezone",
    "transaction_isolation",
    "transaction_read_only",
];

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        // Name, to whether a missing one is an error.
        let mut names: BTreeMap<&str, bool> = BTreeMap::new();
        for (_, qual) in policy.quals() {
            qual.expr.walk(&mut |e| {
                if let Some((name, fails)) = unqualified(e) {
                    *names.entry(name).or_default() |= fails;
                }
            });
        }
        for (name, fails) in names {
            let own = SERVER.contains(&name.to_lowercase().as_str())
                || facts.catalog.server.settings.contains_key(name);
            report(policy, name, own, fails, sink);
        }
    }
}

fn unqualified(expr: &Expr) -> Option<(&str, bool)> {
    let Expr::Call(call) = expr else {
        return None;
    };
    if !call.schema.is_empty() || call.name != "current_setting" {
        return None;
    }
    let (name, rest) = call.arguments.split_first()?;
    let name = name.text().filter(|n| !n.is_empty() && !n.contains('.'))?;
    Some((name, !matches!(rest, [Expr::Bool(true)])))
}

fn report(policy: &PolicyFacts<'_>, name: &str, own: bool, fails: bool, sink: &mut Sink<'_>) {
    let (severity, what) = match (own, fails) {
        (true, _) => (
            Severity::Note,
            "which is the server's own and no value of the application",
        ),
        (false, true) => (
            Severity::Error,
            "which no session can set: every statement fails",
        ),
        (false, false) => (
            Severity::Warning,
            "which no session can set: it is always NULL",
        ),
    };
    sink.report(
        policy
            .found(severity, format!("reads the setting {name}, {what}"))
            .evidence("setting", name)
            .evidence("fails", fails)
            .advice(format!(
                "Write the name with its prefix, such as app.{name}."
            )),
    );
}
