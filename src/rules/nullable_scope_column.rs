use super::meaning::is_identity;
use super::sink::{Found, count};
use super::{Category, Facts, Sink, rule};
use crate::model::{Column, Name, ObjectKind, Severity, Table};
use crate::sql::quote;
use std::collections::BTreeMap;

rule! {
    /// ## What it finds
    /// A column that tells whose row it is (`tenant_id`, `owner_id`, …), by which a policy compares rows with who asks,
    /// and that may be NULL.
    ///
    /// ## Why it matters
    /// A row with NULL there belongs to nobody: no user sees it. As soon as a policy also accepts NULL, by
    /// `or tenant_id is null` or a COALESCE, everybody does.
    ///
    /// ## What to do
    /// Give the rows an owner and set the column NOT NULL. The finding is a warning where statistics say that there are
    /// such rows now.
    /// ```sql,bad
    /// create table doc (id int primary key, tenant_id int);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (tenant_id = (select current_setting('app.tenant', true)::int));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, tenant_id int not null);
    /// alter table doc enable row level security;
    /// create policy own on doc for select to app using (tenant_id = (select current_setting('app.tenant', true)::int));
    /// ```
    "nullable-scope-column" {
        summary: "rows can be nobody's: the column that policies scope by may be NULL",
        category: Category::Safety,
        severity: Severity::Note,
        also: &["pgrls SEC030"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut found: BTreeMap<(&Name, &str), Vec<&str>> = BTreeMap::new();
    for policy in facts.in_force() {
        for column in policy
            .quals()
            .flat_map(|(_, q)| facts.scoped_columns(&q.expr))
        {
            if is_identity(column) {
                let policies = found.entry((policy.name, column)).or_default();
                policies.push(&policy.policy.name);
            }
        }
    }
    for ((name, column), mut policies) in found {
        policies.dedup();
        let table = facts.catalog.table(name);
        let column = table.and_then(|t| Some((t, t.column(column)?)));
        if let Some((table, column)) = column.filter(|(_, c)| !c.not_null) {
            report(name, table, column, &policies, sink);
        }
    }
}

fn report(name: &Name, table: &Table, column: &Column, policies: &[&str], sink: &mut Sink<'_>) {
    let nulls = column
        .stats
        .as_ref()
        .map(|s| s.null_fraction * table.row_estimate());
    let (severity, what) = match nulls {
        Some(rows) if rows >= 1.0 => (
            Severity::Warning,
            format!("about {} rows have none, and nobody sees them", count(rows)),
        ),
        Some(_) => (Severity::Note, "none is so far".to_owned()),
        None => (Severity::Note, "a row without one is nobody's".to_owned()),
    };
    let mut one = Found::new(
        severity,
        ObjectKind::Column,
        name,
        Some(&column.name),
        format!("may be NULL although {} scopes rows by it: {what}", policies.join(", ")),
    )
    .evidence("policies", policies.to_vec())
    .advice(format!(
        "Give every row a value, then: alter table {} alter column {} set not null; it reads the whole table under a \
         lock, unless a valid CHECK says the same.",
        quote::name(name),
        quote::ident(&column.name)
    ));
    if let Some(rows) = nulls {
        one = one.evidence("null_rows", rows.round());
    }
    sink.report(one);
}
