//! `column is not distinct from x` → `column = x or (column is null and x is null)`: an index serves both.

use super::exists::holds_collate;
use super::refusal::Attempt;
use super::typed::{self, Levels};
use crate::model::{Catalog, Name};
use crate::sql::scope::free_columns;
use crate::sql::tree::{IntoNode, all_of, any_of, column_path, operator};
use pg_query::protobuf::{AExpr, AExprKind, BoolExprType, NullTest, NullTestType};
use pg_query::{Node, NodeEnum};

/// The comparison in two arms, or in one for a column that is never null.
pub(super) fn comparison(
    node: &Node,
    table: &Name,
    levels: &Levels,
    catalog: &Catalog,
) -> Attempt<Node> {
    let Some(e) = not_distinct(node) else {
        return Ok(None);
    };
    let (Some(left), Some(right)) = (e.lexpr.as_deref(), e.rexpr.as_deref()) else {
        return Ok(None);
    };
    for (column, value) in [(left, right), (right, left)] {
        let Some(NodeEnum::ColumnRef(reference)) = &column.node else {
            continue;
        };
        let name = column_path(reference).last().copied().unwrap_or_default();
        let known = catalog.table(table).and_then(|t| t.column(name));
        let closed = free_columns(value, catalog).is_some_and(|free| free.is_empty());
        let (Some(known), true) = (known, closed) else {
            continue;
        };
        // `is null` asks a composite value for its fields.
        if !matches!(known.type_kind, 'b' | 'e') {
            return Err("the column is of a composite type or a domain".to_owned());
        }
        let types = (
            typed::of(column, levels, catalog),
            typed::of(value, levels, catalog),
        );
        match types {
            (Some(a), Some(b)) if typed::are_comparable(&a, &b, catalog) => {}
            _ => return Err("which operator it means is not certain".to_owned()),
        }
        if holds_collate(value) {
            return Err("it has COLLATE".to_owned());
        }
        let equal = operator(AExprKind::AexprOp, "=", column.clone(), value.clone());
        if known.not_null {
            return Ok(Some(equal));
        }
        let both_null = all_of(vec![is_null(column.clone()), is_null(value.clone())]);
        return Ok(both_null.and_then(|both| any_of(vec![equal, both])));
    }
    Ok(None)
}

/// The server prints it as `not (a is distinct from b)`.
fn not_distinct(node: &Node) -> Option<&AExpr> {
    match node.node.as_ref()? {
        NodeEnum::AExpr(e) if e.kind() == AExprKind::AexprNotDistinct => Some(e),
        NodeEnum::BoolExpr(b) if b.boolop() == BoolExprType::NotExpr => {
            match b.args.first()?.node.as_ref()? {
                NodeEnum::AExpr(e) if e.kind() == AExprKind::AexprDistinct => Some(e),
                _ => None,
            }
        }
        _ => None,
    }
}

fn is_null(node: Node) -> Node {
    NodeEnum::NullTest(Box::new(NullTest {
        arg: Some(Box::new(node)),
        nulltesttype: NullTestType::IsNull.into(),
        ..Default::default()
    }))
    .into_node()
}
