//! `case when c then true else e end` → `c or e`.

use super::quiet;
use crate::model::Catalog;
use crate::sql::tree::{any_of, boolean_literal};
use pg_query::protobuf::CaseExpr;
use pg_query::{Node, NodeEnum};

/// The alternatives of a CASE whose every WHEN admits the row.
///
/// Where a condition is NULL both forms go on to the next. An OR may be evaluated in any order, so no part may raise.
pub(super) fn alternatives(case: &CaseExpr, catalog: &Catalog) -> Option<Node> {
    if case.arg.is_some() {
        return None;
    }
    let mut found = Vec::new();
    for branch in &case.args {
        let Some(NodeEnum::CaseWhen(when)) = &branch.node else {
            return None;
        };
        if when.result.as_deref().and_then(boolean_literal) != Some(true) {
            return None;
        }
        found.push(when.expr.as_deref()?.clone());
    }
    found.extend(
        case.defresult
            .as_deref()
            .filter(|e| boolean_literal(e) != Some(false))
            .cloned(),
    );
    found
        .iter()
        .all(|node| quiet::is_total_expression(node, catalog))
        .then(|| any_of(found))
        .flatten()
}
