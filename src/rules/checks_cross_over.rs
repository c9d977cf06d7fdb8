use super::reach::list;
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Command, Severity};
use crate::sql::expr::Expr;
use crate::sql::fold::Session;

rule! {
    /// ## What it finds
    /// Two permissive policies for UPDATE of the same role, where the WITH CHECK of one leaves out what its USING asks of
    /// the caller. A row that the other policy admits may then be written as this one's WITH CHECK allows.
    ///
    /// ## Why it matters
    /// The server does not pair a policy's USING with its own WITH CHECK. A row may be updated if any USING is true of it,
    /// and the result stands if any WITH CHECK is: owners who may only save drafts set `approved`, because the approvers'
    /// WITH CHECK says no more than `status = 'approved'`.
    ///
    /// ## What to do
    /// Repeat in each WITH CHECK who may write that, as in USING; or put what must hold for all into a restrictive policy.
    /// ```sql,bad
    /// create table orders (id int primary key, owner_id uuid not null, status text not null);
    /// grant select, update on orders to app;
    /// alter table orders enable row level security;
    /// create policy owners on orders for update to app
    ///   using (owner_id = (select auth.uid())) with check (owner_id = (select auth.uid()) and status = 'draft');
    /// create policy approvers on orders for update to app
    ///   using ((select auth.jwt() ->> 'app_role') = 'approver') with check (status = 'approved');
    /// ```
    /// ```sql,good
    /// create table orders (id int primary key, owner_id uuid not null, status text not null);
    /// grant select, update on orders to app;
    /// alter table orders enable row level security;
    /// create policy owners on orders for update to app
    ///   using (owner_id = (select auth.uid())) with check (owner_id = (select auth.uid()) and status = 'draft');
    /// create policy approvers on orders for update to app
    ///   using ((select auth.jwt() ->> 'app_role') = 'approver')
    ///   with check ((select auth.jwt() ->> 'app_role') = 'approver' and status = 'approved');
    /// ```
    "checks-cross-over" {
        summary: "rows that one policy admits can be written as another's WITH CHECK allows",
        category: Category::Safety,
        also: &[],
        check: check,
    }
}

const WRITING: [Command; 1] = [Command::Update];

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let updating =
        |p: &&PolicyFacts<'_>| p.policy.permissive && p.policy.command.covers(Command::Update);
    for lax in facts.in_force().filter(updating) {
        let Some(check) = left_open(facts, lax) else {
            continue;
        };
        let others: Vec<&str> = facts
            .policies_of(lax.name)
            .iter()
            .filter(updating)
            .filter(|other| other.policy.name != lax.policy.name && meet(facts, lax, other))
            .filter(|other| gains(facts, other, check))
            .map(|other| other.policy.name.as_str())
            .collect();
        if !others.is_empty() {
            report(facts, lax, &others, sink);
        }
    }
}

/// The WITH CHECK, where it drops what USING asks of the caller.
fn left_open<'p>(facts: &Facts<'_>, policy: &'p PolicyFacts<'_>) -> Option<&'p Expr> {
    let (using, check) = (policy.seen()?, policy.check.as_ref()?);
    let check = &*check.expr;
    let written = facts.fold(policy, check, Session::Any);
    // What is always true is another rule's.
    if written.is_true() || written.is_never_true() {
        return None;
    }
    let kept = check.conditions();
    let mut dropped = using
        .conditions()
        .into_iter()
        .filter(|c| asks(facts, c) && !kept.contains(c))
        .peekable();
    dropped.peek()?;
    // Tied to the caller by the row in another way, it may be meant; a condition on the caller alone is missing.
    let open = !asks(facts, check) || dropped.any(|c| !of_row(c));
    open.then_some(check)
}

fn asks(facts: &Facts<'_>, expr: &Expr) -> bool {
    expr.any(|e| facts.asks(e) || facts.is_closed(e))
}

fn of_row(expr: &Expr) -> bool {
    expr.any(|e| matches!(e, Expr::Column(c) if c.row))
}

/// Whether somebody may be subject to both.
fn meet(facts: &Facts<'_>, one: &PolicyFacts<'_>, other: &PolicyFacts<'_>) -> bool {
    let roles = |p: &PolicyFacts<'_>| p.policy.roles.clone();
    let (a, b) = (roles(one), roles(other));
    let everybody = |all: &[String]| all.iter().any(|r| r == "public");
    everybody(&a)
        || everybody(&b)
        || a.iter()
            .any(|x| b.iter().any(|y| facts.acts_as(x, y) || facts.acts_as(y, x)))
}

/// Whether those whom `policy` admits may write more by way of `check`: their own WITH CHECK is another, and it is not
/// one that holds for whatever they write.
fn gains(facts: &Facts<'_>, policy: &PolicyFacts<'_>, check: &Expr) -> bool {
    let (Some(using), Some(own)) = (policy.seen(), policy.written()) else {
        return false;
    };
    if facts.fold(policy, using, Session::Any).is_never_true() || own == check {
        return false;
    }
    let admitted = using.conditions();
    let free = |c: &&Expr| !of_row(c) && admitted.contains(c);
    let always = facts.fold(policy, own, Session::Any).is_true();
    !always && !own.conditions().iter().all(free)
}

fn report(facts: &Facts<'_>, lax: &PolicyFacts<'_>, others: &[&str], sink: &mut Sink<'_>) {
    let roles = facts.reached(lax, &WRITING);
    let severity = if roles.is_empty() || facts.is_narrowed(lax, &WRITING) {
        Severity::Note
    } else {
        Severity::Warning
    };
    sink.report(
        lax.found(
            severity,
            format!(
                "WITH CHECK does not ask who writes, as USING does: rows that {} admits can be updated to what it allows, by {}",
                list(others),
                list(&roles)
            ),
        )
        .evidence("admitted_by", others.to_vec())
        .evidence("roles", roles)
        .advice("Repeat in WITH CHECK what USING asks of the caller: the server takes any USING with any WITH CHECK."),
    );
}
