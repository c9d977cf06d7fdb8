//! Conditions with the operator they run, whatever an index makes of it.

use super::Access;
use super::scope::Scope;
use crate::sql::scope::calls;
use crate::sql::tree::{
    IntoNode, column_path, parse_expression, parts_mut, print_expression, qualified, string,
};
use pg_query::protobuf::{AExpr, AExprKind};
use pg_query::{Node, NodeEnum};

/// `side operator value`, where the side is of one table's row and the value is known before the scan.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tested {
    /// The side where it is a plain column.
    pub column: Option<String>,
    /// The side's [`shape`].
    pub shape: String,
    /// As in `pg_operator`, with the row on the left: `~~` for LIKE.
    pub operator: String,
    /// Functions that the side calls: `(schema, name)` as written.
    pub calls: Vec<(String, String)>,
}

/// An expression without what does not matter for finding an index for it: qualifiers, casts, constants.
pub fn shape(expression: &str) -> Option<String> {
    shape_of(&parse_expression(expression).ok()?)
}

fn shape_of(node: &Node) -> Option<String> {
    let mut copy = node.clone();
    simplify(&mut copy)?;
    print_expression(&copy).ok()
}

fn simplify(node: &mut Node) -> Option<()> {
    while let Some(NodeEnum::TypeCast(cast)) = &mut node.node {
        *node = *cast.arg.take()?;
    }
    match &mut node.node {
        Some(NodeEnum::ColumnRef(column)) => {
            let last = string(column_path(column).last()?);
            column.fields = vec![last];
        }
        Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) => {
            node.node = Some(NodeEnum::ColumnRef(pg_query::protobuf::ColumnRef {
                fields: vec![string("$")],
                ..Default::default()
            }));
        }
        Some(NodeEnum::FuncCall(call)) => {
            let last = string(qualified(&call.funcname).1);
            call.funcname = vec![last];
        }
        _ => {}
    }
    parts_mut(node)?.into_iter().try_for_each(simplify)
}

impl Scope<'_> {
    pub(super) fn test(&self, condition: &Node, own: &mut [Access]) {
        let Some(NodeEnum::AExpr(e)) = &condition.node else {
            return;
        };
        let Some((operator, commuted)) = operators(e) else {
            return;
        };
        let (Some(left), Some(right)) = (e.lexpr.as_deref(), e.rexpr.as_deref()) else {
            return;
        };
        let sides = [(left, right, Some(operator)), (right, left, commuted)];
        for (side, value, operator) in sides {
            let found = self.owner(side).zip(operator);
            if let Some((at, operator)) = found.filter(|_| self.depends(value) == Some(false))
                && let Some(access) = own.get_mut(at)
            {
                access.tests.extend(self.tested(side, operator));
            }
        }
    }

    fn tested(&self, side: &Node, operator: String) -> Option<Tested> {
        let called = calls(side)?.into_iter().map(|call| {
            let (schema, name) = qualified(&call.funcname);
            (schema.to_owned(), name.to_owned())
        });
        Some(Tested {
            column: self.column(side).map(|(_, column)| column),
            shape: shape_of(side)?,
            operator,
            calls: called.collect(),
        })
    }

    /// The one relation whose columns the expression uses.
    fn owner(&self, node: &Node) -> Option<usize> {
        let free = crate::sql::scope::free_columns(node, self.catalog)?;
        let mut found = None;
        for path in free {
            let reference = pg_query::protobuf::ColumnRef {
                fields: path.iter().map(|p| string(p)).collect(),
                ..Default::default()
            };
            let (at, _) = self.column(&NodeEnum::ColumnRef(reference).into_node())?;
            if found.is_some_and(|known| known != at) {
                return None;
            }
            found = Some(at);
        }
        found
    }
}

/// The operator, and the one that says the same with its sides exchanged.
fn operators(e: &AExpr) -> Option<(String, Option<String>)> {
    let (_, written) = qualified(&e.name);
    let kind = e.kind();
    let operator = match kind {
        AExprKind::AexprOp
        | AExprKind::AexprOpAny
        | AExprKind::AexprLike
        | AExprKind::AexprIlike
        | AExprKind::AexprSimilar => written,
        AExprKind::AexprIn if written == "=" => written,
        AExprKind::AexprBetween => ">=",
        _ => return None,
    };
    let commuted = match operator {
        _ if kind != AExprKind::AexprOp => None,
        "=" | "&&" | "@@" => Some(operator),
        "<" => Some(">"),
        ">" => Some("<"),
        "<=" => Some(">="),
        ">=" => Some("<="),
        "@>" => Some("<@"),
        "<@" => Some("@>"),
        _ => None,
    };
    Some((operator.to_owned(), commuted.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Catalog, Column, Name, Table};

    fn tests(condition: &str) -> Vec<Tested> {
        let column = |name: &str| Column {
            name: name.to_owned(),
            ..Column::default()
        };
        let mut catalog = Catalog::default();
        catalog.tables.insert(
            Name::new("public", "t"),
            Table {
                columns: ["name", "tags", "body"].map(column).into(),
                ..Table::default()
            },
        );
        let sql = format!("select from t where {condition}");
        let mut found = super::super::of_statement(&sql, &catalog).unwrap();
        found.pop().unwrap().tests
    }

    #[test]
    fn operators_are_named_as_the_server_names_them() {
        let operator = |condition: &str| {
            tests(condition)
                .into_iter()
                .map(|t| (t.shape, t.operator))
                .collect::<Vec<_>>()
        };
        let one = |shape: &str, op: &str| vec![(shape.to_owned(), op.to_owned())];
        assert_eq!(operator("name like $1"), one("name", "~~"));
        assert_eq!(operator("t.name ilike '%x%'"), one("name", "~~*"));
        assert_eq!(operator("$1 <@ tags"), one("tags", "@>"));
        assert_eq!(operator("name in ($1, $2)"), one("name", "="));
        assert_eq!(operator("name = any ($1)"), one("name", "="));
        assert_eq!(operator("name = body"), []);
        assert_eq!(operator("name not like $1"), one("name", "!~~"));
        assert_eq!(
            operator("to_tsvector($2, t.body) @@ to_tsquery($1)")
                .first()
                .map(|t| t.0.clone()),
            shape("to_tsvector('english'::regconfig, (body)::text)")
        );
    }
}
