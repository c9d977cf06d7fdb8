use super::sink::Found;
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Command, Name, ObjectKind, Severity};
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// A policy whose sub-select reads its own table, directly or by way of other tables' policies, as a role for which
    /// all of them apply.
    ///
    /// ## Why it matters
    /// Every statement on the table fails for that role with "infinite recursion detected in policy" (SQLSTATE 42P17).
    ///
    /// ## What to do
    /// Put the inner query into a security-definer function owned by a role that the inner table's policies do not
    /// apply to, with a fixed search path.
    /// ```sql,bad
    /// create table member (team int, user_id uuid);
    /// alter table member enable row level security;
    /// create policy p on member for select to app
    ///   using (team in (select m.team from member m where m.user_id = auth.uid()));
    /// ```
    /// ```sql,good
    /// create table member (team int, user_id uuid);
    /// alter table member enable row level security;
    /// create function my_teams() returns setof int language sql stable security definer set search_path = ''
    ///   as $$ select m.team from public.member m where m.user_id = auth.uid() $$;
    /// create policy p on member for select to app using (team = any (array(select my_teams())));
    /// ```
    "policy-recursion" {
        summary: "a policy reads its own table, so every statement fails",
        category: Category::Safety,
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut by_table: BTreeMap<&Name, Vec<&PolicyFacts<'_>>> = BTreeMap::new();
    for policy in facts.policies.iter().filter(|p| p.table.rls_enabled) {
        by_table.entry(policy.name).or_default().push(policy);
    }
    let mut reported = BTreeSet::new();
    for start in facts.policies.iter().filter(|p| p.table.rls_enabled) {
        for role in &start.policy.roles {
            let mut walk = Walk {
                facts,
                by_table: &by_table,
                role,
                seen: BTreeSet::new(),
            };
            if let Some(path) = walk.back_to(start)
                && reported.insert((start.name, &start.policy.name))
            {
                report(start, role, &path, sink);
            }
        }
    }
}

/// A search along the SELECT policies that the server expands for one role.
struct Walk<'a, 'f> {
    facts: &'a Facts<'f>,
    by_table: &'a BTreeMap<&'a Name, Vec<&'a PolicyFacts<'f>>>,
    role: &'a str,
    seen: BTreeSet<Name>,
}

impl Walk<'_, '_> {
    /// The tables on the way from `start`'s sub-selects back to its own table.
    fn back_to(&mut self, start: &PolicyFacts<'_>) -> Option<Vec<Name>> {
        let mut open: Vec<Vec<Name>> = reads(start).into_iter().map(|t| vec![t]).collect();
        while let Some(path) = open.pop() {
            let Some(last) = path.last().cloned() else {
                continue;
            };
            if last == *start.name && self.expands(&last) {
                return Some(path);
            }
            if !self.seen.insert(last.clone()) {
                continue;
            }
            for next in self.select_policies(&last).flat_map(reads) {
                let mut longer = path.clone();
                longer.push(next);
                open.push(longer);
            }
        }
        None
    }

    fn select_policies(&self, table: &Name) -> impl Iterator<Item = &PolicyFacts<'_>> {
        let policies = self.by_table.get(table).into_iter().flatten();
        policies.copied().filter(|p| {
            p.policy.command.covers(Command::Select)
                && self.facts.catalog.applies_to(p.policy, self.role)
        })
    }

    /// The server calls it recursion only where the inner use brings sub-selects along again.
    fn expands(&self, table: &Name) -> bool {
        self.select_policies(table)
            .any(|p| p.using.as_ref().is_some_and(|q| q.scopes.len() > 1))
    }
}

fn reads(policy: &PolicyFacts<'_>) -> BTreeSet<Name> {
    policy
        .quals()
        .flat_map(|(_, qual)| qual.tables_read())
        .cloned()
        .collect()
}

fn report(policy: &PolicyFacts<'_>, role: &str, path: &[Name], sink: &mut Sink<'_>) {
    let way = path
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" → ");
    sink.report(
        Found::new(
            Severity::Error,
            ObjectKind::Policy,
            policy.name,
            Some(&policy.policy.name),
            format!("reads {way}, whose policies lead back here: statements of {role} fail with 42P17"),
        )
        .evidence("path", path.iter().map(ToString::to_string).collect::<Vec<_>>())
        .evidence("role", role)
        .advice(
            "Put the sub-select into a security-definer function whose owner these policies do not apply to, \
             with `set search_path = ''`.",
        ),
    );
}
