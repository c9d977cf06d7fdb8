//! Tests whose spelling keeps an index away, spelled so that one can serve.

use super::step::{self, Step};
use super::{Rewritten, array, case, distinct};
use crate::model::{Catalog, Name, Volatility};
use crate::sql::scope::worst_volatility;
use pg_query::protobuf::BoolExprType;
use pg_query::{Node, NodeEnum};

/// Rewrites what stands where NULL and false mean the same: under AND and OR only.
pub(super) fn rewrite(node: &mut Node, table: &Name, catalog: &Catalog, made: &mut Rewritten) {
    if let Some((replacement, step)) = respelled(node, table, catalog) {
        *node = replacement;
        if !made.steps.contains(&step) {
            made.steps.push(step);
        }
    }
    if let Some(NodeEnum::BoolExpr(e)) = &mut node.node
        && e.boolop() != BoolExprType::NotExpr
    {
        for arg in &mut e.args {
            rewrite(arg, table, catalog, made);
        }
    }
}

fn respelled(node: &Node, table: &Name, catalog: &Catalog) -> Option<(Node, Step)> {
    if worst_volatility(node, catalog) == Volatility::Volatile {
        return None;
    }
    if let Some(NodeEnum::CaseExpr(case)) = &node.node {
        return Some((case::alternatives(case, catalog)?, step::CASE));
    }
    if let Some(found) = distinct::comparison(node, table, catalog) {
        return Some((found, step::DISTINCT));
    }
    let found = array::containment(node, table, catalog)?;
    Some((found, step::ARRAY))
}
