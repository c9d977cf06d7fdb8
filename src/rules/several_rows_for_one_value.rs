use super::meaning::table_of;
use super::sink::Found;
use super::{Category, Facts, PolicyFacts, Sink, exposure, rule};
use crate::model::{Command, Function, Index, Name, ObjectKind, Severity, Table, TableKind};
use crate::sql::expr::{Body, Column, Expr, How, Select, Source};
use crate::sql::qual::{Qual, ScopeKind};
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A sub-select that stands for one value, `team_id = (select team_id from members where user_id = …)`, although
    /// nothing unique keeps it to one row; the same inside functions that policies call; one with LIMIT and without
    /// ORDER BY; and a SQL function that returns the first row of such a query.
    ///
    /// ## Why it matters
    /// As soon as somebody has a second row, the server raises an error (21000, more than one row returned) for every
    /// query on the table. With LIMIT, and in a SQL function, there is no error: whichever row comes first decides what is
    /// seen, and that may change from one day to the next.
    ///
    /// ## What to do
    /// Ask for membership: `team_id in (select team_id from members where user_id = …)`. Where there is to be one row,
    /// say so by a unique index.
    /// ```sql,bad
    /// create table member (user_id uuid not null, team_id int not null, primary key (user_id, team_id));
    /// create table doc (id int primary key, team_id int not null);
    /// grant select on doc, member to app;
    /// alter table doc enable row level security;
    /// create policy team on doc for select to app
    ///   using (team_id = (select m.team_id from member m where m.user_id = (select auth.uid())));
    /// ```
    /// ```sql,good
    /// create table member (user_id uuid not null, team_id int not null, primary key (user_id, team_id));
    /// create table doc (id int primary key, team_id int not null);
    /// grant select on doc, member to app;
    /// alter table doc enable row level security;
    /// create policy team on doc for select to app
    ///   using (team_id in (select m.team_id from member m where m.user_id = (select auth.uid())));
    /// ```
    "several-rows-for-one-value" {
        summary: "a sub-select that stands for one value may find several rows",
        category: Category::Safety,
        also: &[],
        check: check,
    }
}

/// A look-up that may find several rows.
#[derive(Clone, Debug, PartialEq)]
struct Lookup {
    table: Name,
    /// Whether the first row is taken instead of an error.
    first: bool,
    /// Whether statistics say that there is one row for each so far.
    single_so_far: bool,
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts.in_force() {
        let mut quals = policy.quals();
        let found = quals.find_map(|(clause, qual)| Some((clause, inside(facts, &qual.expr)?)));
        if let Some((clause, lookup)) = found {
            let found = policy.found(severity(&lookup), message(clause, &lookup));
            sink.report(complete(found, &lookup));
        }
    }
    for (function, body) in facts.called_by_policies() {
        if function.extension.is_some() || exposure::platform(&function.name.schema) {
            continue;
        }
        let parts = body.queries.iter().flat_map(Select::parts);
        let nested = parts.into_iter().find_map(|part| inside(facts, part));
        let returned = returned(facts, function, body);
        if let Some(lookup) = nested.or(returned) {
            let found = Found::new(
                severity(&lookup),
                ObjectKind::Function,
                &function.name,
                None,
                message("the body", &lookup),
            );
            sink.report(complete(found, &lookup));
        }
    }
}

/// What the function returns, where that is what a query finds: a SQL function takes its first row; a PL/pgSQL function
/// of one query returns it as an expression.
fn returned(facts: &Facts<'_>, function: &Function, body: &Body) -> Option<Lookup> {
    if function.returns_set {
        return None;
    }
    match (function.language.as_str(), body.queries.as_slice()) {
        ("sql", [.., last]) => several(facts, last, true),
        ("plpgsql", [only]) => several(facts, only, only.limited),
        _ => None,
    }
}

fn severity(lookup: &Lookup) -> Severity {
    if lookup.single_so_far {
        Severity::Note
    } else {
        Severity::Warning
    }
}

fn message(place: &str, lookup: &Lookup) -> String {
    let table = &lookup.table;
    if lookup.first {
        format!(
            "{place} takes the first of several rows that {table} may hold: which one is left to chance"
        )
    } else {
        format!(
            "{place} takes a look-up in {table} for one value, but it may find several rows: every query fails then (21000)"
        )
    }
}

fn complete(found: Found, lookup: &Lookup) -> Found {
    found
        .evidence("table", lookup.table.to_string())
        .evidence("first_row", lookup.first)
        .advice("Write `in (select …)`, or make the look-up's columns unique.")
}

/// The first look-up for one value in the expression that may find several rows.
fn inside(facts: &Facts<'_>, expr: &Expr) -> Option<Lookup> {
    let mut found = None;
    expr.walk(&mut |e| {
        if let Expr::SubSelect(sub) = e
            && sub.kind == ScopeKind::Value
            && found.is_none()
        {
            found = several(facts, &sub.select, sub.select.limited);
        }
    });
    found
}

