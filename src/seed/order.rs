//! What has to come before what.

use super::error::Error;
use super::plan::{At, Plan};
use std::collections::BTreeSet;

/// For each table, the tables it refers to; `more` holds further (table, referred to) pairs, such as foreign keys
/// that no generator follows.
pub(super) fn parents(plan: &Plan, more: &[(usize, usize)]) -> Vec<BTreeSet<usize>> {
    plan.tables
        .iter()
        .enumerate()
        .map(|(table, spec)| {
            (0..spec.columns.len())
                .filter_map(|column| plan.refers_to(At { table, column }))
                .chain(
                    more.iter()
                        .filter(|(from, _)| *from == table)
                        .map(|(_, to)| *to),
                )
                .filter(|parent| *parent != table)
                .collect()
        })
        .collect()
}

/// Places of all tables, each after its parents.
pub(super) fn tables(plan: &Plan, parents: &[BTreeSet<usize>]) -> Result<Vec<usize>, Error> {
    let mut before = parents.to_vec();
    let mut order = Vec::new();
    while order.len() < before.len() {
        let ready = before
            .iter()
            .enumerate()
            .position(|(table, parents)| parents.is_empty() && !order.contains(&table));
        let Some(ready) = ready else {
            let stuck = plan.tables.iter().enumerate();
            return Err(Error::Circle {
                tables: stuck
                    .filter(|(place, _)| !order.contains(place))
                    .map(|(_, table)| table.name.to_string())
                    .collect(),
            });
        };
        for parents in &mut before {
            parents.remove(&ready);
        }
        order.push(ready);
    }
    Ok(order)
}

/// Refuses a column whose value would depend on itself.
pub(super) fn check_columns(plan: &Plan) -> Result<(), Error> {
    let mut done = BTreeSet::new();
    for (table, spec) in plan.tables.iter().enumerate() {
        for column in 0..spec.columns.len() {
            visit(plan, At { table, column }, &mut Vec::new(), &mut done)?;
        }
    }
    Ok(())
}

fn visit(plan: &Plan, at: At, path: &mut Vec<At>, done: &mut BTreeSet<At>) -> Result<(), Error> {
    if done.contains(&at) {
        return Ok(());
    }
    if path.contains(&at) {
        return Err(Error::Column {
            table: plan
                .tables
                .get(at.table)
                .map(|t| t.name.clone())
                .unwrap_or_default(),
            column: plan.column(at).map(|c| c.name.clone()).unwrap_or_default(),
            message: "its value depends on itself".to_owned(),
        });
    }
    path.push(at);
    for needed in plan.needs(at) {
        visit(plan, needed, path, done)?;
    }
    path.pop();
    done.insert(at);
    Ok(())
}
