//! `x = any(column)` → `column @> array[x]`, which a GIN index of the array column serves.

use crate::model::{Catalog, Name};
use crate::sql::scope::free_columns;
use crate::sql::tree::{
    IntoNode, column_path, is_equality, operator, parse_expression, qualified, subselect_mut,
};
use pg_query::protobuf::{AArrayExpr, AExprKind};
use pg_query::{Node, NodeEnum};

/// Element types whose `=` is the one that containment uses.
const ELEMENTS: [&str; 6] = ["uuid", "smallint", "integer", "bigint", "text", "date"];

/// The containment test. A NULL is a member of nothing and contained in nothing.
pub(super) fn containment(node: &Node, table: &Name, catalog: &Catalog) -> Option<Node> {
    let Some(NodeEnum::AExpr(e)) = &node.node else {
        return None;
    };
    if e.kind() != AExprKind::AexprOpAny || !is_equality(&e.name) {
        return None;
    }
    let (value, array) = (e.lexpr.as_deref()?, e.rexpr.as_deref()?);
    let Some(NodeEnum::ColumnRef(reference)) = &array.node else {
        return None;
    };
    let table = catalog.table(table)?;
    let column = table.column(column_path(reference).last()?)?;
    let element = column.type_name.strip_suffix("[]")?;
    let indexed = table.indexes.iter().any(|i| {
        let key = |k: &crate::model::IndexKey| {
            k.column.as_ref() == Some(&column.name) && k.opclass.is_none()
        };
        i.method == "gin" && i.valid && i.live && i.predicate.is_none() && i.keys.iter().any(key)
    });
    // The extension has an operator of the same name, which refuses NULL.
    let plain = !catalog.server.extensions.contains_key("intarray");
    let same = ELEMENTS.contains(&element)
        && free_columns(value, catalog)?.is_empty()
        && has_type(value, element, catalog)?;
    (indexed && plain && same).then(|| {
        let one = AArrayExpr {
            elements: vec![value.clone()],
            ..Default::default()
        };
        operator(
            AExprKind::AexprOp,
            "@>",
            array.clone(),
            NodeEnum::AArrayExpr(one).into_node(),
        )
    })
}

/// Whether the type of `node` is known to be `name`.
fn has_type(node: &Node, name: &str, catalog: &Catalog) -> Option<bool> {
    match node.node.as_ref()? {
        NodeEnum::FuncCall(call) => {
            let (schema, called) = qualified(&call.funcname);
            let mut all = catalog.functions_named(schema, called).peekable();
            all.peek()?;
            Some(all.all(|f| f.returns == name && !f.returns_set))
        }
        NodeEnum::TypeCast(cast) => {
            let wanted = parse_expression(&format!("null::{name}")).ok()?;
            let Some(NodeEnum::TypeCast(wanted)) = wanted.node else {
                return None;
            };
            let (a, b) = (cast.type_name.as_ref()?, wanted.type_name.as_ref()?);
            let is = |t: &pg_query::protobuf::TypeName| {
                let (schema, name) = qualified(&t.names);
                (schema.replace("pg_catalog", ""), name.to_owned())
            };
            Some(is(a) == is(b) && a.array_bounds.is_empty())
        }
        NodeEnum::SubLink(_) => {
            let mut copy = node.clone();
            let select = subselect_mut(&mut copy)?;
            let [target] = select.target_list.as_slice() else {
                return None;
            };
            match target.node.as_ref()? {
                NodeEnum::ResTarget(t) => has_type(t.val.as_deref()?, name, catalog),
                _ => None,
            }
        }
        _ => None,
    }
}
