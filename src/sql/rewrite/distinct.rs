//! `column is not distinct from x` → `column = x or (column is null and x is null)`: an index serves both.

use crate::model::{Catalog, Name};
use crate::sql::scope::free_columns;
use crate::sql::tree::{IntoNode, all_of, any_of, column_path, operator};
use pg_query::protobuf::{AExpr, AExprKind, BoolExprType, NullTest, NullTestType};
use pg_query::{Node, NodeEnum};

/// The comparison in two arms, or in one for a column that is never null.
pub(super) fn comparison(node: &Node, table: &Name, catalog: &Catalog) -> Option<Node> {
    let e = not_distinct(node)?;
    let (left, right) = (e.lexpr.as_deref()?, e.rexpr.as_deref()?);
    [(left, right), (right, left)]
        .into_iter()
        .find_map(|(column, value)| {
            let Some(NodeEnum::ColumnRef(reference)) = &column.node else {
                return None;
            };
            let known = catalog
                .table(table)?
                .column(column_path(reference).last()?)?;
            // `is null` asks a composite value for its fields.
            let scalar = matches!(known.type_kind, 'b' | 'e');
            if !scalar || !free_columns(value, catalog)?.is_empty() {
                return None;
            }
            let equal = operator(AExprKind::AexprOp, "=", column.clone(), value.clone());
            if known.not_null {
                return Some(equal);
            }
            let both_null = all_of(vec![is_null(column.clone()), is_null(value.clone())])?;
            any_of(vec![equal, both_null])
        })
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
