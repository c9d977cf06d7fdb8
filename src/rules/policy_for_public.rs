use super::reach::{COMMANDS, list};
use super::sink::{Found, count};
use super::{Category, FEW_ROWS, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity};
use crate::sql::qual::{Form, Qual};

rule! {
    /// ## What it finds
    /// A policy without a TO clause, or TO public, that depends on who is asking.
    ///
    /// ## Why it matters
    /// It is evaluated for every role with access to the table, those for which it can never be true (an anonymous
    /// API role) among them: they read the whole table to see nothing. And its condition alone keeps strangers out: a
    /// slip in it shows them rows that a policy for the right role would not.
    ///
    /// On a small table it is found only where a role for strangers (`anon`) has the privilege.
    ///
    /// ## What to do
    /// Name the roles, after checking that the others see nothing through this policy.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid not null);
    /// insert into doc select n, gen_random_uuid() from generate_series(1, 20000) n;
    /// grant select on doc to app, anon;
    /// alter table doc enable row level security;
    /// create policy own on doc for select using (owner_id = (select auth.uid()));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid not null);
    /// insert into doc select n, gen_random_uuid() from generate_series(1, 20000) n;
    /// grant select on doc to app, anon;
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (owner_id = (select auth.uid()));
    /// ```
    "policy-for-public" {
        summary: "a policy that depends on the user is evaluated for every role",
        category: Category::Speed,
        severity: Severity::Note,
        also: &["pgrls SEC003"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        let everybody = policy.policy.roles.iter().any(|r| r == "public");
        let rows = policy.table.row_estimate();
        let strangers = facts.reached_anonymously(policy, &COMMANDS);
        if !everybody || !policy.policy.permissive || rows < FEW_ROWS && strangers.is_empty() {
            continue;
        }
        // New rows are few, so WITH CHECK matters for safety alone.
        let check = policy.check.as_ref().filter(|_| rows < FEW_ROWS);
        if !policy.using.as_ref().or(check).is_some_and(asks_who) {
            continue;
        }
        // The owner and roles that bypass row-level security never meet the policy.
        let roles: Vec<&str> = policy
            .table
            .grants
            .keys()
            .map(String::as_str)
            .filter(|role| {
                *role != policy.table.owner
                    && facts
                        .catalog
                        .roles
                        .get(*role)
                        .is_none_or(|r| !r.superuser && !r.bypass_rls)
            })
            .collect();
        if roles.len() < 2 && strangers.is_empty() {
            continue;
        }
        sink.report(
            Found::new(
                Severity::Note,
                ObjectKind::Policy,
                policy.name,
                Some(&policy.policy.name),
                message(rows, &roles, &strangers),
            )
            .evidence("rows", rows)
            .evidence("strangers", strangers)
            .evidence("roles", roles)
            .advice("Add TO with the roles that may see rows through it; make sure that it is never true for the others."),
        );
    }
}

fn message(rows: f64, roles: &[&str], strangers: &[&str]) -> String {
    if rows >= FEW_ROWS {
        format!(
            "applies to everybody, so {} rows are checked for each of {}, although it depends on the user",
            count(rows),
            roles.join(", ")
        )
    } else {
        format!(
            "applies to everybody, {} among them, although it depends on the user: its condition alone keeps strangers out",
            list(strangers)
        )
    }
}

/// Whether every branch calls a function: a branch over columns alone may be meant for everybody.
fn asks_who(qual: &Qual) -> bool {
    let tests = qual.tests();
    !qual.calls.is_empty()
        && tests
            .iter()
            .filter(|(scope, _)| *scope == 0)
            .all(|(_, test)| {
                !test.calls.is_empty()
                    || !matches!(test.form, Form::Flag { .. } | Form::Constant(true))
            })
}
