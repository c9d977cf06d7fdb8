//! Membership tests in their one form that can be an index condition: `column = any(array(select …))`.
//!
//! A sub-select of a policy is never pulled up into a join, but an uncorrelated array sub-select is an
//! init-plan, whose value is known before the scan starts.

use super::exists::{holds_collate, membership};
use super::known;
use super::refusal::Attempt;
use super::step::{self, Step};
use super::typed::{self, Levels};
use super::{Rewritten, function, raising, split};
use crate::model::{Catalog, Collation, Volatility};
use crate::sql::scope::{free_columns, free_in_select, relations, worst_volatility};
use crate::sql::tree::{
    all_of, conjuncts, equals_any_of_select, is_equality, operator, parse_expression, subselect_mut,
};
use pg_query::protobuf::{AExprKind, BoolExprType, SelectStmt, SubLink, SubLinkType};
use pg_query::{Node, NodeEnum};

/// Rewrites every membership test that stands where NULL and false mean the same: under AND and OR only.
///
/// `guards`: something beside it may raise an error for rows that it keeps away.
pub(super) fn rewrite(
    node: &mut Node,
    guards: bool,
    levels: &Levels,
    catalog: &Catalog,
    made: &mut Rewritten,
) {
    if let Some(NodeEnum::BoolExpr(e)) = &mut node.node {
        if e.boolop() == BoolExprType::NotExpr {
            return;
        }
        let beside = raising::beside(&e.args, levels, catalog);
        for (arg, raises) in e.args.iter_mut().zip(beside) {
            rewrite(arg, guards || raises, levels, catalog, made);
        }
        return;
    }
    let companions = made.companions.len();
    match attempt(node, levels, catalog, made) {
        Ok(Some(_)) if guards => {
            made.companions.truncate(companions);
            made.refuse(node, raising::BESIDE);
        }
        Ok(Some((replacement, step))) => {
            *node = replacement;
            if !made.steps.contains(&step) {
                made.steps.push(step);
            }
            rewrite_inside(node, levels, catalog, made);
        }
        Ok(None) => {}
        Err(reason) => made.refuse(node, reason),
    }
}

fn attempt(
    node: &Node,
    levels: &Levels,
    catalog: &Catalog,
    made: &mut Rewritten,
) -> Attempt<(Node, Step)> {
    let volatile = worst_volatility(node, catalog) == Volatility::Volatile;
    match &node.node {
        Some(NodeEnum::SubLink(link)) => {
            let found = from_link(link, levels, catalog);
            if volatile && !matches!(found, Ok(None)) {
                return Err("it calls something VOLATILE".to_owned());
            }
            found
        }
        Some(NodeEnum::FuncCall(call)) => {
            if volatile {
                return function::why_volatile(call, catalog);
            }
            let found = function::from_call(call, levels, catalog, made)?;
            Ok(found.map(|node| (node, step::FUNCTION)))
        }
        _ => Ok(None),
    }
}

/// The conditions of a set are conditions of a row again, that of the inner table.
fn rewrite_inside(node: &mut Node, levels: &Levels, catalog: &Catalog, made: &mut Rewritten) {
    match &mut node.node {
        Some(NodeEnum::BoolExpr(e)) => {
            for arg in &mut e.args {
                rewrite_inside(arg, levels, catalog, made);
            }
        }
        Some(NodeEnum::AExpr(e)) => {
            let Some(select) = e.rexpr.as_deref_mut().and_then(subselect_mut) else {
                return;
            };
            let mut inside = levels.clone();
            inside.push(relations(select, catalog).unwrap_or_default());
            if let Some(condition) = select.where_clause.as_deref_mut() {
                rewrite(condition, false, &inside, catalog, made);
            }
        }
        _ => {}
    }
}

