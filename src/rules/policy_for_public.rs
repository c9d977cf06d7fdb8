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
    /// API role) among them: they read the whole table to see nothing.
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
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in &facts.policies {
        let everybody = policy.policy.roles.iter().any(|r| r == "public");
        let rows = policy.table.row_estimate();
        if !everybody || !policy.policy.permissive || rows < FEW_ROWS {
            continue;
        }
        if !policy.using.as_ref().is_some_and(asks_who) {
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
        if roles.len() < 2 {
            continue;
        }
        sink.report(
            Found::new(
                Severity::Note,
                ObjectKind::Policy,
                policy.name,
                Some(&policy.policy.name),
                format!(
                    "applies to everybody, so {} rows are checked for each of {}, although it depends on the user",
                    count(rows),
                    roles.join(", ")
                ),
            )
            .evidence("rows", rows)
            .evidence("roles", roles)
            .advice("Add TO with the roles that may see rows through it; make sure that it is never true for the others."),
        );
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