/// `first` where the first row is taken. What is not understood is not said to find several.
fn several(facts: &Facts<'_>, select: &Select, first: bool) -> Option<Lookup> {
    if select.from.is_empty() || !select.inner.is_empty() || select.grouped {
        return None;
    }
    if select.targets.iter().any(|t| is_aggregate(facts, t)) {
        return None;
    }
    let tables: Vec<(&Source, &Name, &Table)> = select
        .from
        .iter()
        .map(|s| table_of(facts, s).map(|(name, table)| (s, name, table)))
        .collect::<Option<_>>()?;
    let plain = |t: &Table| matches!(t.kind, TableKind::Ordinary | TableKind::Partitioned);
    if !tables.iter().all(|(_, _, t)| plain(t)) {
        return None;
    }
    let conditions: Vec<&Expr> = select
        .filter
        .iter()
        .chain(&select.rest)
        .flat_map(Expr::conditions)
        .collect();
    let mut open: Vec<&(&Source, &Name, &Table)> = tables.iter().collect();
    loop {
        let before = open.len();
        let names: Vec<&str> = open.iter().map(|(s, _, _)| s.alias.as_str()).collect();
        open.retain(|(source, name, table)| {
            let fixed = fixed(&conditions, source, table, &names);
            !is_one(facts, (name, table), &fixed, &conditions)
        });
        if open.len() == before {
            break;
        }
    }
    let (source, name, table) = open.first()?;
    let names: Vec<&str> = open.iter().map(|(s, _, _)| s.alias.as_str()).collect();
    let fixed = fixed(&conditions, source, table, &names);
    if first {
        let chosen = |e: &Expr| matches!(e, Expr::Column(c) if belongs(c, source, table) && !fixed.contains(c.name.as_str()));
        // Every row has the same to offer, or somebody has said which comes first.
        if select.ordered || !select.targets.iter().any(|t| t.any(chosen)) {
            return None;
        }
    }
    let single_so_far = fixed.iter().any(|c| {
        let stats = table.column(c).and_then(|c| c.stats.as_ref());
        stats.is_some_and(|s| s.n_distinct <= -0.999)
    });
    Some(Lookup {
        table: (*name).clone(),
        first,
        single_so_far,
    })
}

/// Aggregates of `pg_catalog` that policies use, and any function of which nothing is known.
const AGGREGATES: &[&str] = &[
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "json_agg",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_object_agg",
    "max",
    "min",
    "string_agg",
    "sum",
];

fn is_aggregate(facts: &Facts<'_>, expr: &Expr) -> bool {
    expr.any_outside(|e| match e {
        Expr::Call(call) if call.schema.is_empty() => AGGREGATES.contains(&call.name.as_str()),
        Expr::Call(call) => {
            let name = Name::new(&call.schema, &call.name);
            facts.catalog.callables.contains(&name)
        }
        _ => false,
    })
}

fn belongs(column: &Column, source: &Source, table: &Table) -> bool {
    if column.relation.is_empty() {
        !column.row && table.column(&column.name).is_some()
    } else {
        column.relation == source.alias
    }
}

/// Columns of the source that are set equal to something that no open source decides.
fn fixed<'e>(
    conditions: &[&'e Expr],
    source: &Source,
    table: &Table,
    open: &[&str],
) -> BTreeSet<&'e str> {
    let mut found = BTreeSet::new();
    for condition in conditions {
        match condition {
            Expr::Compare(c) if c.operator == "=" && matches!(c.how, How::Plain) => {
                for (one, other) in c.sides() {
                    if let Expr::Column(column) = one.value()
                        && belongs(column, source, table)
                        && !other.any(
                            |e| matches!(e, Expr::Column(c) if open.contains(&c.relation.as_str())),
                        )
                    {
                        found.insert(column.name.as_str());
                    }
                }
            }
            Expr::Column(column) if belongs(column, source, table) => {
                found.insert(column.name.as_str());
            }
            _ => {}
        }
    }
    found
}

/// Whether something unique leaves one row of the table. What its own policy asks counts where it is the only one.
fn is_one(
    facts: &Facts<'_>,
    (name, table): (&Name, &Table),
    fixed: &BTreeSet<&str>,
    conditions: &[&Expr],
) -> bool {
    let mut all = fixed.clone();
    if table.rls_enabled {
        let policies = facts.policies_of(name).iter();
        let mut reading = policies.filter(|p: &&PolicyFacts<'_>| {
            p.policy.permissive && p.policy.command.covers(Command::Select)
        });
        if let (Some(only), None) = (reading.next(), reading.next())
            && let Some(using) = only.seen()
        {
            all.extend(using.conditions().into_iter().filter_map(set_equal));
        }
    }
    let spoken = |column: &str| {
        conditions
            .iter()
            .any(|c| c.any(|e| matches!(e, Expr::Column(k) if k.name == column)))
    };
    // A partial index counts where the conditions speak of all that its predicate speaks of.
    let implied = |index: &Index| {
        let Some(predicate) = &index.predicate else {
            return true;
        };
        Qual::of_policy(predicate, name, facts.catalog).is_ok_and(|wanted| {
            !wanted
                .expr
                .any(|e| matches!(e, Expr::Column(c) if !spoken(&c.name)))
        })
    };
    let is_key = |index: &Index| {
        index.unique
            && implied(index)
            && index.valid
            && !index.keys.is_empty()
            && index.keys.iter().all(|key| match &key.column {
                Some(column) => all.contains(column.as_str()),
                // Whether the same expression is compared is not looked into: it may be.
                None => table.columns.iter().any(|c| spoken(&c.name)),
            })
    };
    table.indexes.iter().any(is_key)
}

/// The column of the judged row that a condition sets equal to one value from elsewhere.
fn set_equal(condition: &Expr) -> Option<&str> {
    let Expr::Compare(compare) = condition else {
        return None;
    };
    let plain = compare.operator == "=" && compare.how == How::Plain;
    compare.sides().into_iter().find_map(|(one, other)| {
        let row = other.any(|e| matches!(e, Expr::Column(c) if c.row));
        one.row_column().filter(|_| plain && !row)
    })
}
