use super::meaning::is_identity;
use super::reach::{COMMANDS, is_anonymous, list};
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Command, Severity};
use crate::sql::expr::Expr;
use crate::sql::fold::Session;

rule! {
    /// ## What it finds
    /// A permissive policy that lets every row through: `using (true)`, `with check (true)`, and whatever comes to the
    /// same, such as `1 = 1`, a branch `or true`, or a function that returns true.
    ///
    /// ## Why it matters
    /// Permissive policies are joined by OR, so all others for the same role and command mean nothing beside it. Where
    /// it is for writing, everybody who holds the privilege can change or delete every row.
    ///
    /// ## What to do
    /// Say whose rows are meant. Where every row is meant, limit the policy to SELECT and to the roles that may read.
    ///
    /// A policy for reading alone is a note: that is how public data is usually written. It is a warning where the
    /// table has a column that tells whose row it is, or where the condition looks like one.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid);
    /// grant select, insert, update, delete on doc to app;
    /// alter table doc enable row level security;
    /// create policy everything on doc for all to app using (owner_id is not null or 1 = 1);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid);
    /// grant select, insert, update, delete on doc to app;
    /// alter table doc enable row level security;
    /// create policy own on doc for all to app using (owner_id = (select auth.uid()));
    /// ```
    "always-true-policy" {
        summary: "a permissive policy lets every row through",
        category: Category::Safety,
        also: &[
            "pgrls SEC006",
            "pgrls SEC008",
            "pgrls SEC011",
            "pgrls SEC028",
            "pgrls SEC038",
            "pgrls SEC039",
            "splinter 0024_rls_policy_always_true",
        ],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force().filter(|p| p.policy.permissive) {
        // Whom no policy concerns is another rule's.
        let mut roles = policy.policy.roles.iter();
        if !roles.any(|role| facts.meets_policies(role, policy.table)) {
            continue;
        }
        let open = open_commands(facts, policy);
        if !open.is_empty() {
            report(facts, policy, &open, sink);
        }
    }
}

/// The commands whose rows the policy does not look at. A scoped USING beside an open WITH CHECK is another rule's.
fn open_commands(facts: &Facts<'_>, policy: &PolicyFacts<'_>) -> Vec<Command> {
    let open = |e: Option<&Expr>| e.is_some_and(|e| facts.fold(policy, e, Session::Any).is_true());
    let (seen, written) = (open(policy.seen()), open(policy.written()));
    let scoped = policy.seen().is_some() && !seen;
    COMMANDS
        .into_iter()
        .filter(|c| policy.policy.command.covers(*c))
        .filter(|command| match command {
            Command::Insert => written && !scoped,
            _ => seen,
        })
        .collect()
}

fn report(facts: &Facts<'_>, policy: &PolicyFacts<'_>, open: &[Command], sink: &mut Sink<'_>) {
    let roles = facts.reached(policy, open);
    let narrowed = facts.is_narrowed(policy, open);
    let writing: Vec<Command> = open
        .iter()
        .copied()
        .filter(|c| *c != Command::Select)
        .collect();
    let writers = facts.reached(policy, &writing);
    let by_anybody = writers.iter().any(|r| is_anonymous(r) || *r == "public");
    let hidden = policy
        .quals()
        .any(|(_, q)| !matches!(q.expr, Expr::Bool(_)));
    let whose = policy.table.columns.iter().find(|c| is_identity(&c.name));
    let severity = if narrowed || roles.is_empty() {
        Severity::Note
    } else if by_anybody {
        Severity::Error
    } else if !writers.is_empty() || hidden || whose.is_some() {
        Severity::Warning
    } else {
        Severity::Note
    };
    let commands: Vec<&str> = open.iter().map(|c| c.keyword()).collect();
    let whatever = whose.map_or_else(String::new, |c| format!(", whatever its {}", c.name));
    let held = if narrowed {
        ", held by restrictive policies alone"
    } else {
        ""
    };
    let message = format!(
        "is true for every row{whatever}: {} by {}{held}",
        list(&commands),
        list(&roles)
    );
    let advice = if writing.is_empty() {
        "If every row is meant to be read by these roles, leave it; otherwise say whose rows are."
    } else {
        "Say which rows may be written, with a column of the row; open reading alone is FOR SELECT."
    };
    sink.report(
        policy
            .found(severity, message)
            .evidence("commands", commands)
            .evidence("roles", roles)
            .evidence("narrowed", narrowed)
            .evidence("rows", policy.table.row_estimate())
            .advice(advice),
    );
}
