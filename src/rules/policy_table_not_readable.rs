use super::sink::Found;
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Command, Name, ObjectKind, Severity};
use crate::sql::quote;
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// A policy whose sub-select reads a table or view that a role it applies to may not SELECT from.
    ///
    /// ## Why it matters
    /// A policy's sub-select is checked as the role that runs the statement, not as the table's owner: every statement of
    /// that role on the guarded table fails with "permission denied for table" (SQLSTATE 42501), while it works for a
    /// superuser.
    ///
    /// ## What to do
    /// Grant SELECT on it, with policies of its own so that the role sees only its rows there; or read it in a
    /// security-definer function.
    /// ```sql,bad
    /// create table doc (id int primary key, org int);
    /// create table member (org int, user_id uuid);
    /// grant select on doc to app;
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app
    ///   using (org = any (array(select m.org from member m where m.user_id = (select auth.uid()))));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org int);
    /// create table member (org int, user_id uuid);
    /// grant select on doc, member to app;
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app
    ///   using (org = any (array(select m.org from member m where m.user_id = (select auth.uid()))));
    /// ```
    "policy-table-not-readable" {
        summary: "a policy's sub-select reads a table that its role may not read",
        category: Category::Safety,
        severity: Severity::Error,
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        let read: BTreeSet<&Name> = policy
            .quals()
            .flat_map(|(_, qual)| qual.tables_read())
            .collect();
        if read.is_empty() {
            continue;
        }
        let mut denied: BTreeMap<&Name, Vec<&str>> = BTreeMap::new();
        for role in facts.roles_of(policy) {
            for name in &read {
                let Some(table) = facts.catalog.table(name) else {
                    continue;
                };
                let may = facts.acts_as(role, &table.owner)
                    || facts.holds(role, (name, table), Command::Select);
                if !may {
                    denied.entry(name).or_default().push(role);
                }
            }
        }
        for (name, roles) in denied {
            report(policy, name, &roles, sink);
        }
    }
}

fn report(policy: &PolicyFacts<'_>, name: &Name, roles: &[&str], sink: &mut Sink<'_>) {
    let list = roles.join(", ");
    let grantees: Vec<String> = roles.iter().map(|role| quote::ident(role)).collect();
    sink.report(
        Found::new(
            Severity::Error,
            ObjectKind::Policy,
            policy.name,
            Some(&policy.policy.name),
            format!("reads {name}, which {list} may not: its statements on the table fail with 42501"),
        )
        .evidence("reads", name.to_string())
        .evidence("roles", roles.to_vec())
        .advice(format!(
            "grant select on {} to {}; first make sure that policies of its own leave the role no more than its rows there. \
             Or read it in a security-definer function.",
            quote::name(name),
            grantees.join(", ")
        )),
    );
}
