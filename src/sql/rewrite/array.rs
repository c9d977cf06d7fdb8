//! `x = any(column)` → `column @> array[x]`, which a GIN index of the array column serves.

use super::exists::holds_collate;
use super::refusal::Attempt;
use super::typed::{self, Levels};
use crate::model::{Catalog, Name};
use crate::sql::scope::free_columns;
use crate::sql::tree::{IntoNode, column_path, is_equality, operator};
use pg_query::protobuf::{AArrayExpr, AExprKind};
use pg_query::{Node, NodeEnum};

/// Element types whose `=` is the one that containment uses.
const ELEMENTS: [&str; 6] = ["uuid", "smallint", "integer", "bigint", "text", "date"];

/// The containment test. A NULL is a member of nothing and contained in nothing.
pub(super) fn containment(
    node: &Node,
    table: &Name,
    levels: &Levels,
    catalog: &Catalog,
) -> Attempt<Node> {
    let Some(NodeEnum::AExpr(e)) = &node.node else {
        return Ok(None);
    };
    if e.kind() != AExprKind::AexprOpAny || !is_equality(&e.name) {
        return Ok(None);
    }
    let (Some(value), Some(array)) = (e.lexpr.as_deref(), e.rexpr.as_deref()) else {
        return Ok(None);
    };
    let Some(NodeEnum::ColumnRef(reference)) = &array.node else {
        return Ok(None);
    };
    let Some(table) = catalog.table(table) else {
        return Ok(None);
    };
    let name = column_path(reference).last().copied().unwrap_or_default();
    let element = table
        .column(name)
        .and_then(|c| Some((c, c.type_name.strip_suffix("[]")?)));
    let Some((column, element)) = element else {
        return Ok(None);
    };
    let indexed = table.indexes.iter().any(|i| {
        let key = |k: &crate::model::IndexKey| {
            k.column.as_ref() == Some(&column.name) && k.opclass.is_none()
        };
        i.method == "gin" && i.valid && i.live && i.predicate.is_none() && i.keys.iter().any(key)
    });
    let closed = free_columns(value, catalog).is_some_and(|free| free.is_empty());
    if !indexed || !closed {
        return Ok(None);
    }
    // The extension has an operator of the same name, which refuses NULL.
    if catalog.server.extensions.contains_key("intarray") {
        return Err("the operator @> may be that of intarray".to_owned());
    }
    let same = ELEMENTS.contains(&element)
        && typed::is_plain(element, catalog)
        && typed::of(value, levels, catalog).as_deref() == Some(element)
        && !holds_collate(value);
    if !same {
        return Err("value and elements are not certain to be of one type".to_owned());
    }
    let one = AArrayExpr {
        elements: vec![value.clone()],
        ..Default::default()
    };
    Ok(Some(operator(
        AExprKind::AexprOp,
        "@>",
        array.clone(),
        NodeEnum::AArrayExpr(one).into_node(),
    )))
}
