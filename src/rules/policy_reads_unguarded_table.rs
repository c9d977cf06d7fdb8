use super::meaning::table_of;
use super::reach::{COMMANDS, list};
use super::sink::Found;
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Command, Name, ObjectKind, Severity, Table, TableKind};
use crate::sql::expr::Expr;
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// A table without row-level security that the sub-select of a policy reads, and that a role which the policy
    /// applies to may read or write.
    ///
    /// ## Why it matters
    /// The policy is as strong as that table. Who may write it adds the row that lets him in; who may read it sees all
    /// memberships of everybody.
    ///
    /// ## What to do
    /// Enable row-level security on it with a policy for the own rows, or revoke the privileges and read it in a
    /// security-definer function. A reference table that everybody may read is fine: the finding is a note then.
    /// ```sql,bad
    /// create table doc (id int primary key, org int);
    /// create table member (org int, user_id uuid);
    /// grant select on doc to app;
    /// grant select, insert on member to app;
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app
    ///   using (org = any (array(select m.org from member m where m.user_id = (select auth.uid()))));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org int);
    /// create table member (org int, user_id uuid);
    /// grant select on doc, member to app;
    /// alter table doc enable row level security;
    /// alter table member enable row level security;
    /// create policy own on member for select to app using (user_id = (select auth.uid()));
    /// create policy p on doc for select to app
    ///   using (org = any (array(select m.org from member m where m.user_id = (select auth.uid()))));
    /// ```
    "policy-reads-unguarded-table" {
        summary: "a policy depends on a table that its roles can write or read freely",
        category: Category::Safety,
        also: &["pgrls SEC025"],
        check: check,
    }
}

#[derive(Default)]
struct Use {
    policies: Vec<String>,
    writers: BTreeSet<String>,
    readers: BTreeSet<String>,
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut found: BTreeMap<&Name, Use> = BTreeMap::new();
    for policy in facts.in_force() {
        let roles = facts.reached(policy, &COMMANDS);
        for (name, table) in tables_read(facts, policy) {
            let guarded = table.rls_enabled || table.extension.is_some() || name == policy.name;
            let plain = matches!(table.kind, TableKind::Ordinary | TableKind::Partitioned);
            if guarded || !plain {
                continue;
            }
            let one = found.entry(name).or_default();
            one.policies
                .push(format!("{} on {}", policy.policy.name, policy.name));
            for role in &roles {
                let writes = [Command::Insert, Command::Update, Command::Delete];
                if writes.iter().any(|c| facts.holds(role, table, *c)) {
                    one.writers.insert((*role).to_owned());
                } else if facts.holds(role, table, Command::Select) {
                    one.readers.insert((*role).to_owned());
                }
            }
        }
    }
    for (name, found) in found {
        report(name, &found, sink);
    }
}

fn tables_read<'c>(facts: &Facts<'c>, policy: &PolicyFacts<'_>) -> BTreeMap<&'c Name, &'c Table> {
    let mut tables = BTreeMap::new();
    for (_, qual) in policy.quals() {
        qual.expr.walk(&mut |e| {
            if let Expr::SubSelect(sub) = e {
                let sources = sub.select.sources();
                tables.extend(sources.into_iter().filter_map(|s| table_of(facts, s)));
            }
        });
    }
    tables
}

fn report(name: &Name, found: &Use, sink: &mut Sink<'_>) {
    let words =
        |roles: &BTreeSet<String>| list(&roles.iter().map(String::as_str).collect::<Vec<_>>());
    let (severity, what) = if !found.writers.is_empty() {
        let who = words(&found.writers);
        (
            Severity::Error,
            format!("{who} may write it, and so decide what it lets through"),
        )
    } else if !found.readers.is_empty() {
        (
            Severity::Note,
            format!("{} may read all of it", words(&found.readers)),
        )
    } else {
        return;
    };
    sink.report(
        Found::new(
            severity,
            ObjectKind::Table,
            name,
            None,
            format!("has no row-level security and decides {}: {what}", found.policies.join(", ")),
        )
        .evidence("policies", found.policies.clone())
        .evidence("writers", found.writers.iter().cloned().collect::<Vec<_>>())
        .evidence("readers", found.readers.iter().cloned().collect::<Vec<_>>())
        .advice("Enable row-level security on it, or revoke the privileges and read it in a security-definer function."),
    );
}
