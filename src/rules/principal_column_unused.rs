use super::sink::Found;
use super::{Category, Facts, Sink, exposure, rule, tested};
use crate::model::{Column, Name, ObjectKind, Severity, Table};
use std::collections::BTreeMap;

rule! {
    /// ## What it finds
    /// A table with policies and a column that says whose a row is, such as `owner_id`, which none of them speaks of,
    /// though policies of other tables hold a column of that name and type against the session.
    ///
    /// ## Why it matters
    /// The rows may be shared within the tenant on purpose. Or somebody scoped them by tenant and forgot the user.
    ///
    /// ## What to do
    /// If rows are private to their user, hold the column against the session as the other tables do.
    /// ```sql,bad
    /// create table note (id int primary key, tenant_id int, owner_id uuid);
    /// alter table note enable row level security;
    /// create policy own on note to app using (owner_id = (select auth.uid()));
    /// create table file (id int primary key, tenant_id int, owner_id uuid);
    /// alter table file enable row level security;
    /// create policy tenant on file to app using (tenant_id = (select current_setting('app.tenant')::int));
    /// grant select on note, file to app;
    /// ```
    /// ```sql,good
    /// create table note (id int primary key, tenant_id int, owner_id uuid);
    /// alter table note enable row level security;
    /// create policy own on note to app using (owner_id = (select auth.uid()));
    /// create table file (id int primary key, tenant_id int, owner_id uuid);
    /// alter table file enable row level security;
    /// create policy own on file to app using (owner_id = (select auth.uid()));
    /// grant select on note, file to app;
    /// ```
    "principal-column-unused" {
        summary: "policies elsewhere go by this owner column, those of its own table do not",
        category: Category::Safety,
        severity: Severity::Note,
        also: &["pgrls SEC027"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut elsewhere: BTreeMap<(&str, &str), Vec<&Name>> = BTreeMap::new();
    for (name, columns) in tested::scoping(facts) {
        for column in columns.into_iter().filter(|c| tested::is_principal(c)) {
            let found = facts.catalog.table(name).and_then(|t| t.column(column));
            if let Some(found) = found {
                let key = (column, found.type_name.as_str());
                elsewhere.entry(key).or_default().push(name);
            }
        }
    }
    for (name, table) in &facts.catalog.tables {
        let ours = table.extension.is_none() && !exposure::platform(&name.schema);
        if !table.rls_enabled || table.policies.is_empty() || !ours {
            continue;
        }
        for column in &table.columns {
            let others = elsewhere.get(&(column.name.as_str(), column.type_name.as_str()));
            if let Some(others) = others
                && !spoken_of(facts, name, column)
                && !facts.exposure.with("SELECT", name, table).is_empty()
            {
                report(name, table, column, others, sink);
            }
        }
    }
}

/// Whether a policy of the table mentions the column, anywhere.
fn spoken_of(facts: &Facts<'_>, name: &Name, column: &Column) -> bool {
    let own = facts.policies_of(name).iter().flat_map(super::PolicyFacts::quals);
    own.into_iter().any(|(_, qual)| {
        let tested = qual.tests().into_iter().flat_map(|(_, t)| &t.columns);
        let passed = qual.calls.iter().flat_map(|c| &c.columns);
        tested
            .chain(passed)
            .any(|c| c.table.as_ref() == Some(name) && c.column == column.name)
    })
}

fn report(name: &Name, table: &Table, column: &Column, others: &[&Name], sink: &mut Sink<'_>) {
    let list: Vec<String> = others.iter().map(ToString::to_string).collect();
    let shown = list.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    sink.report(
        Found::new(
            Severity::Note,
            ObjectKind::Column,
            name,
            Some(&column.name),
            format!("none of the table's policies speaks of it, though those of {shown} go by it"),
        )
        .evidence("elsewhere", list)
        .evidence("policies", table.policies.len())
        .advice("If rows are private to their user, hold the column against the session as the other tables do."),
    );
}
