use super::sink::{Found, count};
use super::{Category, FEW_ROWS, Facts, PolicyFacts, Sink, by_rows, rule};
use crate::model::{Command, Name, ObjectKind, Severity};
use crate::sql::inline;
use crate::sql::qual::{Frequency, Qual};
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A policy whose sub-select reads a table that has policies of its own, which run sub-selects or functions for its
    /// rows in turn. The chain is followed for each role, and named with its depth. Inner policies that an index answers,
    /// or that few rows are put to, are left out.
    ///
    /// ## Why it matters
    /// The server adds the inner table's policies to the sub-select, and the policies of the tables that those read:
    /// each outer row pays for all of them, and none of it shows in the statement.
    ///
    /// ## What to do
    /// Read the inner table in a security-definer function that returns the permitted keys, owned by a role to which the
    /// inner policies do not apply, with the condition that the outer policy needs.
    /// ```sql,bad
    /// create table member (user_id uuid, org int);
    /// create table project (id int primary key, org int);
    /// insert into project select n, n % 100 from generate_series(1, 20000) n;
    /// create table task (id int primary key, project_id int);
    /// insert into task select n, n from generate_series(1, 20000) n;
    /// alter table member enable row level security;
    /// alter table project enable row level security;
    /// alter table task enable row level security;
    /// grant select on member, project, task to app;
    /// create policy own on member for select to app using (user_id = (select auth.uid()));
    /// create policy mine on project for select to app
    ///   using (exists (select from member m where m.org = project.org and m.user_id = (select auth.uid())));
    /// create policy mine on task for select to app
    ///   using (exists (select from project p where p.id = task.project_id));
    /// ```
    /// ```sql,good
    /// create table member (user_id uuid, org int);
    /// create table project (id int primary key, org int);
    /// insert into project select n, n % 100 from generate_series(1, 20000) n;
    /// create table task (id int primary key, project_id int);
    /// insert into task select n, n from generate_series(1, 20000) n;
    /// create index on task (project_id);
    /// alter table member enable row level security;
    /// alter table project enable row level security;
    /// alter table task enable row level security;
    /// grant select on member, project, task to app;
    /// create function my_projects() returns setof int language sql stable security definer set search_path = ''
    ///   as $$ select p.id from public.project p join public.member m on m.org = p.org where m.user_id = auth.uid() $$;
    /// create policy own on member for select to app using (user_id = (select auth.uid()));
    /// create policy mine on project for select to app using (id = any (array(select my_projects())));
    /// create policy mine on task for select to app using (project_id = any (array(select my_projects())));
    /// ```
    "nested-policies" {
        summary: "a policy's sub-select brings the policies of other tables along",
        category: Category::Speed,
        check: check,
    }
}

/// Deeper chains are cut; nobody reads on.
const DEEPEST: usize = 8;

/// One inner table on the way, with its policies that cost something.
struct Step<'f> {
    table: &'f Name,
    policies: Vec<&'f str>,
    work: BTreeSet<String>,
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.policies.iter().filter(|p| p.table.rls_enabled) {
        let Some(qual) = policy.using.as_ref().filter(|_| policy.reads()) else {
            continue;
        };
        if qual.scopes.len() < 2 || policy.table.row_estimate() < FEW_ROWS {
            continue;
        }
        let roles = facts.roles_of(policy);
        let chains = roles.into_iter().map(|role| {
            let mut chain = Vec::new();
            let rows = follow(facts, policy, qual, role, &mut chain);
            (role, rows, chain)
        });
        // One finding a policy: for the role that pays most.
        let worst = chains.filter(|(_, rows, chain)| !chain.is_empty() && *rows >= FEW_ROWS);
        if let Some((role, rows, chain)) =
            worst.max_by(|a, b| a.2.len().cmp(&b.2.len()).then(a.1.total_cmp(&b.1)))
        {
            report(policy, role, rows, &chain, sink);
        }
    }
}

