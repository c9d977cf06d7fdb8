//! Changes of what opens rows beside policies: RLS itself, owners, grants, views, copies, definer functions, triggers, roles.

use super::catalog::{Catalog, Relation, bare};
use super::change::Change;
use super::expression::Expression;
use super::ground::Scheme;
use std::collections::BTreeSet;

pub(super) fn mutations(catalog: &Catalog, scheme: &Scheme, invoker_views: bool) -> Vec<Change> {
    let mut found = Vec::new();
    for relation in &catalog.relations {
        found.extend(grants(catalog, relation, scheme));
        match relation.kind {
            'v' => found.extend(of_view(relation, invoker_views)),
            'r' | 'p' if relation.rls => {
                found.extend(of_table(relation, scheme.roles));
                found.extend(copies(relation, scheme, invoker_views));
                found.extend(new_triggers(relation));
            }
            _ => {}
        }
    }
    for role in scheme.roles {
        let schemas: BTreeSet<&str> = catalog.relations.iter().map(schema_of).collect();
        for schema in schemas {
            let sql = format!("revoke usage on schema {schema} from {role};");
            let mut change = Change::new("schema usage", "", sql);
            change.about.clear();
            found.push(change);
        }
    }
    for trigger in &catalog.triggers {
        let (table, name) = (&trigger.table, &trigger.name);
        found.push(Change::new(
            "trigger dropped",
            table,
            format!("drop trigger {name} on {table};"),
        ));
        found.push(Change::new(
            "trigger disabled",
            table,
            format!("alter table {table} disable trigger {name};"),
        ));
        let never =
            trigger
                .definition
                .replacen("EXECUTE FUNCTION", "WHEN (false) EXECUTE FUNCTION", 1);
        found.push(Change::new(
            "trigger disabled",
            table,
            format!("drop trigger {name} on {table};\n{never};"),
        ));
    }
    found
}

fn of_table(relation: &Relation, roles: &[&str]) -> Vec<Change> {
    let table = &relation.name;
    let alter = |kind, what: &str| Change::new(kind, table, format!("alter table {table} {what};"));
    let schema = schema_of(relation);
    let other = roles.last().unwrap();
    vec![
        alter("RLS disabled", "disable row level security"),
        alter("FORCE", "force row level security"),
        alter("FORCE", "no force row level security"),
        Change::new(
            "owner changed",
            table,
            format!(
                "grant create on schema {schema} to {other};\nalter table {table} owner to {other};"
            ),
        ),
    ]
}

fn schema_of(relation: &Relation) -> &str {
    relation
        .name
        .split_once('.')
        .map_or("public", |(schema, _)| schema)
}

fn grants(catalog: &Catalog, relation: &Relation, scheme: &Scheme) -> Vec<Change> {
    let table = &relation.name;
    let mut found = Vec::new();
    let kind = if relation.kind == 'c' {
        "partition granted"
    } else {
        "table grants"
    };
    for role in scheme.roles {
        for privilege in ["select", "insert", "update", "delete", "truncate"] {
            let held =
                catalog
                    .grants
                    .contains(&(table.clone(), (*role).to_owned(), privilege.to_owned()));
            let sql = if held {
                format!("revoke {privilege} on {table} from {role};")
            } else {
                format!("grant {privilege} on {table} to {role};")
            };
            found.push(Change::new(kind, table, sql));
            if held
                && "rp".contains(relation.kind)
                && matches!(privilege, "select" | "update" | "insert")
            {
                let columns: Vec<&str> = relation
                    .columns
                    .iter()
                    .skip(1)
                    .filter(|c| !c.generated)
                    .map(|c| c.name.as_str())
                    .collect();
                let sql = format!(
                    "revoke {privilege} on {table} from {role};\ngrant {privilege} ({}) on {table} to {role};",
                    columns.join(", ")
                );
                found.push(Change::new("column grants", table, sql));
            }
        }
        for column in relation.columns.iter().filter(|c| c.granted) {
            found.push(Change::new(
                "column grants",
                table,
                format!("revoke select ({}) on {table} from {role};", column.name),
            ));
        }
        if let Some(column) = relation
            .columns
            .iter()
            .rfind(|c| !c.granted && !c.generated)
        {
            for privilege in ["select", "update"] {
                found.push(Change::new(
                    "column grants",
                    table,
                    format!("grant {privilege} ({}) on {table} to {role};", column.name),
                ));
            }
        }
    }
    found
}

