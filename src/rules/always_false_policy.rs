use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Command, Severity};
use crate::sql::expr::Expr;
use crate::sql::fold::{Session, Value};

rule! {
    /// ## What it finds
    /// A policy that no row can pass: `using (false)`, a comparison with NULL, two conditions that exclude each other.
    ///
    /// ## Why it matters
    /// A permissive policy that is never true grants nothing, a restrictive one forbids everything. As plain `false` it
    /// may be meant, and then privileges say it better: a statement that is not allowed fails instead of finding
    /// nothing. Anything else is a mistake, `column = null` most of all: it is NULL for every row.
    ///
    /// ## What to do
    /// Write `is null` for a comparison with NULL. Where nobody is to have access, revoke the privilege and drop the
    /// policy.
    /// ```sql,bad
    /// create table doc (id int primary key, deleted_at timestamptz);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy living on doc for select to app using (deleted_at = null);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, deleted_at timestamptz);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy living on doc for select to app using (deleted_at is null);
    /// ```
    "always-false-policy" {
        summary: "a policy that no row can pass",
        category: Category::Safety,
        also: &["pgrls SEC010"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        let mut found = policy.quals().filter_map(|(clause, qual)| {
            let value = facts.fold(policy, &qual.expr, Session::Any);
            value.is_never_true().then_some((clause, &qual.expr, value))
        });
        if let Some((clause, expr, value)) = found.next() {
            report(policy, clause, expr, &value, sink);
        }
    }
}

fn report(policy: &PolicyFacts<'_>, clause: &str, expr: &Expr, value: &Value, sink: &mut Sink<'_>) {
    let meant = *expr == Expr::Bool(false);
    let why = match value {
        _ if meant => "is false",
        Value::Null => "is NULL for every row, as a comparison with NULL is",
        Value::Raises => "is an error for every row",
        _ => "comes to false or NULL for every row",
    };
    let writing = clause == "WITH CHECK" || policy.policy.command == Command::Insert;
    let what = match (policy.policy.permissive, writing) {
        (true, false) => "it lets no row through",
        (true, true) => "no row can be written by it",
        (false, false) => "no row is visible, whatever else allows it",
        (false, true) => "no row can be written, whatever else allows it",
    };
    let severity = if meant {
        Severity::Note
    } else {
        Severity::Warning
    };
    let advice = if meant {
        "If nobody is to have access, revoke the privilege and drop the policy: a denied statement then says so."
    } else {
        "Write IS NULL or IS NOT DISTINCT FROM where NULL is meant to match; otherwise mend the condition."
    };
    sink.report(
        policy
            .found(severity, format!("{clause} {why}: {what}"))
            .evidence("clause", clause)
            .evidence("literal", meant)
            .advice(advice),
    );
}
