use super::reach::{COMMANDS, list};
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Command, Severity};
use crate::sql::expr::Expr;
use crate::sql::fold::{Session, fold};

rule! {
    /// ## What it finds
    /// A permissive policy that lets every row through for a session in which nobody has logged in, although it does
    /// not for others: `auth.uid() is null or owner_id = auth.uid()` and what comes to the same, written with NOT,
    /// COALESCE, a cast, or inside a function; `coalesce(auth.uid(), owner_id) = owner_id` compares the column with
    /// itself there. It is found by evaluating the policy with the values that such a session
    /// has: no user id, no claims or only the role `anon`, settings that are NULL or empty.
    ///
    /// ## Why it matters
    /// The test for a missing user is turned round: strangers see everything, users only their own.
    ///
    /// ## What to do
    /// Ask for `is not null`, joined by AND; better, leave it out, for a comparison with NULL is never true. Rows that
    /// are meant for everybody need a condition on the row.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid);
    /// grant select on doc to anon;
    /// alter table doc enable row level security;
    /// create policy own on doc for select using ((select auth.uid()) is null or owner_id = (select auth.uid()));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid);
    /// grant select on doc to anon;
    /// alter table doc enable row level security;
    /// create policy own on doc for select using (owner_id = (select auth.uid()));
    /// ```
    "true-without-login" {
        summary: "a policy lets everything through where nobody has logged in",
        category: Category::Safety,
        severity: Severity::Error,
        also: &["pgrls SEC004", "pgrls SEC038", "pgrls SEC039"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force().filter(|p| p.policy.permissive) {
        for (clause, qual) in policy.quals() {
            if let Some(open) = lets_in(facts, policy, &qual.expr) {
                report(facts, policy, clause, open, sink);
                break;
            }
        }
    }
}

/// The first session without a login for which it is true of every row, and whether that takes a row without NULL.
fn lets_in(facts: &Facts<'_>, policy: &PolicyFacts<'_>, expr: &Expr) -> Option<(Session, bool)> {
    if facts.fold(policy, expr, Session::Any).is_true() {
        return None;
    }
    let mut sessions = Session::ANONYMOUS.into_iter();
    if let Some(session) = sessions.find(|s| facts.fold(policy, expr, *s).is_true()) {
        return Some((session, false));
    }
    let mut full = policy.table.clone();
    for column in &mut full.columns {
        column.not_null = true;
    }
    let comes_to = |session: Session| fold(expr, Some(&full), &session, facts);
    // What asks for nothing but that a column is filled is open to everybody, logged in or not.
    if comes_to(Session::Any).is_true() {
        return None;
    }
    let mut sessions = Session::ANONYMOUS.into_iter();
    let session = sessions.find(|s| comes_to(*s).is_true())?;
    Some((session, true))
}

fn report(
    facts: &Facts<'_>,
    policy: &PolicyFacts<'_>,
    clause: &str,
    (session, filled): (Session, bool),
    sink: &mut Sink<'_>,
) {
    let concerned: Vec<Command> = if clause == "USING" {
        COMMANDS
            .into_iter()
            .filter(|c| *c != Command::Insert)
            .collect()
    } else {
        vec![Command::Insert, Command::Update]
    };
    let anonymous = facts.reached_anonymously(policy, &concerned);
    let commands: Vec<&str> = concerned
        .iter()
        .filter(|c| policy.policy.command.covers(**c))
        .map(|c| c.keyword())
        .collect();
    // A policy that asks for the role anon means it.
    let meant = session == Session::AnonKey && asks_for_anon(policy);
    let severity = match (
        anonymous.is_empty(),
        meant || facts.is_narrowed(policy, &concerned),
    ) {
        (false, false) => Severity::Error,
        (true, true) => Severity::Note,
        _ => Severity::Warning,
    };
    let who = if anonymous.is_empty() {
        "no role that stands for strangers has the privilege so far".to_owned()
    } else {
        format!("{} by {}", list(&commands), list(&anonymous))
    };
    let rows = if filled {
        "every row without a NULL in what it compares"
    } else {
        "every row"
    };
    sink.report(
        policy
            .found(
                severity,
                format!("{clause} is true for {rows} {}, without a login: {who}", session.words()),
            )
            .evidence("clause", clause)
            .evidence("commands", commands)
            .evidence("roles", anonymous)
            .advice("Turn the test round (is not null, joined by AND) or leave it out: a comparison with NULL is never true."),
    );
}

fn asks_for_anon(policy: &PolicyFacts<'_>) -> bool {
    policy
        .quals()
        .any(|(_, q)| q.expr.any(|e| e.text() == Some("anon")))
}
