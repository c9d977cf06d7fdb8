//! Whether the server puts a function's text in place of its call, and what keeps it from doing so.

use super::scope::worst_volatility;
use super::tree::{column_path, names, parse_expression, parse_statement, parts};
use crate::model::{Catalog, Function, Volatility};
use pg_query::protobuf::{AExprKind, BoolExprType, SelectStmt};
use pg_query::{Node, NodeEnum};

/// What keeps a scalar function from being folded into the query that calls it; empty where it is folded.
/// The first is the worst: what comes after it may go away with it.
pub fn blockers(function: &Function, catalog: &Catalog) -> Vec<&'static str> {
    let mut found = Vec::new();
    if function.language != "sql" {
        found.push("it is not written in SQL");
    }
    if function.security_definer {
        found.push("SECURITY DEFINER");
    }
    if !function.config.is_empty() {
        found.push("a SET clause");
    }
    if function.returns_set {
        found.push("it returns a set");
    }
    if function.language != "sql" {
        return found;
    }
    let Some(body) = expression(&function.body) else {
        found.push("its body is more than one expression");
        return found;
    };
    let inside = worst_volatility(&body, catalog);
    match function.volatility {
        Volatility::Immutable if inside > Volatility::Immutable => {
            found.push("it is declared IMMUTABLE, which its body is not");
        }
        Volatility::Stable if inside > Volatility::Stable => {
            found.push("it is declared STABLE and calls what is volatile");
        }
        _ => {}
    }
    if function.strict && !is_strict(&body, function, catalog) {
        found.push("STRICT, with a body that could answer for NULL");
    }
    found
}

/// How volatile a function is once its text stands in place of the call; `None` where it is not folded.
pub fn folded_volatility(function: &Function, catalog: &Catalog) -> Option<Volatility> {
    if function.language != "sql" || !blockers(function, catalog).is_empty() {
        return None;
    }
    Some(worst_volatility(&expression(&function.body)?, catalog))
}

/// Whether an expression, or the body of a function, turns text into JSON outside of sub-selects: each evaluation
/// parses it again.
pub fn parses_json(text: &str) -> bool {
    let node = parse_expression(text).ok().or_else(|| expression(text));
    node.is_some_and(|node| {
        nodes(&node).iter().any(|part| match &part.node {
            Some(NodeEnum::TypeCast(cast)) => {
                let target = cast.type_name.as_ref().map(|t| names(&t.names));
                target.is_some_and(|t| matches!(t.last(), Some(&"json" | &"jsonb")))
            }
            _ => false,
        })
    })
}

/// The one expression that a body consists of, without sub-selects: the server folds nothing else.
fn expression(body: &str) -> Option<Node> {
    let value = match statement(body)? {
        NodeEnum::ReturnStmt(returned) => *returned.returnval?,
        NodeEnum::SelectStmt(select) => only_target(*select)?,
        _ => return None,
    };
    let has_sub_select = nodes(&value)
        .iter()
        .any(|n| matches!(n.node, Some(NodeEnum::SubLink(_))));
    (!has_sub_select).then_some(value)
}

/// The only statement of a body, one in `BEGIN ATOMIC … END` too.
fn statement(body: &str) -> Option<NodeEnum> {
    if let Ok(statement) = parse_statement(body) {
        return Some(statement);
    }
    let wrapped = format!("create function f() returns int {body}");
    let NodeEnum::CreateFunctionStmt(create) = parse_statement(&wrapped).ok()? else {
        return None;
    };
    let mut node = create.sql_body?.node?;
    // A list of statements inside a list.
    while let NodeEnum::List(mut list) = node {
        let only = list.items.pop().filter(|_| list.items.is_empty())?;
        node = only.node?;
    }
    Some(node)
}

fn only_target(mut select: SelectStmt) -> Option<Node> {
    let lone = select.from_clause.is_empty()
        && select.where_clause.is_none()
        && select.group_clause.is_empty()
        && select.having_clause.is_none()
        && select.window_clause.is_empty()
        && select.values_lists.is_empty()
        && select.sort_clause.is_empty()
        && select.distinct_clause.is_empty()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
        && select.with_clause.is_none()
        && select.larg.is_none();
    let target = select.target_list.pop()?;
    match target.node? {
        NodeEnum::ResTarget(target) if lone && select.target_list.is_empty() => {
            target.val.map(|value| *value)
        }
        _ => None,
    }
}

