//! `case when c then true else e end` → `c or e`.

use super::refusal::Attempt;
use super::total;
use crate::model::Catalog;
use crate::sql::tree::{any_of, boolean_literal};
use pg_query::protobuf::CaseExpr;
use pg_query::{Node, NodeEnum};

/// The alternatives of a CASE whose every WHEN admits the row.
///
/// Where a condition is NULL both forms go on to the next. An OR may be evaluated in any order, so no part may raise.
pub(super) fn alternatives(case: &CaseExpr, catalog: &Catalog) -> Attempt<Node> {
    if case.arg.is_some() {
        return Ok(None);
    }
    let mut found = Vec::new();
    for branch in &case.args {
        let Some(NodeEnum::CaseWhen(when)) = &branch.node else {
            return Ok(None);
        };
        if when.result.as_deref().and_then(boolean_literal) != Some(true) {
            return Ok(None);
        }
        found.extend(when.expr.as_deref().cloned());
    }
    found.extend(
        case.defresult
            .as_deref()
            .filter(|e| boolean_literal(e) != Some(false))
            .cloned(),
    );
    if found.iter().all(|node| total::is_total(node, catalog)) {
        Ok(any_of(found))
    } else {
        Err("a part of it may raise an error, and an OR may ask its parts in any order".to_owned())
    }
}