fn of_view(relation: &Relation, invoker_views: bool) -> Vec<Change> {
    let view = &relation.name;
    let alter = |kind, what: &str| Change::new(kind, view, format!("alter view {view} {what};"));
    let mut found = vec![
        alter("view barrier", "set (security_barrier)"),
        alter("view barrier", "reset (security_barrier)"),
    ];
    if invoker_views {
        found.push(alter("view invoker", "reset (security_invoker)"));
        found.push(alter("view invoker", "set (security_invoker)"));
    }
    found
}

/// The definitions of views, mutated.
pub(super) fn definitions(views: &[(String, String, String)], scheme: &Scheme) -> Vec<Change> {
    let constants: Vec<String> = scheme.constants.iter().map(|c| (*c).to_owned()).collect();
    let mut found = Vec::new();
    for (name, options, definition) in views {
        for (_, text) in Expression::new(definition.trim_end_matches(';')).mutants(&constants) {
            found.push(Change::new(
                "view definition",
                name,
                format!("create or replace view {name}{options} as {text};"),
            ));
        }
    }
    found
}

/// Ways past the policies of a table that were not there.
fn copies(relation: &Relation, scheme: &Scheme, invoker_views: bool) -> Vec<Change> {
    let table = &relation.name;
    let copy = format!("{}.every_{}", schema_of(relation), bare(table));
    let mut found = Vec::new();
    for role in scheme.roles {
        let grant = format!("grant select on {copy} to {role};");
        let change = |kind, sql: String| Change::new(kind, table, sql);
        found.push(change(
            "view added",
            format!("create view {copy} as select * from {table};\n{grant}"),
        ));
        found.push(change(
            "view added",
            format!(
                "create view {copy} with (security_barrier) as select * from {table};\n{grant}"
            ),
        ));
        if invoker_views {
            let sql = format!(
                "create view {copy} with (security_invoker) as select * from {table};\n{grant}"
            );
            found.push(change("view with invoker added", sql));
        }
        found.push(change(
            "materialised copy",
            format!("create materialized view {copy} as select * from {table};\n{grant}"),
        ));
        found.push(change(
            "table copy",
            format!("create table {copy} as select * from {table};\n{grant}"),
        ));
        found.push(change(
            "default privileges",
            format!(
                "alter default privileges in schema {} grant select on tables to {role};\ncreate view {copy} as select * from {table};",
                schema_of(relation)
            ),
        ));
        let function = format!(
            "create function {copy}() returns setof {table} language sql stable security definer as $$ select * from {table} $$;"
        );
        let only = format!(
            "revoke execute on function {copy}() from public;\ngrant execute on function {copy}() to {role};"
        );
        let read = format!("select count(*)::text from {copy}()");
        found.push(
            change("definer function added", format!("{function}\n{only}")).read_by(read.clone()),
        );
        found.push(change("definer function added", function).read_by(read));
    }
    found
}

/// Triggers that swallow what somebody writes.
fn new_triggers(relation: &Relation) -> Vec<Change> {
    let (table, schema) = (&relation.name, schema_of(relation));
    let swallow = format!(
        "create function {schema}.swallow() returns trigger language plpgsql as $$ begin return null; end $$;"
    );
    let make = |event: &str| {
        let trigger = format!(
            "create trigger swallow before {event} on {table} for each row execute function {schema}.swallow();"
        );
        Change::new("trigger added", table, format!("{swallow}\n{trigger}"))
    };
    ["insert", "update", "delete"].map(make).to_vec()
}

/// Changes of a schema that touch nobody's rows.
pub(super) fn equivalents(catalog: &Catalog, role: &str) -> Vec<Change> {
    let mut found = Vec::new();
    for relation in catalog.relations.iter().filter(|r| r.rls) {
        let (table, schema) = (&relation.name, schema_of(relation));
        let change = |kind, sql: String| Change::new(kind, table, sql);
        let column = &relation.columns[0].name;
        found.push(change(
            "equal: index",
            format!("create index another_idx on {table} ({column});"),
        ));
        found.push(change(
            "equal: comment",
            format!("comment on table {table} is 'said again';"),
        ));
        found.push(change("equal: column", format!("alter table {table} add column another int;\ncreate index another_idx on {table} (another);")));
        found.push(change(
            "equal: new table",
            format!(
                "create table {schema}.another (id int primary key, owner text);\ncreate index on {schema}.another (owner);\n\
                 alter table {schema}.another enable row level security;\n\
                 create policy own on {schema}.another to {role} using (owner = current_user);\ngrant select on {schema}.another to {role};"
            ),
        ));
    }
    found
}
