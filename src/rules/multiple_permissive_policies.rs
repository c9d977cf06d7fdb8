use super::sink::{Found, count};
use super::{Category, FEW_ROWS, Facts, PolicyFacts, Sink, by_rows, rule};
use crate::model::{Command, ObjectKind, Severity};
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// More than one permissive policy applies to the same role and command, counting `FOR ALL` and `TO public`.
    ///
    /// ## Why it matters
    /// They are joined by OR: an index helps only if it can answer every one of them, and a row that the first policies
    /// refuse is put to all others. A `FOR ALL` policy meant for writing is part of every read.
    ///
    /// ## What to do
    /// Give each role and command one policy; limit policies for writing to INSERT, UPDATE and DELETE.
    /// ```sql,bad
    /// create table doc (id int primary key, owner_id uuid, is_public boolean);
    /// insert into doc select n, gen_random_uuid(), n % 2 = 0 from generate_series(1, 20000) n;
    /// alter table doc enable row level security;
    /// create policy own on doc for all to app using (owner_id = (select auth.uid()));
    /// create policy published on doc for select to app using (is_public);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, owner_id uuid, is_public boolean);
    /// insert into doc select n, gen_random_uuid(), n % 2 = 0 from generate_series(1, 20000) n;
    /// alter table doc enable row level security;
    /// create policy visible on doc for select to app using (is_public or owner_id = (select auth.uid()));
    /// create policy add on doc for insert to app with check (owner_id = (select auth.uid()));
    /// ```
    "multiple-permissive-policies" {
        summary: "several permissive policies for one role and command",
        category: Category::Speed,
        also: &["splinter 0006_multiple_permissive_policies"],
        check: check,
    }
}

const COMMANDS: [Command; 4] = [
    Command::Select,
    Command::Insert,
    Command::Update,
    Command::Delete,
];

/// Policies by name, to the commands and roles for which they meet.
type Meetings<'a> = BTreeMap<Vec<&'a str>, (BTreeSet<Command>, BTreeSet<&'a str>)>;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policies in facts.policies.chunk_by(|a, b| a.name == b.name) {
        let Some(first) = policies.first() else {
            continue;
        };
        if first.table.row_estimate() < FEW_ROWS || !first.table.rls_enabled {
            continue;
        }
        for (names, (commands, roles)) in meetings(facts, policies) {
            report(facts, policies, &names, &commands, &roles, sink);
        }
    }
}

fn meetings<'a>(facts: &Facts<'_>, policies: &'a [PolicyFacts<'_>]) -> Meetings<'a> {
    let mut found = Meetings::new();
    let permissive: Vec<_> = policies.iter().filter(|p| p.policy.permissive).collect();
    let roles: BTreeSet<&str> = permissive
        .iter()
        .flat_map(|p| p.policy.roles.iter().map(String::as_str))
        .collect();
    for role in roles {
        for command in COMMANDS {
            let names: Vec<&str> = permissive
                .iter()
                .filter(|p| p.policy.command.covers(command))
                .filter(|p| facts.catalog.applies_to(p.policy, role))
                .map(|p| p.policy.name.as_str())
                .collect();
            if names.len() > 1 {
                let (commands, roles) = found.entry(names).or_default();
                commands.insert(command);
                roles.insert(role);
            }
        }
    }
    found
}

fn report(
    facts: &Facts<'_>,
    policies: &[PolicyFacts<'_>],
    names: &[&str],
    commands: &BTreeSet<Command>,
    roles: &BTreeSet<&str>,
    sink: &mut Sink<'_>,
) {
    let Some(first) = policies.first() else {
        return;
    };
    let rows = first.table.row_estimate();
    // Where an index answers each of them, the server combines the indexes.
    let answered = policies
        .iter()
        .filter(|p| names.contains(&p.policy.name.as_str()))
        .all(|p| {
            p.using.as_ref().is_some_and(|q| {
                let row = q.scopes.first();
                row.is_some_and(|row| facts.indexable(row, &row.filter))
            })
        });
    let reads = commands.iter().any(|c| *c != Command::Insert);
    let severity = if answered || !reads {
        Severity::Note
    } else {
        by_rows(rows).min(Severity::Warning)
    };
    let words = |list: Vec<&str>| list.join(", ");
    let commands: Vec<&str> = commands.iter().map(|c| c.keyword()).collect();
    let roles: Vec<&str> = roles.iter().copied().collect();
    sink.report(
        Found::new(
            severity,
            ObjectKind::Table,
            first.name,
            None,
            format!(
                "{} permissive policies ({}) are joined by OR for {} by {}: each of {} rows may be put to all of them",
                names.len(),
                words(names.to_vec()),
                words(commands.clone()),
                words(roles.clone()),
                count(rows)
            ),
        )
        .evidence("policies", names.to_vec())
        .evidence("commands", commands)
        .evidence("roles", roles)
        .evidence("rows", rows)
        .advice("Join them into one policy for each role and command, and limit policies for writing to INSERT, UPDATE and DELETE."),
    );
}
