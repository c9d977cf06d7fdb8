//! Whether an expression that is made anew from its text is the one that it was.
//!
//! `nullif`, `case x when` and `is distinct from` are printed without the operator that they stand for: made anew, it
//! is looked for under the search path of that moment. And the printer of parse trees could drop what it does not know.

use super::typed::{self, Levels};
use crate::model::{Catalog, Name};
use crate::sql::scope::{expressions, relations};
use crate::sql::tree::{parse_expression, parse_select, parts, print_expression, print_select};
use pg_query::protobuf::{AExprKind, SelectStmt};
use pg_query::{Node, NodeEnum};

/// Why a policy's expression must not be made anew from its text; `None` where it may.
pub(super) fn changes(node: &Node, table: &Name, catalog: &Catalog) -> Option<String> {
    if !is_printed_whole(node) {
        return Some("its text cannot be written out without a loss".to_owned());
    }
    hidden_operator(node, &typed::of_table(table), catalog)
}

/// Whether parsing what is printed gives the same tree, but for the places in the text.
pub(super) fn is_printed_whole(node: &Node) -> bool {
    print_expression(node)
        .and_then(|text| parse_expression(&text))
        .is_ok_and(|again| tree(&again) == tree(node))
}

/// The same for a SELECT.
pub(super) fn is_select_printed_whole(select: &SelectStmt) -> bool {
    let node = |select: SelectStmt| Node {
        node: Some(NodeEnum::SelectStmt(Box::new(select))),
    };
    print_select(select)
        .and_then(|text| parse_select(&text))
        .is_ok_and(|again| tree(&node(again)) == tree(&node(select.clone())))
}

fn tree(node: &Node) -> Option<serde_json::Value> {
    let mut value = serde_json::to_value(node).ok()?;
    without_places(&mut value);
    Some(value)
}

fn without_places(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            for place in [
                "location",
                "rexpr_list_start",
                "rexpr_list_end",
                "list_start",
                "list_end",
            ] {
                fields.remove(place);
            }
            fields.values_mut().for_each(without_places);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(without_places),
        _ => {}
    }
}

fn hidden_operator(node: &Node, levels: &Levels, catalog: &Catalog) -> Option<String> {
    if catalog
        .equality_elsewhere
        .as_ref()
        .is_some_and(std::collections::BTreeSet::is_empty)
    {
        return None;
    }
    let compared = match node.node.as_ref() {
        Some(NodeEnum::AExpr(e)) => match e.kind() {
            AExprKind::AexprNullif | AExprKind::AexprDistinct | AExprKind::AexprNotDistinct => {
                vec![e.lexpr.as_deref(), e.rexpr.as_deref()]
            }
            _ => Vec::new(),
        },
        Some(NodeEnum::CaseExpr(case)) if case.arg.is_some() => {
            let mut all = vec![case.arg.as_deref()];
            all.extend(case.args.iter().filter_map(|when| match &when.node {
                Some(NodeEnum::CaseWhen(when)) => Some(when.expr.as_deref()),
                _ => None,
            }));
            all
        }
        _ => Vec::new(),
    };
    let safe = compared
        .into_iter()
        .flatten()
        .all(|side| typed::of(side, levels, catalog).is_some_and(|t| typed::is_plain(&t, catalog)));
    if !safe {
        return Some(
            "nullif, case … when or is distinct from could come back with another operator"
                .to_owned(),
        );
    }
    if let Some(NodeEnum::SubLink(link)) = &node.node
        && let Some(NodeEnum::SelectStmt(select)) =
            link.subselect.as_deref().and_then(|s| s.node.as_ref())
        && let Some(found) = in_select(select, levels, catalog)
    {
        return Some(found);
    }
    let Some(inside) = parts(node) else {
        return Some("it holds a kind of expression that is not known".to_owned());
    };
    inside
        .iter()
        .find_map(|part| hidden_operator(part, levels, catalog))
}

fn in_select(select: &SelectStmt, levels: &Levels, catalog: &Catalog) -> Option<String> {
    let (Some(own), Some(all)) = (relations(select, catalog), expressions(select)) else {
        return Some("a sub-select has a clause that is not known".to_owned());
    };
    let mut inside = levels.clone();
    inside.push(own);
    all.iter()
        .find_map(|node| hidden_operator(node, &inside, catalog))
        .or_else(|| {
            let sides = [&select.larg, &select.rarg].into_iter().flatten();
            sides
                .into_iter()
                .find_map(|side| in_select(side, levels, catalog))
        })
}
