use super::sink::{Found, count};
use super::{Category, FEW_ROWS, Facts, PolicyFacts, Sink, by_rows, rule, tested};
use crate::model::{Command, Function, Name, ObjectKind, Severity};
use crate::sql::qual::{Call, Frequency, Qual};
use crate::sql::touches::Touches;
use crate::sql::{access, inline};
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// A policy whose sub-select, or a function that it calls, reads a table that has policies of its own, which run
    /// sub-selects or functions for its rows in turn. The chain is followed for each role, through bodies in SQL and
    /// PL/pgSQL too, and named with its depth; a security-definer function reads as its owner, so it ends the chain where
    /// the inner policies do not apply to that role. Inner policies that an index answers, or that few rows are put to,
    /// are left out.
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
    /// The function that reads it.
    through: Option<&'f Name>,
    policies: Vec<&'f str>,
    work: BTreeSet<String>,
}

/// A table that a policy reads by a sub-select or a function, for one role.
struct Read<'f> {
    table: &'f Name,
    through: Option<&'f Name>,
    role: &'f str,
    /// Rows of it that are looked at in one statement.
    rows: f64,
}

/// Tables that a function's body reads; whether an index finds the rows it wants.
type Bodies<'f> = BTreeMap<u32, Vec<(&'f Name, bool)>>;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut bodies = Bodies::new();
    for policy in facts.policies.iter().filter(|p| p.table.rls_enabled) {
        let Some(qual) = policy.using.as_ref().filter(|_| policy.reads()) else {
            continue;
        };
        let calls = qual.calls.iter().any(|c| !c.schema.is_empty());
        if qual.scopes.len() < 2 && !calls || policy.table.row_estimate() < FEW_ROWS {
            continue;
        }
        let mut chains = Vec::new();
        for role in facts.roles_of(policy) {
            let mut chain = Vec::new();
            let rows = follow(facts, &mut bodies, (policy, qual), role, &mut chain);
            chains.push((role, rows, chain));
        }
        // One finding a policy: for the role that pays most.
        let worst = chains
            .into_iter()
            .filter(|(_, rows, chain)| !chain.is_empty() && *rows >= FEW_ROWS);
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
    bodies: &mut Bodies<'f>,
    (outer, qual): (&'f PolicyFacts<'_>, &'f Qual),
    role: &'f str,
    chain: &mut Vec<Step<'f>>,
) -> f64 {
    let mut most: f64 = 0.0;
    for read in reads(facts, bodies, (outer, qual), role) {
        let Some(table) = facts.catalog.table(read.table).filter(|t| t.rls_enabled) else {
            continue;
        };
        let cycle = read.table == outer.name || chain.iter().any(|step| step.table == read.table);
        if cycle
            || chain.len() >= DEEPEST
            || read.rows < FEW_ROWS
            || !facts.meets_policies(read.role, table)
        {
            continue;
        }
        let applying = facts.policies_of(read.table).iter().filter(|p| {
            p.policy.command.covers(Command::Select)
                && facts.catalog.applies_to(p.policy, read.role)
        });
        let costly: Vec<_> = applying
            .filter_map(|p| Some((p, work(facts, p)?)))
            .collect();
        if costly.is_empty() {
            continue;
        }
        most = most.max(read.rows);
        chain.push(Step {
            table: read.table,
            through: read.through,
            policies: costly.iter().map(|(p, _)| p.policy.name.as_str()).collect(),
            work: costly.iter().flat_map(|(_, work)| work.clone()).collect(),
        });
        for (policy, _) in costly {
            if let Some(inner) = &policy.using {
                most = most.max(follow(facts, bodies, (policy, inner), read.role, chain));
            }
        }
    }
    most
}

/// Every table that a policy's sub-selects and functions read.
fn reads<'f>(
    facts: &'f Facts<'_>,
    bodies: &mut Bodies<'f>,
    (outer, qual): (&'f PolicyFacts<'_>, &'f Qual),
    role: &'f str,
) -> Vec<Read<'f>> {
    let mut found = Vec::new();
    for (number, scope) in qual.scopes.iter().enumerate().skip(1) {
        for inner in scope.relations.iter().filter_map(|r| r.table.as_ref()) {
            if let Some((name, table)) = facts.catalog.tables.get_key_value(inner) {
                found.push(Read {
                    table: name,
                    through: None,
                    role,
                    rows: judged(facts, outer, qual, number, table.row_estimate()),
                });
            }
        }
    }
    for call in qual.calls.iter().filter(|c| !c.schema.is_empty()) {
        // Of several that fit, it is not certain which one is called.
        let &[function] = facts.functions(call).as_slice() else {
            continue;
        };
        let role = if function.security_definer {
            function.owner.as_str()
        } else {
            role
        };
        let calls = calls(facts, outer, qual, call);
        let tables = bodies
            .entry(function.oid)
            .or_insert_with(|| read_by(facts, function));
        found.extend(tables.iter().map(|(table, looked_up)| {
            let all = facts.catalog.table(table).map_or(0.0, |t| t.row_estimate());
            Read {
                table,
                through: Some(&function.name),
                role,
                rows: calls * if *looked_up { 1.0 } else { all },
            }
        }));
    }
    found
}

/// How often a statement on the outer table calls it.
fn calls(facts: &Facts<'_>, outer: &PolicyFacts<'_>, qual: &Qual, call: &Call) -> f64 {
    facts.rows_per_statement(outer, qual, call).max(1.0)
}

fn read_by<'f>(facts: &'f Facts<'_>, function: &Function) -> Vec<(&'f Name, bool)> {
    let Some(touches) = Touches::of_function(function) else {
        return Vec::new();
    };
    let queries = touches.queries.iter();
    let accesses: Vec<_> = queries
        .filter_map(|q| access::of_statement(q, facts.catalog).ok())
        .flatten()
        .collect();
    let names: BTreeSet<&Name> = tested::named(facts, function, &touches)
        .into_iter()
        .collect();
    let looked_up = |name: &Name| {
        let mut all = accesses.iter().filter(|a| a.table == *name).peekable();
        all.peek().is_some()
            && all.all(|a| {
                let mut columns = a.equals.iter().chain(&a.joins);
                columns.any(|c| has_index(facts, name, c))
            })
    };
    names.into_iter().map(|n| (n, looked_up(n))).collect()
}

fn has_index(facts: &Facts<'_>, name: &Name, column: &str) -> bool {
    let indexes = facts.catalog.table(name).map_or(&[][..], |t| &t.indexes);
    indexes
        .iter()
        .any(|i| i.predicate.is_none() && super::facts::leads(i, column))
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
            let through = step.through.map_or_else(String::new, |f| format!("{f}() → "));
            format!("{through}{} ({}: {work})", step.table, step.policies.join(", "))
        })
        .collect();
    let tables: Vec<String> = chain.iter().map(|s| s.table.to_string()).collect();
    let functions = chain.iter().filter_map(|s| Some(s.through?.to_string()));
    let functions: Vec<String> = functions.collect();
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
        .evidence("functions", functions)
        .evidence("rows", rows)
        .evidence("role", role)
        .advice(
            "Read the inner table in a security-definer function that returns the permitted keys, owned by a role to which \
             its policies do not apply: column = any (array(select f())). The function must then hold the condition itself.",
        ),
    );
}
