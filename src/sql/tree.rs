//! Parse trees of expressions: in and out of text, and a walk over their parts.

use pg_query::protobuf::{
    AConst, AExpr, AExprKind, BoolExpr, BoolExprType, ColumnRef, SelectStmt, a_const,
};
use pg_query::{DeparseOptions, Node, NodeEnum};

/// The text is no SQL expression, or holds something dbtune does not understand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// Parses one scalar expression.
pub fn parse_expression(text: &str) -> Result<Node, Unreadable> {
    let mut select = parse_select(&format!("select {text}"))?;
    let only = select.target_list.len() == 1;
    let Some(Node {
        node: Some(NodeEnum::ResTarget(target)),
    }) = select.target_list.pop().filter(|_| only)
    else {
        return Err(Unreadable("not one expression".to_owned()));
    };
    if select.from_clause.is_empty() && select.where_clause.is_none() && target.name.is_empty() {
        target
            .val
            .map(|node| *node)
            .ok_or_else(|| Unreadable("empty expression".to_owned()))
    } else {
        Err(Unreadable("not one expression".to_owned()))
    }
}

/// Parses one `SELECT`.
pub fn parse_select(text: &str) -> Result<SelectStmt, Unreadable> {
    match parse_statement(text)? {
        NodeEnum::SelectStmt(select) => Ok(*select),
        _ => Err(Unreadable("not a SELECT".to_owned())),
    }
}

/// The condition of a check constraint as `pg_get_constraintdef` prints it; `None` for constraints of other kinds.
pub fn check_condition(definition: &str) -> Option<String> {
    let NodeEnum::AlterTableStmt(alter) =
        parse_statement(&format!("alter table t add {definition}")).ok()?
    else {
        return None;
    };
    let NodeEnum::AlterTableCmd(command) = alter.cmds.first()?.node.as_ref()? else {
        return None;
    };
    match command.def.as_ref()?.node.as_ref()? {
        NodeEnum::Constraint(constraint) => print_expression(constraint.raw_expr.as_deref()?).ok(),
        _ => None,
    }
}

/// The plain columns of a partition key as `pg_get_partkeydef` prints it; `None` in place of an expression.
pub fn partition_columns(key: &str) -> Vec<Option<String>> {
    let Ok(NodeEnum::CreateStmt(create)) =
        parse_statement(&format!("create table t () partition by {key}"))
    else {
        return Vec::new();
    };
    let parts = create
        .partspec
        .map(|spec| spec.part_params)
        .unwrap_or_default();
    parts
        .into_iter()
        .map(|part| match part.node {
            Some(NodeEnum::PartitionElem(part)) if !part.name.is_empty() => Some(part.name),
            _ => None,
        })
        .collect()
}

/// Parses one statement of any kind.
pub fn parse_statement(text: &str) -> Result<NodeEnum, Unreadable> {
    let mut parsed = pg_query::parse(text, 0).map_err(|e| Unreadable(e.to_string()))?;
    match (parsed.protobuf.stmts.len(), parsed.protobuf.stmts.pop()) {
        (1, Some(raw)) => raw
            .stmt
            .and_then(|s| s.node)
            .ok_or_else(|| Unreadable("empty statement".to_owned())),
        (n, _) => Err(Unreadable(format!("{n} statements where one was expected"))),
    }
}

/// Prints an expression.
pub fn print_expression(node: &Node) -> Result<String, Unreadable> {
    let target = pg_query::protobuf::ResTarget {
        val: Some(Box::new(node.clone())),
        ..Default::default()
    };
    let select = SelectStmt {
        target_list: vec![NodeEnum::ResTarget(Box::new(target)).into_node()],
        limit_option: pg_query::protobuf::LimitOption::Default.into(),
        op: pg_query::protobuf::SetOperation::SetopNone.into(),
        ..Default::default()
    };
    let text = print_select(&select)?;
    text.strip_prefix("SELECT ")
        .map(str::to_owned)
        .ok_or_else(|| Unreadable(format!("unexpected text `{text}`")))
}

/// Prints a `SELECT`.
pub fn print_select(select: &SelectStmt) -> Result<String, Unreadable> {
    NodeEnum::SelectStmt(Box::new(select.clone()))
        .deparse(DeparseOptions::default())
        .map_err(|e| Unreadable(e.to_string()))
}