/// Puts the inner tables with costly policies into `chain`, depth first; returns the most rows put to one of them.
fn follow<'f>(
    facts: &'f Facts<'_>,
    outer: &PolicyFacts<'_>,
    qual: &Qual,
    role: &str,
    chain: &mut Vec<Step<'f>>,
) -> f64 {
    let mut most: f64 = 0.0;
    for (number, scope) in qual.scopes.iter().enumerate().skip(1) {
        for inner in scope.relations.iter().filter_map(|r| r.table.as_ref()) {
            let known = facts.catalog.tables.get_key_value(inner);
            let Some((name, table)) = known.filter(|(_, t)| t.rls_enabled) else {
                continue;
            };
            let cycle = name == outer.name || chain.iter().any(|step| step.table == name);
            if cycle || chain.len() >= DEEPEST || !facts.meets_policies(role, table) {
                continue;
            }
            let applying = facts.policies_of(name).iter().filter(|p| {
                p.policy.command.covers(Command::Select) && facts.catalog.applies_to(p.policy, role)
            });
            let costly: Vec<_> = applying
                .filter_map(|p| Some((p, work(facts, p)?)))
                .collect();
            if costly.is_empty() {
                continue;
            }
            let rows = judged(facts, outer, qual, number, table.row_estimate());
            if rows < FEW_ROWS {
                continue;
            }
            most = most.max(rows);
            chain.push(Step {
                table: name,
                policies: costly.iter().map(|(p, _)| p.policy.name.as_str()).collect(),
                work: costly.iter().flat_map(|(_, work)| work.clone()).collect(),
            });
            for (policy, _) in costly {
                if let Some(inner) = &policy.using {
                    most = most.max(follow(facts, policy, inner, role, chain));
                }
            }
        }
    }
    most
}

/// Rows of the inner table that its policies are put to in one statement on the outer table.
fn judged(
    facts: &Facts<'_>,
    outer: &PolicyFacts<'_>,
    qual: &Qual,
    number: usize,
    inner_rows: f64,
) -> f64 {
    let Some(scope) = qual.scope(number) else {
        return 0.0;
    };
    let found = facts.indexable(scope, &scope.filter);
    match (scope.correlated, found) {
        // Looked up for each outer row, or hashed whole: the planner takes the cheaper.
        (true, true) => outer.table.row_estimate().min(inner_rows),
        (true | false, false) => inner_rows,
        (false, true) => 1.0,
    }
}

/// What a policy runs for each row it is put to; `None` where an index answers it or nothing is run.
fn work(facts: &Facts<'_>, policy: &PolicyFacts<'_>) -> Option<BTreeSet<String>> {
    let qual = policy.using.as_ref()?;
    let mut work = BTreeSet::new();
    for scope in qual.scopes.iter().skip(1) {
        let correlated = scope.correlated || scope.kind == crate::sql::qual::ScopeKind::In;
        let tables = scope.relations.iter().filter_map(|r| r.table.as_ref());
        if correlated {
            work.extend(tables.map(|t| format!("a sub-select over {t}")));
        }
    }
    for call in &qual.calls {
        let folded = || {
            facts
                .functions(call)
                .iter()
                .all(|f| inline::blockers(f, facts.catalog).is_empty())
        };
        let own = !call.schema.is_empty() && qual.frequency(call) == Frequency::PerRow;
        if own && !folded() {
            work.insert(format!("{}.{}()", call.schema, call.name));
        }
    }
    (!work.is_empty()).then_some(work)
}

fn report(
    policy: &PolicyFacts<'_>,
    role: &str,
    rows: f64,
    chain: &[Step<'_>],
    sink: &mut Sink<'_>,
) {
    let steps: Vec<String> = chain
        .iter()
        .map(|step| {
            let work = step.work.iter().cloned().collect::<Vec<_>>().join(", ");
            format!("{} ({}: {work})", step.table, step.policies.join(", "))
        })
        .collect();
    let tables: Vec<String> = chain.iter().map(|s| s.table.to_string()).collect();
    sink.report(
        Found::new(
            by_rows(rows).min(Severity::Warning),
            ObjectKind::Policy,
            policy.name,
            Some(&policy.policy.name),
            format!(
                "brings along the policies of {} for {role}, put to up to {} rows there",
                steps.join(", then of "),
                count(rows)
            ),
        )
        .evidence("depth", chain.len())
        .evidence("tables", tables)
        .evidence("rows", rows)
        .evidence("role", role)
        .advice(
            "Read the inner table in a security-definer function that returns the permitted keys, owned by a role to which \
             its policies do not apply: column = any (array(select f())). The function must then hold the condition itself.",
        ),
    );
}
