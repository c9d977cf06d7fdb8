use super::exposure;
use super::sink::Found;
use super::{Category, Facts, Sink, rule, tested};
use crate::model::{Index, Name, ObjectKind, Severity, Table};
use crate::sql::qual::Qual;
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A unique index, primary keys aside, on a table whose policies hold a column against the session, that leaves that
    /// column out, where a role under the policies may insert or update. Left out are values that nobody can guess or
    /// choose: uuid and generated ones.
    ///
    /// ## Why it matters
    /// The index spans the rows that policies hide. Inserting a value that another tenant has fails with "duplicate key",
    /// which tells that it is there, and keeps two tenants from using the same name.
    ///
    /// ## What to do
    /// Make the policy's column part of the key, first. Where the value must be unique over all tenants, such as the name
    /// an account logs in with, leave it.
    /// ```sql,bad
    /// create table contact (id int primary key, tenant_id int not null, email text unique);
    /// alter table contact enable row level security;
    /// create policy own on contact to app using (tenant_id = (select current_setting('app.tenant')::int));
    /// grant select, insert on contact to app;
    /// ```
    /// ```sql,good
    /// create table contact (id int primary key, tenant_id int not null, email text, unique (tenant_id, email));
    /// alter table contact enable row level security;
    /// create policy own on contact to app using (tenant_id = (select current_setting('app.tenant')::int));
    /// grant select, insert on contact to app;
    /// ```
    "unique-across-tenants" {
        summary: "a unique index tells which values the rows hidden by policies hold",
        category: Category::Safety,
        also: &["pgrls SEC035"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let scoping = tested::scoping(facts);
    for (name, columns) in &scoping {
        let Some(table) = facts.catalog.table(name).filter(|t| t.rls_enabled) else {
            continue;
        };
        if table.extension.is_some() || exposure::platform(&name.schema) {
            continue;
        }
        let mut writers = facts.exposure.of_table(name, table);
        writers.retain(|r| r.privileges.contains("INSERT") || r.privileges.contains("UPDATE"));
        if writers.is_empty() {
            continue;
        }
        for index in table
            .indexes
            .iter()
            .filter(|i| i.unique && !i.primary && i.valid)
        {
            let keys = keys(facts, name, index);
            let scoped = keys.iter().any(|k| columns.contains(k.as_str()));
            if !keys.is_empty() && !scoped && keys.iter().any(|k| guessable(table, k)) {
                report(name, table, index, columns, &exposure::who(&writers), sink);
            }
        }
    }
}

/// The columns that the index is over, those inside expressions too.
fn keys(facts: &Facts<'_>, name: &Name, index: &Index) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for key in &index.keys {
        found.extend(key.column.clone());
        let inside = key.expression.as_deref();
        let inside = inside.and_then(|e| Qual::of_policy(e, name, facts.catalog).ok());
        if let Some(qual) = inside {
            let columns = qual.tests().into_iter().flat_map(|(_, t)| &t.columns);
            found.extend(columns.map(|c| c.column.clone()));
        }
    }
    found
}

fn guessable(table: &Table, column: &str) -> bool {
    table.column(column).is_some_and(|c| {
        let drawn = c.identity
            || c.generated
            || c.default
                .as_ref()
                .is_some_and(|d| d.starts_with("nextval("));
        !drawn && !matches!(c.type_name.as_str(), "uuid" | "bytea")
    })
}

fn report(
    name: &Name,
    table: &Table,
    index: &Index,
    columns: &BTreeSet<&str>,
    writers: &str,
    sink: &mut Sink<'_>,
) {
    // One row a user: then the values are those of users, often unique on purpose.
    let alone = |column: &str| {
        table.indexes.iter().any(|i| {
            let mut keys = i.keys.iter();
            i.unique && keys.len() == 1 && keys.any(|k| k.column.as_deref() == Some(column))
        })
    };
    let tenant = columns.iter().copied().find(|column| !alone(column));
    let severity = if tenant.is_none() {
        Severity::Note
    } else {
        Severity::Warning
    };
    let advice = match tenant {
        Some(tenant) => format!(
            "Make {tenant} the first column of the key, unless the value must be unique over all tenants."
        ),
        None => "Each user has one row, so the value may have to be unique over all of them, as an address is: then let \
                 the application answer the same whether it is taken or not."
            .to_owned(),
    };
    let over = columns.iter().copied().collect::<Vec<_>>().join(", ");
    let keys: Vec<&str> = index
        .keys
        .iter()
        .filter_map(|k| k.column.as_deref().or(k.expression.as_deref()))
        .collect();
    sink.report(
        Found::new(
            severity,
            ObjectKind::Index,
            name,
            Some(&index.name.name),
            format!(
                "is unique over ({}) without {over}, which policies go by: \"duplicate key\" tells {writers} what hidden \
                 rows hold",
                keys.join(", ")
            ),
        )
        .evidence("index", index.definition.clone())
        .evidence("policy_columns", columns.iter().copied().collect::<Vec<_>>())
        .advice(advice),
    );
}
