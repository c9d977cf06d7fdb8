//! `exists (select … where inner = outer and …)` → the set of `inner` values, computed without the outer row.

use super::known::{self, Plain};
use super::refusal::Attempt;
use super::total;
use super::typed::{self, Levels};
use crate::model::Catalog;
use crate::sql::scope::{Path, Relation, binds, calls, free_columns, relations};
use crate::sql::tree::{IntoNode, all_of, conjuncts, is_equality, parts};
use pg_query::protobuf::{AExprKind, ResTarget, SelectStmt};
use pg_query::{Node, NodeEnum};

/// The outer expression, and the set it must be in.
pub(super) struct Membership {
    pub outer: Node,
    pub set: SelectStmt,
}

/// Turns the select of an EXISTS into a set; `None` where no or several conditions speak of the outer row.
///
/// Holds where exactly one conjunct speaks of the outer row, and it is an equality between something of
/// the outer row alone and something of the inner rows alone. NULLs on either side are found by neither form. The
/// other conditions are asked of all inner rows, not of those with the key alone, so none may raise for a row.
///
/// `levels` are those around the select; without any, whoever calls compares the types.
pub(super) fn membership(
    select: &SelectStmt,
    levels: &Levels,
    catalog: &Catalog,
) -> Attempt<Membership> {
    let Plain {
        targets,
        from,
        condition,
    } = known::plain(select)?;
    // An aggregate would give a row where none is found; a set-returning function none where one is.
    let asks_for_rows = targets.iter().all(|target| match &target.node {
        Some(NodeEnum::ResTarget(t)) => t
            .val
            .as_deref()
            .is_none_or(|value| calls(value).is_some_and(|calls| calls.is_empty())),
        _ => false,
    });
    if !asks_for_rows {
        return Err("its sub-select gives something computed by a function".to_owned());
    }
    let unknown = "a sub-select has a clause that is not known";
    let inner = relations(select, catalog).ok_or(unknown)?;
    if inner.is_empty() || !joins_are_closed(from, &inner, catalog)? {
        return Ok(None);
    }
    let Some(condition) = condition else {
        return Ok(None);
    };
    let (mut crossing, mut closed) = (Vec::new(), Vec::new());
    for conjunct in conjuncts(condition) {
        if is_closed(&conjunct, &inner, catalog).ok_or(unknown)? {
            closed.push(conjunct);
        } else {
            crossing.push(conjunct);
        }
    }
    let [one] = crossing.as_slice() else {
        return Ok(None);
    };
    let Some((outer, key)) = split_equality(one, &inner, catalog) else {
        return Ok(None);
    };
    if holds_collate(one) {
        return Err("its comparison has COLLATE, whose strength a set would not keep".to_owned());
    }
    if !closed.iter().all(|c| total::is_total_by_row(c, catalog)) {
        return Err(
            "a condition on the inner rows may raise an error for rows that were not asked before"
                .to_owned(),
        );
    }
    if !levels.is_empty() {
        let mut inside = levels.clone();
        inside.push(inner);
        let (a, b) = (
            typed::of(&outer, levels, catalog),
            typed::of(&key, &inside, catalog),
        );
        match (a, b) {
            (Some(a), Some(b)) if typed::are_comparable(&a, &b, catalog) => {}
            (Some(a), Some(b)) => {
                return Err(format!("{a} and {b} may be compared by several operators"));
            }
            _ => return Err("the types that it compares are not known".to_owned()),
        }
    }
    let target = ResTarget {
        val: Some(Box::new(key)),
        ..Default::default()
    };
    let mut set = select.clone();
    set.target_list = vec![NodeEnum::ResTarget(Box::new(target)).into_node()];
    set.where_clause = all_of(closed).map(Box::new);
    set.distinct_clause.clear();
    Ok(Some(Membership { outer, set }))
}

pub(super) fn holds_collate(node: &Node) -> bool {
    matches!(node.node, Some(NodeEnum::CollateClause(_)))
        || parts(node).is_none_or(|all| all.iter().any(holds_collate))
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

/// Whether join conditions speak of inner rows alone; they too are asked of all inner rows.
fn joins_are_closed(from: &[Node], inner: &[Relation], catalog: &Catalog) -> Result<bool, String> {
    let unknown = "a sub-select has a FROM that is not known";
    let mut pending: Vec<&Node> = from.iter().collect();
    while let Some(node) = pending.pop() {
        match &node.node {
            Some(NodeEnum::RangeVar(_)) => {}
            Some(NodeEnum::JoinExpr(join)) => {
                let sides = [join.larg.as_deref(), join.rarg.as_deref()];
                pending.extend(sides.into_iter().flatten());
                let Some(quals) = join.quals.as_deref() else {
                    continue;
                };
                if !is_closed(quals, inner, catalog).ok_or(unknown)? {
                    return Ok(false);
                }
                if !total::is_total_by_row(quals, catalog) {
                    return Err("a join condition may raise an error".to_owned());
                }
            }
            // A lateral item could speak of the outer row.
            _ => return Err("its FROM holds more than tables".to_owned()),
        }
    }
    Ok(true)
}
