//! What may end in an error for some rows, as far as it is seen: casts of texts, and arithmetic.
//!
//! A test that was false may be NULL once rewritten, and one that was dear and asked last may be cheap and asked first:
//! then what stands beside it is asked of rows that it was not asked of before.

use super::typed::{self, Levels};
use crate::model::Catalog;
use crate::sql::scope::{expressions, relations};
use crate::sql::tree::{parts, qualified};
use pg_query::protobuf::{AExprKind, SelectStmt};
use pg_query::{Node, NodeEnum};

/// In words, where a rewrite beside it is refused.
pub(super) const BESIDE: &str =
    "a condition beside it may raise an error, and would be asked of other rows than before";
const ARITHMETIC: [&str; 5] = ["/", "%", "+", "-", "*"];

/// Which of the arguments of an AND or OR have one beside them that may raise.
pub(super) fn beside(args: &[Node], levels: &Levels, catalog: &Catalog) -> Vec<bool> {
    let raising: Vec<bool> = args
        .iter()
        .map(|arg| may_raise(arg, levels, catalog))
        .collect();
    (0..args.len())
        .map(|i| raising.iter().enumerate().any(|(j, r)| *r && i != j))
        .collect()
}

fn may_raise(node: &Node, levels: &Levels, catalog: &Catalog) -> bool {
    let here = match &node.node {
        Some(NodeEnum::TypeCast(cast)) => {
            let target = cast.type_name.as_ref().and_then(typed::named);
            let is_text =
                |t: &str| matches!(t, "text" | "character varying" | "character" | "name");
            cast.arg.as_deref().is_some_and(|arg| {
                reads_row(arg)
                    && !target.as_deref().is_some_and(is_text)
                    && typed::of(arg, levels, catalog).is_none_or(|t| is_text(&t) || t == "jsonb")
            })
        }
        Some(NodeEnum::AExpr(e)) => {
            e.kind() == AExprKind::AexprOp
                && ARITHMETIC.contains(&qualified(&e.name).1)
                && reads_row(node)
        }
        Some(NodeEnum::SubLink(link)) => {
            match link.subselect.as_deref().and_then(|s| s.node.as_ref()) {
                Some(NodeEnum::SelectStmt(select)) => in_select(select, levels, catalog),
                _ => true,
            }
        }
        _ => false,
    };
    here || parts(node).is_none_or(|all| all.iter().any(|p| may_raise(p, levels, catalog)))
}

/// Whether some condition or value of a SELECT may raise for a row.
pub(super) fn in_select(select: &SelectStmt, levels: &Levels, catalog: &Catalog) -> bool {
    let (Some(own), Some(all)) = (relations(select, catalog), expressions(select)) else {
        return true;
    };
    let mut inside = levels.clone();
    inside.push(own);
    all.iter().any(|node| may_raise(node, &inside, catalog))
        || [&select.larg, &select.rarg]
            .into_iter()
            .flatten()
            .any(|side| in_select(side, levels, catalog))
}

fn reads_row(node: &Node) -> bool {
    matches!(node.node, Some(NodeEnum::ColumnRef(_)))
        || parts(node).is_none_or(|all| all.iter().any(reads_row))
}
