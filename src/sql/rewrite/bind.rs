//! What the arguments of an access function become in its companion.
//!
//! An argument that is no constant says who asks: as an argument of the companion it would let anybody list what is
//! another's. It is moved inside where it means the same there.

use super::known;
use super::opened::Given;
use super::typed;
use super::wrap::select_of;
use crate::model::{Catalog, Function, Parallel, Volatility};
use crate::sql::scope::{calls, free_columns, worst_volatility};
use crate::sql::tree::{
    IntoNode, is_literal, parse_expression, parse_statement, parts, print_expression, qualified,
};
use pg_query::protobuf::{AConst, AExprKind, FuncCall, TypeCast};
use pg_query::{Node, NodeEnum};

/// How deep functions may call each other.
const DEPTH: usize = 3;
/// Functions of `pg_catalog` that depend on their arguments, settings and the clock alone.
const OF_SETTINGS: [&str; 20] = [
    "current_setting",
    "now",
    "lower",
    "upper",
    "btrim",
    "ltrim",
    "rtrim",
    "split_part",
    "replace",
    "left",
    "right",
    "substr",
    "md5",
    "concat",
    "to_jsonb",
    "string_to_array",
    "jsonb_extract_path_text",
    "json_extract_path_text",
    "jsonb_extract_path",
    "jsonb_array_length",
];
const OPERATORS: [&str; 12] = [
    "->", "->>", "#>", "#>>", "||", "=", "<>", "<", ">", "<=", ">=", "?",
];

/// What each argument of `call` becomes; `row` is the place of the row's column.
pub(super) fn given(
    call: &FuncCall,
    row: usize,
    function: &Function,
    catalog: &Catalog,
) -> Result<Vec<Given>, String> {
    let mut found = Vec::new();
    let mut constants = 0;
    for (place, argument) in call.args.iter().enumerate() {
        if place == row {
            found.push(Given::Row);
        } else if is_literal(argument) {
            if function.strict && is_null(argument) {
                return Err("it is STRICT, and an argument is NULL".to_owned());
            }
            found.push(Given::Constant(constants));
            constants += 1;
        } else {
            let kind = function.argument_types.get(place);
            let bound = bound(
                argument,
                kind.ok_or("it has too few arguments")?,
                function,
                catalog,
            )?;
            found.push(Given::Bound(Box::new(bound)));
        }
    }
    Ok(found)
}

/// Whether the companion may be as parallel as the original: what is moved inside must be.
pub(super) fn are_parallel(given: &[Given], catalog: &Catalog) -> bool {
    given.iter().all(|g| match g {
        Given::Bound(node) => calls(node).is_some_and(|calls| {
            calls.iter().all(|call| {
                let (schema, name) = qualified(&call.funcname);
                catalog
                    .functions_named(schema, name)
                    .all(|f| f.parallel == Parallel::Safe)
            })
        }),
        _ => true,
    })
}

/// The argument as its parameter's type, evaluated once.
fn bound(
    argument: &Node,
    kind: &str,
    function: &Function,
    catalog: &Catalog,
) -> Result<Node, String> {
    known::expression(argument)?;
    let closed = free_columns(argument, catalog).is_some_and(|free| free.is_empty());
    if !closed || worst_volatility(argument, catalog) == Volatility::Volatile {
        return Err("an argument depends on the row or is VOLATILE".to_owned());
    }
    let elsewhere = function.security_definer || !function.config.is_empty();
    if elsewhere && !of_session(argument, function, catalog, DEPTH) {
        return Err(
            "an argument says who asks, and may mean another inside the function".to_owned(),
        );
    }
    let wanted = parse_expression(&format!("null::{kind}")).map_err(|e| e.0)?;
    let Some(NodeEnum::TypeCast(wanted)) = wanted.node else {
        return Err("the type of an argument is not known".to_owned());
    };
    let cast = TypeCast {
        arg: Some(Box::new(argument.clone())),
        type_name: wanted.type_name,
        ..Default::default()
    };
    Ok(select_of(NodeEnum::TypeCast(Box::new(cast)).into_node()))
}

