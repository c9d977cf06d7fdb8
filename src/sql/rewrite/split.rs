//! An EXISTS with tests of the outer row beside the key → tests of the row, and sets.
//!
//! `exists (… k = c and (o or i))` is `exists (… k = c and o) or exists (… k = c and i)`, and a test that speaks of the
//! outer row alone holds for all inner rows or none: `o and exists (… k = c)`.

use super::exists::{is_closed, membership};
use super::known;
use super::refusal::Attempt;
use super::total;
use super::typed::Levels;
use crate::model::Catalog;
use crate::sql::scope::{Relation, binds, free_columns, relations};
use crate::sql::tree::{all_of, any_of, conjuncts, disjuncts, equals_any_of_select};
use pg_query::Node;
use pg_query::protobuf::SelectStmt;

/// More alternatives would make more sets than rows are worth.
const MOST: usize = 4;

/// The test in parts; `None` where a part is no membership test.
pub(super) fn tests(select: &SelectStmt, levels: &Levels, catalog: &Catalog) -> Attempt<Node> {
    let plain = known::plain(select)?;
    let (Some(inner), Some(condition)) = (relations(select, catalog), plain.condition) else {
        return Ok(None);
    };
    let mut alternatives = vec![Vec::new()];
    for conjunct in conjuncts(condition) {
        let choices = if crosses(&conjunct, &inner, catalog).ok_or("a condition is not known")? {
            disjuncts(&conjunct)
        } else {
            vec![conjunct]
        };
        alternatives = alternatives
            .iter()
            .flat_map(|before: &Vec<Node>| {
                choices.iter().map(|choice| {
                    let mut all = before.clone();
                    all.extend(conjuncts(choice));
                    all
                })
            })
            .collect();
        if alternatives.len() > MOST {
            return Ok(None);
        }
    }
    let mut tests = Vec::new();
    for conditions in alternatives {
        match one(select, conditions, &inner, levels, catalog)? {
            Some(test) => tests.push(test),
            None => return Ok(None),
        }
    }
    Ok(any_of(tests))
}

fn one(
    select: &SelectStmt,
    conditions: Vec<Node>,
    inner: &[Relation],
    levels: &Levels,
    catalog: &Catalog,
) -> Attempt<Node> {
    let (mut of_the_row, mut others) = (Vec::new(), Vec::new());
    for condition in conditions {
        if is_outside(&condition, inner, catalog).ok_or("a condition is not known")? {
            // It is asked of more rows than before.
            if !total::is_total(&condition, catalog) {
                return Err("a condition on the row may raise an error".to_owned());
            }
            of_the_row.push(condition);
        } else {
            others.push(condition);
        }
    }
    let mut rest = select.clone();
    rest.where_clause = all_of(others).map(Box::new);
    let Some(found) = membership(&rest, levels, catalog)? else {
        return Ok(None);
    };
    of_the_row.push(equals_any_of_select(found.outer, found.set));
    Ok(all_of(of_the_row))
}

/// Whether it speaks of inner and outer rows at once.
fn crosses(node: &Node, inner: &[Relation], catalog: &Catalog) -> Option<bool> {
    Some(!is_closed(node, inner, catalog)? && !is_outside(node, inner, catalog)?)
}

/// Whether it speaks of the outer row, and of no inner one.
fn is_outside(node: &Node, inner: &[Relation], catalog: &Catalog) -> Option<bool> {
    let free = free_columns(node, catalog)?;
    Some(!free.is_empty() && free.iter().all(|path| !binds(inner, path, catalog)))
}
