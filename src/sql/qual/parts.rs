//! The direct parts of an expression node.

use super::NotUnderstood;
use pg_query::{Node, NodeEnum};

/// Sub-expressions in order; sub-selects are not among them. An unknown kind of node is an error, not an omission.
pub(in crate::sql) fn parts(node: &NodeEnum) -> Result<Vec<&Node>, NotUnderstood> {
    fn some<'a>(boxes: &[&'a Option<Box<Node>>]) -> Vec<&'a Node> {
        boxes.iter().filter_map(|b| b.as_deref()).collect()
    }
    Ok(match node {
        NodeEnum::ColumnRef(_)
        | NodeEnum::AConst(_)
        | NodeEnum::ParamRef(_)
        | NodeEnum::SqlvalueFunction(_)
        | NodeEnum::AStar(_)
        | NodeEnum::String(_) => Vec::new(),
        NodeEnum::AExpr(e) => some(&[&e.lexpr, &e.rexpr]),
        NodeEnum::BoolExpr(e) => e.args.iter().collect(),
        NodeEnum::List(e) => e.items.iter().collect(),
        NodeEnum::FuncCall(e) => {
            let mut parts: Vec<_> = e.args.iter().chain(&e.agg_order).collect();
            parts.extend(some(&[&e.agg_filter]));
            if let Some(over) = &e.over {
                parts.extend(over.partition_clause.iter().chain(&over.order_clause));
            }
            parts
        }
        NodeEnum::NamedArgExpr(e) => some(&[&e.arg]),
        NodeEnum::TypeCast(e) => some(&[&e.arg]),
        NodeEnum::CollateClause(e) => some(&[&e.arg]),
        NodeEnum::CoalesceExpr(e) => e.args.iter().collect(),
        NodeEnum::MinMaxExpr(e) => e.args.iter().collect(),
        NodeEnum::AArrayExpr(e) => e.elements.iter().collect(),
        NodeEnum::RowExpr(e) => e.args.iter().collect(),
        NodeEnum::NullTest(e) => some(&[&e.arg]),
        NodeEnum::BooleanTest(e) => some(&[&e.arg]),
        NodeEnum::AIndirection(e) => some(&[&e.arg]).into_iter().chain(&e.indirection).collect(),
        NodeEnum::AIndices(e) => some(&[&e.lidx, &e.uidx]),
        NodeEnum::CaseExpr(e) => some(&[&e.arg])
            .into_iter()
            .chain(&e.args)
            .chain(e.defresult.as_deref())
            .collect(),
        NodeEnum::CaseWhen(e) => some(&[&e.expr, &e.result]),
        NodeEnum::SubLink(e) => some(&[&e.testexpr]),
        NodeEnum::SortBy(e) => some(&[&e.node]),
        NodeEnum::ResTarget(e) => some(&[&e.val]),
        NodeEnum::XmlExpr(e) => e.args.iter().chain(&e.named_args).collect(),
        NodeEnum::JsonIsPredicate(e) => some(&[&e.expr]),
        NodeEnum::GroupingSet(e) => e.content.iter().collect(),
        other => {
            let debug = format!("{other:?}");
            let kind = debug.split('(').next().unwrap_or_default();
            return Err(NotUnderstood(format!("{kind} is not understood")));
        }
    })
}

/// The strings among nodes: a dotted name.
pub(super) fn names(nodes: &[Node]) -> Vec<&str> {
    nodes
        .iter()
        .map_while(|n| match &n.node {
            Some(NodeEnum::String(s)) => Some(s.sval.as_str()),
            _ => None,
        })
        .collect()
}