/// Whether an expression gives the same in every role and under every search path: it is made of constants, settings
/// and functions of these.
fn of_session(node: &Node, inside: &Function, catalog: &Catalog, depth: usize) -> bool {
    let all = |nodes: Option<Vec<Node>>| {
        nodes.is_some_and(|n| n.iter().all(|p| of_session(p, inside, catalog, depth)))
    };
    match &node.node {
        Some(NodeEnum::FuncCall(call)) => {
            is_of_session(call, inside, catalog, depth) && all(parts(node))
        }
        Some(NodeEnum::AExpr(e)) => {
            let (schema, name) = qualified(&e.name);
            let known = matches!(e.kind(), AExprKind::AexprOp | AExprKind::AexprNullif);
            let plain = matches!(schema, "" | "pg_catalog");
            known && plain && OPERATORS.contains(&name) && all(parts(node))
        }
        Some(NodeEnum::TypeCast(cast)) => {
            // A domain's check could call anything.
            let target = cast.type_name.as_ref().and_then(typed::named);
            target.is_some_and(|t| typed::is_of_catalog(&t)) && all(parts(node))
        }
        Some(NodeEnum::SubLink(link)) => {
            match link.subselect.as_deref().and_then(|s| s.node.as_ref()) {
                Some(NodeEnum::SelectStmt(select)) => known::only_value(select)
                    .is_ok_and(|value| of_session(value, inside, catalog, depth)),
                _ => false,
            }
        }
        Some(
            NodeEnum::AConst(_)
            | NodeEnum::CoalesceExpr(_)
            | NodeEnum::CaseExpr(_)
            | NodeEnum::CaseWhen(_)
            | NodeEnum::NullTest(_)
            | NodeEnum::BoolExpr(_),
        ) => all(parts(node)),
        _ => false,
    }
}

fn is_of_session(call: &FuncCall, inside: &Function, catalog: &Catalog, depth: usize) -> bool {
    let (schema, name) = qualified(&call.funcname);
    let mut named = catalog
        .functions_named(schema, name)
        .filter(|f| f.name.schema != "pg_catalog");
    let (Some(function), None) = (named.next(), named.next()) else {
        let own = catalog
            .functions_named("", name)
            .any(|f| f.name.schema != "pg_catalog");
        let builtin = !own && matches!(schema, "" | "pg_catalog") && OF_SETTINGS.contains(&name);
        return builtin && (name != "current_setting" || is_custom(call));
    };
    // Whoever the function runs as must be able to call it.
    let runs_as = if inside.security_definer {
        Some(inside.owner.as_str())
    } else {
        None
    };
    let allowed = runs_as.is_none_or(|owner| may_call(owner, function, catalog));
    let settings = function
        .config
        .iter()
        .all(|c| c.starts_with("search_path="));
    if !allowed || !settings || schema.is_empty() || depth == 0 || function.language != "sql" {
        return false;
    }
    match parse_statement(&function.body) {
        Ok(NodeEnum::SelectStmt(select)) => known::only_value(&select)
            .is_ok_and(|value| of_session(value, function, catalog, depth - 1)),
        Ok(NodeEnum::ReturnStmt(returned)) => returned
            .returnval
            .is_some_and(|value| of_session(&value, function, catalog, depth - 1)),
        _ => false,
    }
}

/// A setting of the application's own: no function sets it but by name, as it does the search path.
fn is_custom(call: &FuncCall) -> bool {
    let name = call.args.first().map(print_expression);
    name.is_some_and(|text| text.is_ok_and(|text| text.starts_with('\'') && text.contains('.')))
}

fn may_call(role: &str, function: &Function, catalog: &Catalog) -> bool {
    if catalog.roles.get(role).is_some_and(|r| r.superuser) {
        return true;
    }
    let has = |granted: &[String]| granted.iter().any(|g| g == "public" || g == role);
    let schema = catalog.schemas.get(&function.name.schema);
    (function.owner == role || has(&function.executors))
        && schema.is_some_and(|s| s.owner == role || has(&s.usage))
}

fn is_null(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::AConst(AConst { isnull, .. })) => *isnull,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(is_null),
        _ => false,
    }
}
