//! `f()` → `(select f())` for a stable call that does not depend on the row.
//!
//! A STABLE function gives the same result all through one statement (PostgreSQL documentation,
//! "Function Volatility Categories"), so evaluating it once as an init-plan is equivalent.

use super::exists::holds_collate;
use super::{known, raising};
use crate::model::{Catalog, Volatility};
use crate::sql::scope::{calls, free_columns, volatility, worst_volatility};
use crate::sql::tree::{IntoNode, parse_expression, parts_mut, qualified, subselect_mut};
use pg_query::protobuf::{
    AExprKind, FuncCall, LimitOption, ResTarget, SelectStmt, SetOperation, SubLink, SubLinkType,
    TypeCast,
};
use pg_query::{Node, NodeEnum};

/// Wraps the largest parts of `node` that qualify. Returns whether anything changed.
pub(super) fn rewrite(node: &mut Node, catalog: &Catalog) -> bool {
    // What is not known may hold a name of the row.
    if known::expression(node).is_err() {
        return match &mut node.node {
            Some(NodeEnum::BoolExpr(e)) => e
                .args
                .iter_mut()
                .fold(false, |changed, arg| rewrite(arg, catalog) | changed),
            _ => false,
        };
    }
    if worth_wrapping(node, catalog) {
        *node = select_of(node.clone());
        return true;
    }
    let mut changed = false;
    if let Some(select) = subselect_mut(node) {
        changed |= rewrite_select(select, catalog);
    }
    if let Some(array) = array_operand(node) {
        changed |= rewrite_array(array, catalog);
        if let Some(NodeEnum::AExpr(e)) = &mut node.node
            && let Some(left) = e.lexpr.as_deref_mut()
        {
            changed |= rewrite(left, catalog);
        }
        return changed;
    }
    for part in parts_mut(node).unwrap_or_default() {
        changed |= rewrite(part, catalog);
    }
    changed
}

/// Conditions of a sub-select are evaluated once a row of its own. Without FROM it has one row.
fn rewrite_select(select: &mut SelectStmt, catalog: &Catalog) -> bool {
    let mut changed = false;
    for side in [&mut select.larg, &mut select.rarg].into_iter().flatten() {
        changed |= rewrite_select(side, catalog);
    }
    // Where a condition may raise, a cheaper one beside it could change which rows it is asked of.
    if select.from_clause.is_empty() || raising::in_select(select, &Vec::new(), catalog) {
        return changed;
    }
    if let Some(condition) = select.where_clause.as_deref_mut() {
        changed |= rewrite(condition, catalog);
    }
    for node in &mut select.from_clause {
        changed |= rewrite_join(node, catalog);
    }
    changed
}

fn rewrite_join(node: &mut Node, catalog: &Catalog) -> bool {
    let Some(NodeEnum::JoinExpr(join)) = &mut node.node else {
        return false;
    };
    let mut changed = false;
    for side in [&mut join.larg, &mut join.rarg].into_iter().flatten() {
        changed |= rewrite_join(side, catalog);
    }
    if let Some(quals) = join.quals.as_deref_mut() {
        changed |= rewrite(quals, catalog);
    }
    changed
}

fn array_operand(node: &mut Node) -> Option<&mut Node> {
    match node.node.as_mut()? {
        NodeEnum::AExpr(e) if matches!(e.kind(), AExprKind::AexprOpAny | AExprKind::AexprOpAll) => {
            e.rexpr.as_deref_mut()
        }
        _ => None,
    }
}

/// `= any((select f()))` would compare with the rows of the sub-select, so the array gets a cast.
fn rewrite_array(array: &mut Node, catalog: &Catalog) -> bool {
    if !worth_wrapping(array, catalog) {
        let mut changed =
            subselect_mut(array).is_some_and(|select| rewrite_select(select, catalog));
        for part in parts_mut(array).unwrap_or_default() {
            changed |= rewrite(part, catalog);
        }
        return changed;
    }
    match array.node.as_mut() {
        Some(NodeEnum::TypeCast(cast)) => cast
            .arg
            .as_deref_mut()
            .is_some_and(|arg| rewrite(arg, catalog)),
        Some(NodeEnum::FuncCall(call)) => match result_type(call, catalog) {
            Some(type_name) => {
                let cast = TypeCast {
                    arg: Some(Box::new(select_of(array.clone()))),
                    type_name: Some(type_name),
                    ..Default::default()
                };
                *array = NodeEnum::TypeCast(Box::new(cast)).into_node();
                true
            }
            None => false,
        },
        _ => false,
    }
}