/// Wraps a node variant.
pub trait IntoNode {
    fn into_node(self) -> Node;
}

impl IntoNode for NodeEnum {
    fn into_node(self) -> Node {
        Node { node: Some(self) }
    }
}

/// The direct parts of an expression, or `None` for a kind of node that is not understood: whoever
/// asks must then leave the expression alone. A sub-select's own parts are not among them; see [`subselect_mut`].
pub fn parts_mut(node: &mut Node) -> Option<Vec<&mut Node>> {
    fn some<'a>(boxes: impl IntoIterator<Item = &'a mut Option<Box<Node>>>) -> Vec<&'a mut Node> {
        boxes.into_iter().filter_map(Option::as_deref_mut).collect()
    }
    Some(match node.node.as_mut()? {
        NodeEnum::ColumnRef(_)
        | NodeEnum::AConst(_)
        | NodeEnum::ParamRef(_)
        | NodeEnum::SqlvalueFunction(_) => Vec::new(),
        NodeEnum::AExpr(e) => some([&mut e.lexpr, &mut e.rexpr]),
        NodeEnum::BoolExpr(e) => e.args.iter_mut().collect(),
        NodeEnum::List(e) => e.items.iter_mut().collect(),
        NodeEnum::FuncCall(e) => {
            if e.over.is_some() || e.agg_filter.is_some() || !e.agg_order.is_empty() {
                return None;
            }
            e.args.iter_mut().collect()
        }
        NodeEnum::NamedArgExpr(e) => some([&mut e.arg]),
        NodeEnum::TypeCast(e) => some([&mut e.arg]),
        NodeEnum::CollateClause(e) => some([&mut e.arg]),
        NodeEnum::CoalesceExpr(e) => e.args.iter_mut().collect(),
        NodeEnum::MinMaxExpr(e) => e.args.iter_mut().collect(),
        NodeEnum::AArrayExpr(e) => e.elements.iter_mut().collect(),
        NodeEnum::RowExpr(e) => e.args.iter_mut().collect(),
        NodeEnum::NullTest(e) => some([&mut e.arg]),
        NodeEnum::BooleanTest(e) => some([&mut e.arg]),
        NodeEnum::AIndirection(e) => {
            let mut parts = some([&mut e.arg]);
            parts.extend(
                e.indirection
                    .iter_mut()
                    .filter(|n| matches!(n.node, Some(NodeEnum::AIndices(_)))),
            );
            parts
        }
        NodeEnum::AIndices(e) => some([&mut e.lidx, &mut e.uidx]),
        NodeEnum::CaseExpr(e) => {
            let mut parts: Vec<_> = e.args.iter_mut().collect();
            parts.extend(some([&mut e.arg, &mut e.defresult]));
            parts
        }
        NodeEnum::CaseWhen(e) => some([&mut e.expr, &mut e.result]),
        NodeEnum::SubLink(e) => some([&mut e.testexpr]),
        _ => return None,
    })
}

/// The sub-select of a sub-link.
pub fn subselect_mut(node: &mut Node) -> Option<&mut SelectStmt> {
    match node.node.as_mut()? {
        NodeEnum::SubLink(link) => match link.subselect.as_mut()?.node.as_mut()? {
            NodeEnum::SelectStmt(select) => Some(select),
            _ => None,
        },
        _ => None,
    }
}

/// [`parts_mut`] for readers.
pub fn parts(node: &Node) -> Option<Vec<Node>> {
    let mut copy = node.clone();
    parts_mut(&mut copy).map(|parts| parts.into_iter().map(|p| p.clone()).collect())
}

/// The arguments of a chain of `AND`; the node itself where it is none.
pub fn conjuncts(node: &Node) -> Vec<Node> {
    flatten(node, BoolExprType::AndExpr)
}

/// The arguments of a chain of `OR`; the node itself where it is none.
pub fn disjuncts(node: &Node) -> Vec<Node> {
    flatten(node, BoolExprType::OrExpr)
}

fn flatten(node: &Node, operator: BoolExprType) -> Vec<Node> {
    match &node.node {
        Some(NodeEnum::BoolExpr(e)) if e.boolop() == operator => {
            e.args.iter().flat_map(|a| flatten(a, operator)).collect()
        }
        _ => vec![node.clone()],
    }
}

/// `a AND b AND …`; `None` of nothing.
pub fn all_of(nodes: Vec<Node>) -> Option<Node> {
    chain(nodes, BoolExprType::AndExpr)
}

