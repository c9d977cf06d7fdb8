//! `exists (select … where inner = outer and …)` → the set of `inner` values, computed without the outer row.

use crate::model::Catalog;
use crate::sql::scope::{Path, Relation, binds, calls, free_columns, relations};
use crate::sql::tree::{IntoNode, all_of, conjuncts, is_equality};
use pg_query::protobuf::{AExprKind, ResTarget, SelectStmt, SetOperation};
use pg_query::{Node, NodeEnum};

/// The outer expression, and the set it must be in.
pub(super) struct Membership {
    pub outer: Node,
    pub set: SelectStmt,
}

/// Turns the select of an EXISTS into a set.
///
/// Holds where exactly one conjunct speaks of the outer row, and it is an equality between something of
/// the outer row alone and something of the inner rows alone. NULLs on either side are found by neither form.
pub(super) fn membership(select: &SelectStmt, catalog: &Catalog) -> Option<Membership> {
    let plain = select.group_clause.is_empty()
        && select.having_clause.is_none()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
        && select.op() == SetOperation::SetopNone
        && select.values_lists.is_empty()
        && select.locking_clause.is_empty()
        // An aggregate would give a row where none is found; a set-returning function none where one is.
        && select.target_list.iter().all(|target| match &target.node {
            Some(NodeEnum::ResTarget(t)) => t
                .val
                .as_deref()
                .and_then(calls)
                .is_some_and(|calls| calls.is_empty()),
            _ => false,
        });
    let inner = relations(select, catalog)?;
    if !plain || inner.is_empty() || !joins_are_closed(select, &inner, catalog)? {
        return None;
    }
    let (mut crossing, mut closed) = (Vec::new(), Vec::new());
    for conjunct in conjuncts(select.where_clause.as_deref()?) {
        if is_closed(&conjunct, &inner, catalog)? {
            closed.push(conjunct);
        } else {
            crossing.push(conjunct);
        }
    }
    let [one] = crossing.as_slice() else {
        return None;
    };
    let (outer, key) = split_equality(one, &inner, catalog)?;
    let target = ResTarget {
        val: Some(Box::new(key)),
        ..Default::default()
    };
    let mut set = select.clone();
    set.target_list = vec![NodeEnum::ResTarget(Box::new(target)).into_node()];
    set.where_clause = all_of(closed).map(Box::new);
    set.sort_clause.clear();
    set.distinct_clause.clear();
    Some(Membership { outer, set })
}

/// The two sides of `inner = outer`, the outer one first.
fn split_equality(node: &Node, inner: &[Relation], catalog: &Catalog) -> Option<(Node, Node)> {
    let Some(NodeEnum::AExpr(e)) = &node.node else {
        return None;
    };
    if e.kind() != AExprKind::AexprOp || !is_equality(&e.name) {
        return None;
    }
    let (left, right) = (e.lexpr.as_deref()?, e.rexpr.as_deref()?);
    [(left, right), (right, left)]
        .into_iter()
        .find_map(|(outer, key)| {
            let free = free_columns(outer, catalog)?;
            let outside = !free.is_empty() && free.iter().all(|p| !binds(inner, p, catalog));
            let keyed = !free_columns(key, catalog)?.is_empty();
            (outside && keyed && is_closed(key, inner, catalog)?)
                .then(|| (outer.clone(), key.clone()))
        })
}

/// Whether every column of `node` belongs to the inner relations.
pub(super) fn is_closed(node: &Node, inner: &[Relation], catalog: &Catalog) -> Option<bool> {
    let free = free_columns(node, catalog)?;
    Some(free.iter().all(|path: &Path| binds(inner, path, catalog)))
}

fn joins_are_closed(select: &SelectStmt, inner: &[Relation], catalog: &Catalog) -> Option<bool> {
    let mut closed = true;
    let mut pending: Vec<&Node> = select.from_clause.iter().collect();
    while let Some(node) = pending.pop() {
        match node.node.as_ref()? {
            NodeEnum::RangeVar(_) => {}
            NodeEnum::JoinExpr(join) => {
                pending.extend([join.larg.as_deref()?, join.rarg.as_deref()?]);
                if let Some(quals) = join.quals.as_deref() {
                    closed &= is_closed(quals, inner, catalog)?;
                }
            }
            // A lateral item could speak of the outer row.
            _ => return None,
        }
    }
    Some(closed)
}
