//! A plan against the tables that are there.

use super::error::{Error, nearest};
use super::order;
use super::plan::{Plan, Table};
use crate::db::TableShape;
use std::collections::BTreeSet;

/// Checks the plan against the database's tables, and orders it by their foreign keys too; returns each table's
/// parents.
pub(super) fn fit(plan: &mut Plan, shapes: &[TableShape]) -> Result<Vec<BTreeSet<usize>>, Error> {
    if plan.tables.is_empty() {
        return Err(Error::NoTables);
    }
    let mut keys = Vec::new();
    for (place, table) in plan.tables.iter().enumerate() {
        let Some(shape) = shapes.iter().find(|shape| shape.name == table.name) else {
            let known: Vec<String> = shapes.iter().map(|s| s.name.to_string()).collect();
            return Err(Error::UnknownTable {
                table: table.name.clone(),
                place: "the database",
                nearest: nearest(&table.name.to_string(), known.iter().map(String::as_str)),
            });
        };
        fit_columns(table, shape)?;
        for reference in &shape.references {
            let parent = plan.tables.iter().position(|t| t.name == reference.table);
            let followed = reference
                .columns
                .iter()
                .all(|column| table.columns.iter().any(|c| c.name == *column));
            keys.extend(parent.filter(|_| followed).map(|parent| (place, parent)));
        }
    }
    let parents = order::parents(plan, &keys);
    plan.order = order::tables(plan, &parents)?;
    Ok(parents)
}

fn fit_columns(table: &Table, shape: &TableShape) -> Result<(), Error> {
    let wrong = |column: &str, message: &str| Error::Column {
        table: table.name.clone(),
        column: column.to_owned(),
        message: message.to_owned(),
    };
    for column in &table.columns {
        let Some(found) = shape.column(&column.name) else {
            let known = shape.columns.iter().map(|c| c.name.as_str());
            return Err(Error::UnknownColumn {
                table: table.name.clone(),
                column: column.name.clone(),
                nearest: nearest(&column.name, known),
            });
        };
        if found.generated {
            return Err(wrong(
                &column.name,
                "the server generates this column: leave it out of the specification",
            ));
        }
    }
    for column in &shape.columns {
        let filled = table.columns.iter().any(|c| c.name == column.name);
        if column.not_null && !column.has_default && !column.generated && !filled {
            return Err(wrong(
                &column.name,
                "is NOT NULL without a default, and the specification has no generator for it",
            ));
        }
    }
    Ok(())
}
