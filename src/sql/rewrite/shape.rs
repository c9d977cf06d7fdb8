//! Tests whose spelling keeps an index away, spelled so that one can serve.

use super::refusal::Attempt;
use super::step::{self, Step};
use super::typed::Levels;
use super::{Rewritten, array, case, distinct, known, raising};
use crate::model::{Catalog, Name, Volatility};
use crate::sql::scope::worst_volatility;
use pg_query::protobuf::BoolExprType;
use pg_query::{Node, NodeEnum};

/// Rewrites what stands where NULL and false mean the same: under AND and OR only.
pub(super) fn rewrite(
    node: &mut Node,
    table: &Name,
    levels: &Levels,
    catalog: &Catalog,
    made: &mut Rewritten,
) {
    rewrite_beside(node, false, table, levels, catalog, made);
}

fn rewrite_beside(
    node: &mut Node,
    guards: bool,
    table: &Name,
    levels: &Levels,
    catalog: &Catalog,
    made: &mut Rewritten,
) {
    match respelled(node, table, levels, catalog) {
        Ok(Some(_)) if guards => made.refuse(node, raising::BESIDE),
        Ok(Some((replacement, step))) => {
            *node = replacement;
            if !made.steps.contains(&step) {
                made.steps.push(step);
            }
        }
        Ok(None) => {}
        Err(reason) => made.refuse(node, reason),
    }
    if let Some(NodeEnum::BoolExpr(e)) = &mut node.node
        && e.boolop() != BoolExprType::NotExpr
    {
        let beside = raising::beside(&e.args, levels, catalog);
        for (arg, raises) in e.args.iter_mut().zip(beside) {
            rewrite_beside(arg, guards || raises, table, levels, catalog, made);
        }
    }
}

fn respelled(
    node: &Node,
    table: &Name,
    levels: &Levels,
    catalog: &Catalog,
) -> Attempt<(Node, Step)> {
    let found = if let Some(NodeEnum::CaseExpr(case)) = &node.node {
        case::alternatives(case, catalog)?.map(|made| (made, step::CASE))
    } else if let Some(made) = distinct::comparison(node, table, levels, catalog)? {
        Some((made, step::DISTINCT))
    } else {
        array::containment(node, table, levels, catalog)?.map(|made| (made, step::ARRAY))
    };
    if found.is_some() {
        known::expression(node)?;
        if worst_volatility(node, catalog) == Volatility::Volatile {
            return Err("it calls something VOLATILE".to_owned());
        }
    }
    Ok(found)
}
