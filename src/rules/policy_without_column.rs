use super::meaning::is_identity;
use super::reach::{COMMANDS, list};
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Command, Severity};
use crate::sql::expr::Expr;
use crate::sql::fold::Session;

rule! {
    /// ## What it finds
    /// A permissive policy that names no column of its table, and that every user who has logged in passes, such as
    /// `auth.role() = 'authenticated'` or `auth.uid() is not null`, or that asks nothing about who calls at all.
    ///
    /// ## Why it matters
    /// It is `using (true)` in disguise: it looks like a test and shows every row to everybody. The finding is a warning
    /// where the table has a column that tells whose row it is, or where such users can write. A test that only some
    /// users pass, as `is_admin()`, is not meant.
    ///
    /// ## What to do
    /// Say whose rows are meant. Where all are, name the role in TO and write `true`, which costs nothing for each row.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy members on doc for select to app using ((select auth.uid()) is not null);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// ```
    "policy-without-column" {
        summary: "a policy that every user passes shows every row",
        category: Category::Safety,
        severity: Severity::Note,
        also: &["pgrls SEC005"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force().filter(|p| p.policy.permissive) {
        let stored = [&policy.policy.using, &policy.policy.check];
        let there = stored.iter().filter(|c| c.is_some()).count();
        let quals: Vec<&Expr> = policy.quals().map(|(_, q)| &q.expr).collect();
        if there == 0 || quals.len() < there || quals.iter().any(|e| names_row(e)) {
            continue;
        }
        // What is always or never true is other rules'.
        let open = quals.iter().all(|e| {
            let value = facts.fold(policy, e, Session::Any);
            !value.is_true() && !value.is_never_true()
        });
        if !open {
            continue;
        }
        let by_login = quals
            .iter()
            .all(|e| facts.fold(policy, e, Session::User).is_true());
        let asks = quals
            .iter()
            .any(|e| e.any(|p| facts.asks(p) || facts.is_closed(p)));
        let roles = facts.reached(policy, &COMMANDS);
        if (by_login || !asks) && !roles.is_empty() {
            report(facts, policy, by_login, &roles, sink);
        }
    }
}

fn names_row(expr: &Expr) -> bool {
    // A whole row given to a function is written as the table's name.
    expr.any(|e| matches!(e, Expr::Column(c) if c.row))
}

fn report(
    facts: &Facts<'_>,
    policy: &PolicyFacts<'_>,
    by_login: bool,
    roles: &[&str],
    sink: &mut Sink<'_>,
) {
    let whose = policy.table.columns.iter().find(|c| is_identity(&c.name));
    let writing = [Command::Insert, Command::Update, Command::Delete];
    let writes = !facts.reached(policy, &writing).is_empty();
    let severity = if writes || whose.is_some() {
        Severity::Warning
    } else {
        Severity::Note
    };
    let who = if by_login {
        "every user who has logged in gets"
    } else {
        "it is the same for everybody, who gets"
    };
    let whatever = whose.map_or_else(String::new, |c| format!(", whatever its {}", c.name));
    sink.report(
        policy
            .found(
                severity,
                format!(
                    "names no column of the row: {who} every row{whatever}, by {}",
                    list(roles)
                ),
            )
            .evidence("roles", roles.to_vec())
            .evidence("passed_by_every_user", by_login)
            .evidence("rows", policy.table.row_estimate())
            .advice(
                "Say whose rows are meant; where all are, write TO with the role and USING (true).",
            ),
    );
}
