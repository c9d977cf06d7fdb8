use super::reach::{is_anonymous, list};
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Command, Severity};
use crate::sql::expr::Expr;
use crate::sql::fold::Session;

rule! {
    /// ## What it finds
    /// A permissive policy by which a role for sessions without a login (`anon`) can insert, update or delete rows.
    ///
    /// ## Why it matters
    /// Nobody knows who wrote what, and there is nobody to stop. For INSERT that is sometimes meant, as for a contact
    /// form; for UPDATE and DELETE hardly ever.
    ///
    /// ## What to do
    /// Limit the policy to the role of those who have logged in, and revoke the privilege from the other.
    ///
    /// It is a note where the privilege is missing, and where the condition cannot hold without a claim or setting:
    /// then the role is only named for nothing, or its claims are what matters.
    /// ```sql,bad
    /// create table doc (id int primary key, open boolean);
    /// grant select, update on doc to anon;
    /// alter table doc enable row level security;
    /// create policy change on doc for update to anon using (open);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, open boolean);
    /// grant select, update on doc to app;
    /// alter table doc enable row level security;
    /// create policy change on doc for update to app using (open);
    /// ```
    "anonymous-write" {
        summary: "strangers can write rows",
        category: Category::Safety,
        severity: Severity::Error,
        also: &["pgrls SEC039"],
        check: check,
    }
}

const WRITING: [Command; 3] = [Command::Insert, Command::Update, Command::Delete];

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force().filter(|p| p.policy.permissive) {
        let named: Vec<&str> = policy
            .policy
            .roles
            .iter()
            .map(String::as_str)
            .filter(|r| is_anonymous(r))
            .collect();
        let commands: Vec<Command> = WRITING
            .into_iter()
            .filter(|c| policy.policy.command.covers(*c))
            .filter(|c| !named.is_empty() || !facts.reached_anonymously(policy, &[*c]).is_empty())
            .collect();
        if commands.is_empty() {
            continue;
        }
        let roles = facts.reached_anonymously(policy, &commands);
        let held: Vec<Command> = commands
            .iter()
            .copied()
            .filter(|c| !facts.reached_anonymously(policy, &[*c]).is_empty())
            .collect();
        match passes(facts, policy, &commands) {
            // Whatever lets everything through is reported as that.
            Passes::Always => {}
            Passes::Never if named.is_empty() => {}
            passes => report(policy, &named, &roles, &held, passes == Passes::Never, sink),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Passes {
    Always,
    Never,
    Sometimes,
}

/// Whether rows pass in sessions without a login.
fn passes(facts: &Facts<'_>, policy: &PolicyFacts<'_>, commands: &[Command]) -> Passes {
    let clauses: Vec<&Expr> = commands
        .iter()
        .filter_map(|command| match command {
            Command::Insert => policy.written(),
            _ => policy.seen(),
        })
        .collect();
    let sessions = Session::ANONYMOUS.iter();
    let values: Vec<_> = sessions
        .flat_map(|s| clauses.iter().map(|e| facts.fold(policy, e, *s)))
        .collect();
    if values.iter().any(crate::sql::fold::Value::is_true) {
        Passes::Always
    } else if values.iter().all(crate::sql::fold::Value::is_never_true) {
        Passes::Never
    } else {
        Passes::Sometimes
    }
}

fn report(
    policy: &PolicyFacts<'_>,
    named: &[&str],
    roles: &[&str],
    held: &[Command],
    never: bool,
    sink: &mut Sink<'_>,
) {
    let only_insert = held == [Command::Insert];
    let (severity, what) = if held.is_empty() {
        (Severity::Note, "has no privilege to so far")
    } else if never {
        (
            Severity::Note,
            "may, but the condition holds only with a claim or setting",
        )
    } else if only_insert {
        (Severity::Warning, "may, without a login")
    } else {
        (Severity::Error, "may, without a login")
    };
    let who = if roles.is_empty() { named } else { roles };
    let commands: Vec<&str> = if held.is_empty() {
        vec![policy.policy.command.keyword()]
    } else {
        held.iter().map(|c| c.keyword()).collect()
    };
    sink.report(
        policy
            .found(
                severity,
                format!("is for {} by {}, which {what}", list(&commands), list(who)),
            )
            .evidence("roles", who.to_vec())
            .evidence("commands", commands)
            .evidence("never_without_claims", never)
            .advice("Name the role of those who have logged in instead, and revoke the privilege from the other."),
    );
}