fn result_type(call: &FuncCall, catalog: &Catalog) -> Option<pg_query::protobuf::TypeName> {
    let (schema, name) = qualified(&call.funcname);
    let mut types = catalog
        .functions_named(schema, name)
        .map(|f| f.returns.as_str())
        .collect::<Vec<_>>();
    types.dedup();
    let [type_name] = types.as_slice() else {
        return None;
    };
    match parse_expression(&format!("null::{type_name}")).ok()?.node? {
        NodeEnum::TypeCast(cast) => cast.type_name,
        _ => None,
    }
}

fn worth_wrapping(node: &Node, catalog: &Catalog) -> bool {
    if matches!(
        node.node,
        Some(
            NodeEnum::SubLink(_)
                | NodeEnum::List(_)
                | NodeEnum::AIndices(_)
                | NodeEnum::CaseWhen(_)
                | NodeEnum::RowExpr(_)
        )
    ) {
        return false;
    }
    free_columns(node, catalog).is_some_and(|free| free.is_empty())
        && worst_volatility(node, catalog) == Volatility::Stable
        && calls_outside_selects(node, catalog)
        && keeps_collation(node)
        && calls(node).is_some_and(|calls| calls.iter().all(|c| !returns_set(c, catalog)))
}

/// An explicit COLLATE is an implicit one in what a sub-select gives: it may stay inside only of a truth value.
fn keeps_collation(node: &Node) -> bool {
    let truth = match &node.node {
        Some(NodeEnum::BoolExpr(_) | NodeEnum::NullTest(_) | NodeEnum::BooleanTest(_)) => true,
        Some(NodeEnum::AExpr(e)) => {
            let compares = ["=", "<>", "<", ">", "<=", ">="].contains(&qualified(&e.name).1);
            match e.kind() {
                AExprKind::AexprOp => compares,
                AExprKind::AexprNullif => false,
                _ => true,
            }
        }
        _ => false,
    };
    truth || !holds_collate(node)
}

/// The clock of the statement: the planner knows its value, and a sub-select would hide it.
const CLOCK: [&str; 3] = ["now", "statement_timestamp", "transaction_timestamp"];

/// Whether a stable function is called outside the sub-selects of `node`: those are evaluated once already.
fn calls_outside_selects(node: &Node, catalog: &Catalog) -> bool {
    if let Some(NodeEnum::FuncCall(call)) = &node.node
        && volatility(call, catalog) == Volatility::Stable
        && !matches!(qualified(&call.funcname), ("" | "pg_catalog", name) if CLOCK.contains(&name))
    {
        return true;
    }
    crate::sql::tree::parts(node)
        .unwrap_or_default()
        .iter()
        .any(|part| calls_outside_selects(part, catalog))
}

fn returns_set(call: &FuncCall, catalog: &Catalog) -> bool {
    let (schema, name) = qualified(&call.funcname);
    catalog.functions_named(schema, name).any(|f| f.returns_set)
}

pub(super) fn select_of(node: Node) -> Node {
    let target = ResTarget {
        val: Some(Box::new(node)),
        ..Default::default()
    };
    let select = SelectStmt {
        target_list: vec![NodeEnum::ResTarget(Box::new(target)).into_node()],
        limit_option: LimitOption::Default.into(),
        op: SetOperation::SetopNone.into(),
        ..Default::default()
    };
    let link = SubLink {
        sub_link_type: SubLinkType::ExprSublink.into(),
        subselect: Some(Box::new(NodeEnum::SelectStmt(Box::new(select)).into_node())),
        ..Default::default()
    };
    NodeEnum::SubLink(Box::new(link)).into_node()
}
