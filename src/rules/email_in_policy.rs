use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::Severity;
use crate::sql::expr::Expr;

rule! {
    /// ## What it finds
    /// A policy that tells users apart by their address: `auth.email()`, or the claim `email`.
    ///
    /// ## Why it matters
    /// Addresses change, and rows then belong to nobody or to whoever gets the address next. They are also written in
    /// several ways: `=` tells `Ada@example.org` from `ada@example.org`.
    ///
    /// ## What to do
    /// Compare the user's id, which never changes, and keep the address for showing. The finding is a note where the
    /// policy asks for the id as well.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_email text);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_email = (select auth.jwt() ->> 'email'));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// ```
    "email-in-policy" {
        summary: "a policy tells users apart by their address",
        category: Category::Safety,
        also: &["pgrls SEC034"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        let any = |wanted: fn(&Expr) -> bool| policy.quals().any(|(_, q)| q.expr.any(wanted));
        if any(is_email) {
            report(policy, any(is_id), sink);
        }
    }
}

fn report(policy: &PolicyFacts<'_>, beside_id: bool, sink: &mut Sink<'_>) {
    let (severity, what) = if beside_id {
        (Severity::Note, "beside the user's id")
    } else {
        (Severity::Warning, "and by nothing that stays")
    };
    sink.report(
        policy
            .found(
                severity,
                format!("tells users apart by their address, {what}: it changes, and = minds its case"),
            )
            .evidence("beside_id", beside_id)
            .advice("Compare the user's id, (select auth.uid()), and fill such a column from the addresses."),
    );
}

fn is_email(expr: &Expr) -> bool {
    match expr {
        Expr::Call(call) => call.schema == "auth" && call.name == "email",
        Expr::Compare(c) => {
            matches!(c.operator.as_str(), "->" | "->>")
                && c.right.text() == Some("email")
                && c.left.any(|e| {
                    matches!(e, Expr::Call(call) if call.schema == "auth" && call.name == "jwt"
                    || call.name == "current_setting")
                })
        }
        _ => false,
    }
}

fn is_id(expr: &Expr) -> bool {
    matches!(expr, Expr::Call(call) if call.schema == "auth" && call.name == "uid")
}
