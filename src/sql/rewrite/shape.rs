//! Tests whose spelling keeps an index away, spelled so that one can serve.

use super::{Rewritten, array, case, distinct};
use crate::model::{Catalog, Name, Volatility};
use crate::sql::scope::worst_volatility;
use pg_query::protobuf::BoolExprType;
use pg_query::{Node, NodeEnum};

/// Rewrites what stands where NULL and false mean the same: under AND and OR only.
pub(super) fn rewrite(node: &mut Node, table: &Name, catalog: &Catalog, made: &mut Rewritten) {
    if let Some((replacement, words)) = respelled(node, table, catalog) {
        *node = replacement;
        if !made.steps.contains(&words) {
            made.steps.push(words);
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

fn respelled(node: &Node, table: &Name, catalog: &Catalog) -> Option<(Node, &'static str)> {
    if worst_volatility(node, catalog) == Volatility::Volatile {
        return None;
    }
    if let Some(NodeEnum::CaseExpr(case)) = &node.node {
        let words = "case … then true else … becomes or, whose arms an index can serve";
        return Some((case::alternatives(case, catalog)?, words));
    }
    if let Some(found) = distinct::comparison(node, table, catalog) {
        return Some((
            found,
            "is not distinct from becomes =, which an index can serve",
        ));
    }
    let found = array::containment(node, table, catalog)?;
    Some((
        found,
        "= any(array column) becomes @>, which its GIN index can serve",
    ))
}