fn from_link(link: &SubLink, levels: &Levels, catalog: &Catalog) -> Attempt<(Node, Step)> {
    let inside = link.subselect.as_deref().and_then(|s| s.node.as_ref());
    let Some(NodeEnum::SelectStmt(select)) = inside else {
        return Ok(None);
    };
    let link_node = Node {
        node: Some(NodeEnum::SubLink(Box::new(link.clone()))),
    };
    match link.sub_link_type() {
        SubLinkType::ExistsSublink => {
            known::expression(&link_node)?;
            let free = free_in_select(select, catalog).ok_or("its sub-select is not known")?;
            if free.is_empty() {
                return Ok(None);
            }
            if let Some(found) = membership(select, levels, catalog)? {
                let made = equals_any_of_select(found.outer, found.set);
                return Ok(Some((made, step::CORRELATED)));
            }
            match split::tests(select, levels, catalog)? {
                Some(made) => Ok(Some((made, step::CORRELATED))),
                None => Err("more than one of its conditions speaks of the row".to_owned()),
            }
        }
        SubLinkType::AnySublink if link.oper_name.is_empty() || is_equality(&link.oper_name) => {
            known::expression(&link_node)?;
            let test = link.testexpr.as_deref().ok_or("its test is missing")?;
            if matches!(test.node, Some(NodeEnum::RowExpr(_))) {
                return Err("it compares several columns at once".to_owned());
            }
            let free = free_in_select(select, catalog).ok_or("its sub-select is not known")?;
            if !free.is_empty() {
                let turned = with_condition(select, test, catalog)?;
                let found = membership(&turned, levels, catalog)?
                    .ok_or("more than one of its conditions speaks of the row")?;
                let made = equals_any_of_select(found.outer, found.set);
                return Ok(Some((made, step::TURNED)));
            }
            let of_the_row = free_columns(test, catalog).ok_or("its test is not known")?;
            if of_the_row.is_empty() {
                return Ok(None);
            }
            // The operator is looked for with the same types as before; but an array of arrays would be flat.
            let key = typed::of_select(select, levels, catalog);
            let key = key.ok_or("the type of its set is not known")?;
            let is_one = typed::is_plain(&key, catalog);
            let tested = typed::of(test, levels, catalog);
            if !is_one || !tested.is_some_and(|t| typed::is_plain(&t, catalog)) {
                return Err("the types that it compares are not known well enough".to_owned());
            }
            let mut set = (**select).clone();
            if key == "name" {
                as_text(&mut set, test, levels, catalog);
            }
            let made = equals_any_of_select(test.clone(), set);
            Ok(Some((made, step::IN_SELECT)))
        }
        _ => Ok(None),
    }
}

/// Names as texts of the default collation, where the test is such a text: equal are the same, byte by byte, and an index
/// of the column serves only its own collation.
fn as_text(set: &mut SelectStmt, test: &Node, levels: &Levels, catalog: &Catalog) {
    let mut column = test;
    while let Some(NodeEnum::TypeCast(cast)) = &column.node {
        let Some(arg) = cast.arg.as_deref() else {
            return;
        };
        column = arg;
    }
    let Some(NodeEnum::ColumnRef(reference)) = &column.node else {
        return;
    };
    let of = typed::column(reference, levels, catalog);
    let default = of.is_some_and(|c| c.collation == Some(Collation::Default));
    let is_text = typed::of(test, levels, catalog).as_deref() == Some("text");
    let alone = known::plain(set).is_ok() && set.distinct_clause.is_empty();
    let ([target], true) = (set.target_list.as_mut_slice(), default && is_text && alone) else {
        return;
    };
    let Some(NodeEnum::ResTarget(target)) = &mut target.node else {
        return;
    };
    let pattern = parse_expression("null::text collate \"default\"");
    let (Some(value), Ok(mut wrapped)) = (target.val.take(), pattern) else {
        return;
    };
    if let Some(NodeEnum::CollateClause(clause)) = &mut wrapped.node
        && let Some(NodeEnum::TypeCast(cast)) =
            clause.arg.as_deref_mut().and_then(|a| a.node.as_mut())
    {
        cast.arg = Some(value);
    }
    target.val = Some(Box::new(wrapped));
}

/// `test in (select x from … where c)` as the select of `exists (select … where c and x = test)`.
///
/// Only for a test without columns: it moves into the sub-select, where a column could mean another.
fn with_condition(
    select: &SelectStmt,
    test: &Node,
    catalog: &Catalog,
) -> Result<SelectStmt, String> {
    let closed = free_columns(test, catalog).is_some_and(|free| free.is_empty());
    if !closed || holds_collate(test) {
        return Err("its test has columns of its own, or COLLATE".to_owned());
    }
    let targets = known::plain(select)?.targets;
    let value = match targets {
        [target] => match &target.node {
            Some(NodeEnum::ResTarget(t)) => t.val.as_deref(),
            _ => None,
        },
        _ => None,
    };
    let value = value.ok_or("its sub-select has more than one column")?;
    let inner = vec![relations(select, catalog).ok_or("its sub-select is not known")?];
    let types = (
        typed::of(value, &inner, catalog),
        typed::of(test, &Vec::new(), catalog),
    );
    match types {
        (Some(a), Some(b)) if typed::are_comparable(&a, &b, catalog) && !holds_collate(value) => {}
        _ => return Err("the types that it compares are not known well enough".to_owned()),
    }
    let equal = operator(AExprKind::AexprOp, "=", value.clone(), test.clone());
    let mut select = select.clone();
    let mut all = select
        .where_clause
        .take()
        .map_or_else(Vec::new, |w| conjuncts(&w));
    all.push(equal);
    select.where_clause = all_of(all).map(Box::new);
    Ok(select)
}