/// The expression and everything in it, as far as it is understood; sub-selects are not gone into.
fn nodes(node: &Node) -> Vec<Node> {
    let mut all = vec![node.clone()];
    for part in parts(node).unwrap_or_default() {
        all.extend(nodes(&part));
    }
    all
}

/// Whether the expression is NULL as soon as any parameter is, as far as the server proves it.
fn is_strict(body: &Node, function: &Function, catalog: &Catalog) -> bool {
    let mut used = vec![false; function.argument_types.len()];
    for node in nodes(body).into_iter().filter_map(|n| n.node) {
        let strict = match &node {
            NodeEnum::BoolExpr(e) => e.boolop() == BoolExprType::NotExpr,
            NodeEnum::AExpr(e) => !matches!(
                e.kind(),
                AExprKind::AexprDistinct | AExprKind::AexprNotDistinct | AExprKind::AexprNullif
            ),
            NodeEnum::CaseExpr(_)
            | NodeEnum::CoalesceExpr(_)
            | NodeEnum::MinMaxExpr(_)
            | NodeEnum::NullTest(_)
            | NodeEnum::BooleanTest(_)
            | NodeEnum::AArrayExpr(_)
            | NodeEnum::RowExpr(_)
            | NodeEnum::XmlExpr(_) => false,
            NodeEnum::FuncCall(call) => {
                let (schema, name) = super::tree::qualified(&call.funcname);
                catalog.functions_named(schema, name).all(|f| f.strict)
            }
            NodeEnum::ParamRef(p) => {
                let place = usize::try_from(p.number)
                    .ok()
                    .and_then(|n| n.checked_sub(1));
                mark(&mut used, place)
            }
            NodeEnum::ColumnRef(column) => {
                let name = column_path(column).last().copied().unwrap_or_default();
                let place = function.argument_names.iter().position(|n| n == name);
                mark(&mut used, place)
            }
            _ => true,
        };
        if !strict {
            return false;
        }
    }
    used.into_iter().all(|used| used)
}

fn mark(used: &mut [bool], place: Option<usize>) -> bool {
    if let Some(used) = place.and_then(|place| used.get_mut(place)) {
        *used = true;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PostgreSQL 15 does it: each of these was put before a real server.
    #[test]
    fn folding_is_told_as_the_server_does_it() {
        let mut catalog = Catalog::default();
        catalog
            .builtins
            .insert("current_setting".into(), Volatility::Stable);
        catalog
            .builtins
            .insert("random".into(), Volatility::Volatile);
        let function = |volatility, strict, body: &str| Function {
            language: "sql".into(),
            argument_types: vec!["integer".into()],
            argument_names: vec!["x".into()],
            volatility,
            strict,
            body: body.into(),
            ..Function::default()
        };
        use Volatility::{Immutable, Stable, Volatile};
        let setting = "select x = current_setting('app.t', true)::int";
        for (folded, volatility, strict, body) in [
            (true, Stable, false, setting),
            (true, Volatile, false, setting),
            (true, Stable, true, setting),
            (true, Stable, true, "select $1 = 5"),
            (true, Stable, false, "return x = 5"),
            (true, Stable, false, "begin atomic select x = 5; end"),
            (false, Immutable, false, setting),
            (false, Stable, false, "select x = 1 and random() > 0"),
            (false, Stable, true, "select coalesce(x, 0) = 1"),
            (false, Stable, true, "select x = 5 and x < 10"),
            (false, Stable, true, "select 5 = 5"),
            (false, Stable, false, "select x = 1 limit 1"),
            (false, Stable, false, "select exists (select from t)"),
            (false, Stable, false, "select 1; select 2"),
        ] {
            let function = function(volatility, strict, body);
            let found = blockers(&function, &catalog);
            assert_eq!(found.is_empty(), folded, "{body}: {found:?}");
        }
        let told = folded_volatility(&function(Volatile, false, setting), &catalog);
        assert_eq!(told, Some(Stable));
    }
}
