use super::fix::index_name;
use super::sink::count;
use super::{Category, FEW_ROWS, Facts, PolicyFacts, Sink, by_rows, rule};
use crate::model::{Severity, TableKind, Volatility};
use crate::sql::expr::{Call, Compare, Expr, How};
use crate::sql::qual;
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A policy that compares a function of a column, such as `lower(email)`, with what is known before the scan, where
    /// no index has that expression.
    ///
    /// ## Why it matters
    /// An index on the column itself cannot answer the comparison: the table is read as a whole, and the function runs
    /// for each row.
    ///
    /// ## What to do
    /// Make an index on the expression, or store the column as it is compared.
    /// ```sql,bad
    /// create table doc (id int primary key, email text not null);
    /// insert into doc select n, n || '@example.org' from generate_series(1, 20000) n;
    /// create index on doc (email);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (lower(email) = (select current_setting('app.email', true)));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, email text not null);
    /// insert into doc select n, n || '@example.org' from generate_series(1, 20000) n;
    /// create index on doc (lower(email));
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (lower(email) = (select current_setting('app.email', true)));
    /// ```
    "function-on-policy-column" {
        summary: "a policy compares a function of a column, so its index cannot be used",
        category: Category::Speed,
        also: &["pgrls PERF004"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let large = |p: &&PolicyFacts<'_>| p.reads() && p.table.row_estimate() >= FEW_ROWS;
    for policy in facts.in_force().filter(large) {
        let Some(using) = &policy.using else { continue };
        let answered = using
            .scopes
            .first()
            .is_some_and(|row| facts.indexable(row, &row.filter));
        if answered {
            continue;
        }
        // A branch of an OR is answered only where all are.
        let mut conditions = using.expr.conditions().into_iter();
        if let Some((call, column)) = conditions.find_map(|c| wrapped(facts, policy, c)) {
            report(policy, call, column, sink);
        }
    }
}

/// The call and the column in it, where an index on the expression would answer the comparison.
fn wrapped<'e>(
    facts: &Facts<'_>,
    policy: &PolicyFacts<'_>,
    expr: &'e Expr,
) -> Option<(&'e Call, &'e str)> {
    let Expr::Compare(compare) = expr else {
        return None;
    };
    let Compare {
        how: How::Plain,
        operator,
        ..
    } = &**compare
    else {
        return None;
    };
    if operator != "=" {
        return None;
    }
    compare.sides().into_iter().find_map(|(side, other)| {
        let Expr::Call(call) = side.value() else {
            return None;
        };
        // It may stand deeper: lower(trim(email)).
        let mut column = None;
        let mut immutable = true;
        side.value().walk_outside(&mut |e| match e {
            Expr::Column(c) if c.row => column = Some(c.name.as_str()),
            Expr::Call(inner) => immutable &= is_immutable(facts, inner),
            Expr::SubSelect(_) => immutable = false,
            _ => {}
        });
        let column = column?;
        let of_row = other.any(|e| matches!(e, Expr::Column(c) if c.row));
        let free = !of_row && immutable && !facts.expression_indexed(policy.name, column);
        free.then_some((call, column))
    })
}

/// Others cannot be indexed, and are other rules'.
fn is_immutable(facts: &Facts<'_>, call: &Call) -> bool {
    let call = qual::Call {
        schema: call.schema.clone(),
        name: call.name.clone(),
        arguments: call.arguments.len(),
        ..qual::Call::default()
    };
    facts.volatility(&call) == Some(Volatility::Immutable)
}

fn report(policy: &PolicyFacts<'_>, call: &Call, column: &str, sink: &mut Sink<'_>) {
    let rows = policy.table.row_estimate();
    let mut found = policy
        .found(
            by_rows(rows).min(Severity::Warning),
            format!(
                "compares {}() of {column}, which no index has: all {} rows are read",
                call.name,
                count(rows)
            ),
        )
        .evidence("column", column)
        .evidence("function", call.name.clone())
        .evidence("rows", rows);
    // With more arguments the expression is more than the column.
    let plain = matches!(call.arguments.as_slice(), [only] if only.row_column().is_some())
        && policy.table.kind != TableKind::Partitioned;
    found = if plain {
        let function = crate::model::Name::new(&call.schema, &call.name);
        found.fix(format!(
            "create index concurrently {} on {} ({}({}));",
            quote::ident(&index_name(
                policy.name,
                policy.table,
                &[&call.name, column]
            )),
            quote::name(policy.name),
            quote::name(&function),
            quote::ident(column)
        ))
    } else {
        found.advice(
            "Make an index on the expression as the policy writes it, then ANALYZE the table.",
        )
    };
    sink.report(found);
}
