//! A counter-example as SQL that anyone can run. It holds nothing but made-up values.

use super::CounterExample;
use super::compare::Outcome;
use super::identity::Pattern;
use super::probe::inserts;
use super::search::Search;
use super::shrink::Difference;
use crate::model::Name;
use crate::sql::quote;
use std::fmt::Write;

pub(super) fn counter_example(
    search: &Search<'_>,
    pattern: &Pattern,
    found: &Difference,
) -> CounterExample {
    let before = Outcome::read(&found.before).describe();
    let after = Outcome::read(&found.after).describe();
    let sql = script(search, pattern, found, &before, &after);
    CounterExample {
        table: search.subject_name().cloned().unwrap_or_else(Name::default),
        statement: found.probe.about.to_owned(),
        role: found.world.identity.role.clone(),
        way: found.way,
        world: found.world.number + 1,
        rows: found.world.rows.iter().map(Vec::len).sum(),
        before,
        after,
        sql,
    }
}

fn script(
    search: &Search<'_>,
    pattern: &Pattern,
    found: &Difference,
    before: &str,
    after: &str,
) -> String {
    let mut sql = String::new();
    // Writing to a string cannot fail.
    let mut line = |text: std::fmt::Arguments<'_>| {
        let _ = writeln!(sql, "{text}");
    };
    line(format_args!(
        "-- On a copy of the schema, in a new connection, as who may insert: {before} before the change, {after} after it."
    ));
    line(format_args!("begin;"));
    for shape in &search.shapes {
        line(format_args!("truncate {} cascade;", shape.quoted()));
        for trigger in &shape.triggers {
            let trigger = quote::ident(trigger);
            line(format_args!(
                "alter table {} disable trigger {trigger};",
                shape.quoted()
            ));
        }
    }
    for (_, _, insert) in inserts(&found.world, &search.shapes) {
        line(format_args!("{insert};"));
    }
    for shape in &search.shapes {
        for trigger in &shape.triggers {
            let trigger = quote::ident(trigger);
            line(format_args!(
                "alter table {} enable trigger {trigger};",
                shape.quoted()
            ));
        }
    }
    for (name, value) in &found.world.identity.settings {
        let (name, value) = (quote::literal(name), quote::literal(value));
        line(format_args!("select set_config({name}, {value}, true);"));
    }
    let unset: Vec<&str> = search
        .settings()
        .filter(|s| !pattern.set.contains(*s))
        .map(String::as_str)
        .collect();
    if !unset.is_empty() {
        line(format_args!(
            "-- never set in this connection: {}",
            unset.join(", ")
        ));
    }
    line(format_args!(
        "set local role {};",
        quote::ident(&found.world.identity.role)
    ));
    line(format_args!("{};", found.probe.sql));
    line(format_args!("rollback;"));
    sql
}