/// `a OR b OR …`; `None` of nothing.
pub fn any_of(nodes: Vec<Node>) -> Option<Node> {
    chain(nodes, BoolExprType::OrExpr)
}

fn chain(mut nodes: Vec<Node>, operator: BoolExprType) -> Option<Node> {
    if nodes.len() < 2 {
        return nodes.pop();
    }
    Some(
        NodeEnum::BoolExpr(Box::new(BoolExpr {
            boolop: operator.into(),
            args: nodes,
            ..Default::default()
        }))
        .into_node(),
    )
}

/// `left = any(array(select))`, the only form of set membership that can be an index condition.
pub fn equals_any_of_select(left: Node, select: SelectStmt) -> Node {
    let array = pg_query::protobuf::SubLink {
        sub_link_type: pg_query::protobuf::SubLinkType::ArraySublink.into(),
        subselect: Some(Box::new(NodeEnum::SelectStmt(Box::new(select)).into_node())),
        ..Default::default()
    };
    operator(
        AExprKind::AexprOpAny,
        "=",
        left,
        NodeEnum::SubLink(Box::new(array)).into_node(),
    )
}

pub fn operator(kind: AExprKind, name: &str, left: Node, right: Node) -> Node {
    NodeEnum::AExpr(Box::new(AExpr {
        kind: kind.into(),
        name: vec![string(name)],
        lexpr: Some(Box::new(left)),
        rexpr: Some(Box::new(right)),
        ..Default::default()
    }))
    .into_node()
}

pub fn string(text: &str) -> Node {
    NodeEnum::String(pg_query::protobuf::String {
        sval: text.to_owned(),
    })
    .into_node()
}

/// The dotted parts of a column reference; `*` ends the list early.
pub fn column_path(column: &ColumnRef) -> Vec<&str> {
    names(&column.fields)
}

/// The strings among nodes: dotted names.
pub fn names(nodes: &[Node]) -> Vec<&str> {
    nodes
        .iter()
        .map_while(|n| match &n.node {
            Some(NodeEnum::String(s)) => Some(s.sval.as_str()),
            _ => None,
        })
        .collect()
}

/// `(schema, name)` of a dotted name, the schema empty where it is not given.
pub fn qualified(nodes: &[Node]) -> (&str, &str) {
    match names(nodes).as_slice() {
        [.., schema, name] => (schema, name),
        [name] => ("", name),
        [] => ("", ""),
    }
}

/// Whether the operator is plain `=` of `pg_catalog`, however it is spelled.
pub fn is_equality(name: &[Node]) -> bool {
    matches!(qualified(name), ("" | "pg_catalog", "="))
}

/// Whether the node is a literal, possibly cast.
pub fn is_literal(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::AConst(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(is_literal),
        _ => false,
    }
}

/// `true`, `false`, or neither.
pub fn boolean_literal(node: &Node) -> Option<bool> {
    match &node.node {
        Some(NodeEnum::AConst(AConst {
            val: Some(a_const::Val::Boolval(b)),
            ..
        })) => Some(b.boolval),
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().and_then(boolean_literal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_survive_a_round_trip() {
        for text in [
            "owner_id = (SELECT auth.uid())",
            "deleted_at IS NULL AND (a OR NOT b)",
            "org_id = ANY (ARRAY(SELECT m.org_id FROM members m WHERE m.user_id = (SELECT auth.uid())))",
            "(auth.jwt() -> 'app' ->> 'org')::int = org_id",
            "auth.uid() IN (SELECT m.user_id FROM m WHERE m.org_id = docs.org_id)",
            "CASE WHEN is_public THEN true ELSE owner_id = auth.uid() END",
        ] {
            let node = parse_expression(text).unwrap();
            let printed = print_expression(&node).unwrap();
            let again = print_expression(&parse_expression(&printed).unwrap()).unwrap();
            assert_eq!(printed, again);
            assert_eq!(
                printed.to_lowercase().replace(['(', ')', ' '], ""),
                text.to_lowercase().replace(['(', ')', ' '], "")
            );
        }
    }

    #[test]
    fn more_than_an_expression_is_refused() {
        for text in ["1, 2", "1 from t", "1; drop table t", "1 as x", ""] {
            assert!(parse_expression(text).is_err(), "{text}");
        }
    }
}
