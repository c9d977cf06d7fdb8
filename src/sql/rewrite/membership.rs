//! Membership tests in their one form that can be an index condition: `column = any(array(select …))`.
//!
//! A sub-select of a policy is never pulled up into a join, but an uncorrelated array sub-select is an
//! init-plan, whose value is known before the scan starts.

use super::exists::membership;
use super::step::{self, Step};
use super::{Rewritten, function, split};
use crate::model::Volatility;
use crate::model::{Catalog, Name};
use crate::sql::scope::{free_columns, free_in_select, worst_volatility};
use crate::sql::tree::{
    all_of, conjuncts, equals_any_of_select, is_equality, operator, subselect_mut,
};
use pg_query::protobuf::{AExprKind, BoolExprType, SelectStmt, SubLink, SubLinkType};
use pg_query::{Node, NodeEnum};

/// Rewrites every membership test that stands where NULL and false mean the same: under AND and OR only.
pub(super) fn rewrite(node: &mut Node, table: &Name, catalog: &Catalog, made: &mut Rewritten) {
    if let Some(NodeEnum::BoolExpr(e)) = &mut node.node {
        if e.boolop() != BoolExprType::NotExpr {
            for arg in &mut e.args {
                rewrite(arg, table, catalog, made);
            }
        }
        return;
    }
    let volatile = worst_volatility(node, catalog) == Volatility::Volatile;
    if volatile {
        return;
    }
    let step = match &node.node {
        Some(NodeEnum::SubLink(link)) => from_link(link, catalog),
        Some(NodeEnum::FuncCall(call)) => {
            function::from_call(call, table, catalog, made).map(|node| (node, step::FUNCTION))
        }
        _ => None,
    };
    if let Some((replacement, step)) = step {
        *node = replacement;
        if !made.steps.contains(&step) {
            made.steps.push(step);
        }
        rewrite_inside(node, table, catalog, made);
    }
}

/// The conditions of a set are conditions of a row again, that of the inner table.
fn rewrite_inside(node: &mut Node, table: &Name, catalog: &Catalog, made: &mut Rewritten) {
    match &mut node.node {
        Some(NodeEnum::BoolExpr(e)) => {
            for arg in &mut e.args {
                rewrite_inside(arg, table, catalog, made);
            }
        }
        Some(NodeEnum::AExpr(e)) => {
            let select = e.rexpr.as_deref_mut().and_then(subselect_mut);
            if let Some(condition) = select.and_then(|s| s.where_clause.as_deref_mut()) {
                rewrite(condition, table, catalog, made);
            }
        }
        _ => {}
    }
}

fn from_link(link: &SubLink, catalog: &Catalog) -> Option<(Node, Step)> {
    let NodeEnum::SelectStmt(select) = link.subselect.as_ref()?.node.as_ref()? else {
        return None;
    };
    let correlated = !free_in_select(select, catalog)?.is_empty();
    match link.sub_link_type() {
        SubLinkType::ExistsSublink if correlated => match membership(select, catalog) {
            Some(found) => Some((
                equals_any_of_select(found.outer, found.set),
                step::CORRELATED,
            )),
            None => Some((split::tests(select, catalog)?, step::CORRELATED)),
        },
        SubLinkType::AnySublink if link.oper_name.is_empty() || is_equality(&link.oper_name) => {
            let test = link.testexpr.as_deref()?;
            if matches!(test.node, Some(NodeEnum::RowExpr(_))) {
                return None;
            }
            if correlated {
                let found = membership(&with_condition(select, test, catalog)?, catalog)?;
                return Some((equals_any_of_select(found.outer, found.set), step::TURNED));
            }
            let of_the_row = !free_columns(test, catalog)?.is_empty();
            of_the_row.then(|| {
                (
                    equals_any_of_select(test.clone(), (**select).clone()),
                    step::IN_SELECT,
                )
            })
        }
        _ => None,
    }
}

/// `test in (select x from … where c)` as the select of `exists (select … where c and x = test)`.
///
/// Only for a test without columns: it moves into the sub-select, where a column could mean another.
fn with_condition(select: &SelectStmt, test: &Node, catalog: &Catalog) -> Option<SelectStmt> {
    if !free_columns(test, catalog)?.is_empty() {
        return None;
    }
    let [target] = select.target_list.as_slice() else {
        return None;
    };
    let Some(NodeEnum::ResTarget(target)) = &target.node else {
        return None;
    };
    let equal = operator(
        AExprKind::AexprOp,
        "=",
        target.val.as_deref()?.clone(),
        test.clone(),
    );
    let mut select = select.clone();
    let mut all = select
        .where_clause
        .take()
        .map_or_else(Vec::new, |w| conjuncts(&w));
    all.push(equal);
    select.where_clause = all_of(all).map(Box::new);
    Some(select)
}
