//! What can be proven of a function's body: that it only reads, and that it answers whatever it is asked.

use super::function::plpgsql_tree;
use crate::model::{Catalog, Function, Name, TableKind, Volatility};
use crate::sql::scope::{calls_in_select, expressions, relations, volatility, worst_volatility};
use crate::sql::tree::{
    column_path, is_literal, parse_expression, parse_select, parse_statement, parts, qualified,
};
use pg_query::protobuf::{AExprKind, SelectStmt, SubLinkType};
use pg_query::{Node, NodeEnum};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// How deep functions may call each other.
const DEPTH: usize = 4;
/// Comparisons give an answer for every pair of values.
const COMPARISONS: [&str; 6] = ["=", "<>", "<", ">", "<=", ">="];

/// The catalog with every volatile function that only reads, and reads nothing of `table`, called stable.
///
/// A volatile function sees the rows that its own statement has changed so far, a stable one does not: that is a
/// difference only where it reads the table that the policy guards.
pub(super) fn proven<'a>(node: &Node, table: &Name, catalog: &'a Catalog) -> Cow<'a, Catalog> {
    let mut proven = Cow::Borrowed(catalog);
    // Functions that call others are proven after them.
    for _ in 0..DEPTH {
        if worst_volatility(node, &proven) != Volatility::Volatile {
            break;
        }
        let found: Vec<usize> = proven
            .functions
            .iter()
            .enumerate()
            .filter(|(_, f)| f.volatility == Volatility::Volatile && f.extension.is_none())
            .filter(|(_, f)| {
                only_reads(f, &proven)
                    && reads(f, &proven, DEPTH).is_some_and(|read| !read.contains(table))
            })
            .map(|(i, _)| i)
            .collect();
        if found.is_empty() {
            break;
        }
        for i in found {
            if let Some(function) = proven.to_mut().functions.get_mut(i) {
                function.volatility = Volatility::Stable;
            }
        }
    }
    proven
}

/// Whether a body does nothing but look: no write, no lock, no message, no call of what is volatile.
fn only_reads(function: &Function, catalog: &Catalog) -> bool {
    queries(function).is_some_and(|queries| {
        queries.iter().all(|select| {
            let still = calls_in_select(select).is_some_and(|c| {
                c.iter()
                    .all(|c| volatility(c, catalog) != Volatility::Volatile)
            });
            let levels = levels(select, catalog);
            still
                && levels.is_some_and(|levels| {
                    levels.iter().all(|level| {
                        level.locking_clause.is_empty()
                            && level.into_clause.is_none()
                            && reads_tables(level, catalog)
                    })
                })
        })
    })
}

/// A view could call anything, and so could the policies of a table.
fn reads_tables(select: &SelectStmt, catalog: &Catalog) -> bool {
    let Some(relations) = relations(select, catalog) else {
        return false;
    };
    relations.iter().filter_map(|r| r.table.as_ref()).all(|t| {
        catalog.table(t).is_some_and(|table| {
            matches!(table.kind, TableKind::Ordinary | TableKind::Partitioned)
                && (!table.rls_enabled
                    || table.policies.iter().all(|p| {
                        p.using.iter().all(|u| {
                            parse_expression(u).is_ok_and(|e| {
                                worst_volatility(&e, catalog) != Volatility::Volatile
                            })
                        })
                    }))
        })
    })
}

/// Tables that a function reads, itself, through functions, or through the policies of what it reads.
fn reads(function: &Function, catalog: &Catalog, depth: usize) -> Option<BTreeSet<Name>> {
    let mut found = BTreeSet::new();
    for select in queries(function)? {
        for level in levels(&select, catalog)? {
            let tables = relations(&level, catalog)?;
            found.extend(tables.into_iter().filter_map(|r| r.table));
        }
        for call in calls_in_select(&select)? {
            let (schema, name) = qualified(&call.funcname);
            let named = catalog.functions_named(schema, name);
            for called in named.filter(|f| f.volatility != Volatility::Immutable) {
                found.extend(reads(called, catalog, depth.checked_sub(1)?)?);
            }
        }
    }
    let policies: Vec<&String> = found
        .iter()
        .filter_map(|name| catalog.table(name))
        .filter(|t| t.rls_enabled)
        .flat_map(|t| t.policies.iter().filter_map(|p| p.using.as_ref()))
        .collect();
    let mut behind = BTreeSet::new();
    for using in policies {
        behind.extend(crate::sql::access::tables(
            &format!("select {using}"),
            catalog,
        ));
    }
    found.extend(behind);
    Some(found)
}

/// Whether the function gives an answer, and no error, for every value of its argument number `at`.
pub(super) fn answers_any_key(function: &Function, at: usize, catalog: &Catalog) -> bool {
    answers(function, at, catalog, DEPTH)
}

fn answers(function: &Function, at: usize, catalog: &Catalog, depth: usize) -> bool {
    let (Some(queries), Some(name)) = (queries(function), function.argument_names.get(at)) else {
        return false;
    };
    let number = i32::try_from(at + 1).unwrap_or_default();
    let is_key = |node: &Node| match &node.node {
        Some(NodeEnum::ParamRef(p)) => p.number == number,
        Some(NodeEnum::ColumnRef(c)) => {
            !name.is_empty() && column_path(c).last() == Some(&name.as_str())
        }
        _ => false,
    };
    only_reads(function, catalog)
        && queries.iter().all(|select| {
            levels(select, catalog).is_some_and(|levels| {
                levels.iter().all(|level| {
                    expressions(level)
                        .is_some_and(|all| all.iter().all(|n| is_total(n, &is_key, catalog, depth)))
                })
            })
        })
}

/// Whether an expression of a row has a value for every row, whatever its columns hold.
pub(super) fn is_total_expression(node: &Node, catalog: &Catalog) -> bool {
    let is_key = |n: &Node| matches!(n.node, Some(NodeEnum::ColumnRef(_)));
    levels(&selecting(node.clone()), catalog).is_some_and(|levels| {
        levels.iter().all(|level| {
            expressions(level)
                .is_some_and(|all| all.iter().all(|n| is_total(n, &is_key, catalog, DEPTH)))
        })
    })
}

/// Whether an expression has a value for every row and every key; sub-selects are looked at as levels of their own.
fn is_total(node: &Node, is_key: &dyn Fn(&Node) -> bool, catalog: &Catalog, depth: usize) -> bool {
    let Some(inside) = parts(node) else {
        return false;
    };
    let total = match &node.node {
        Some(NodeEnum::AExpr(e)) => {
            let compares = |n: &str| COMPARISONS.contains(&n);
            let (schema, name) = qualified(&e.name);
            matches!(
                e.kind(),
                AExprKind::AexprOp | AExprKind::AexprIn | AExprKind::AexprOpAny
            ) && matches!(schema, "" | "pg_catalog")
                && compares(name)
        }
        Some(NodeEnum::SubLink(l)) => {
            matches!(
                l.sub_link_type(),
                SubLinkType::ExistsSublink | SubLinkType::AnySublink | SubLinkType::ArraySublink
            ) || is_one_row(node)
        }
        Some(NodeEnum::TypeCast(cast)) => {
            let to_text = cast
                .type_name
                .as_ref()
                .is_some_and(|t| matches!(qualified(&t.names), ("" | "pg_catalog", "text")));
            return is_literal(node)
                || (to_text && inside.iter().all(|n| is_total(n, is_key, catalog, depth)));
        }
        Some(NodeEnum::FuncCall(call)) => {
            return call.args.iter().enumerate().all(|(i, arg)| {
                if is_key(arg) {
                    return depth > 0 && passes_on(call, i, catalog, depth - 1);
                }
                // What does not depend on the key is asked of every row as it is.
                !mentions_column(arg)
            });
        }
        Some(
            NodeEnum::ColumnRef(_)
            | NodeEnum::AConst(_)
            | NodeEnum::ParamRef(_)
            | NodeEnum::BoolExpr(_)
            | NodeEnum::NullTest(_)
            | NodeEnum::BooleanTest(_)
            | NodeEnum::CoalesceExpr(_)
            | NodeEnum::CaseExpr(_)
            | NodeEnum::CaseWhen(_)
            | NodeEnum::AArrayExpr(_)
            | NodeEnum::List(_),
        ) => true,
        _ => false,
    };
    total && inside.iter().all(|n| is_total(n, is_key, catalog, depth))
}

/// `(select f())`: a scalar sub-select without FROM has one row.
fn is_one_row(node: &Node) -> bool {
    let Some(NodeEnum::SubLink(link)) = &node.node else {
        return false;
    };
    match link.subselect.as_ref().and_then(|s| s.node.as_ref()) {
        Some(NodeEnum::SelectStmt(s)) => {
            s.from_clause.is_empty() && s.larg.is_none() && s.values_lists.is_empty()
        }
        _ => false,
    }
}

fn passes_on(
    call: &pg_query::protobuf::FuncCall,
    at: usize,
    catalog: &Catalog,
    depth: usize,
) -> bool {
    let (schema, name) = qualified(&call.funcname);
    let mut named = catalog.functions_named(schema, name);
    match (named.next(), named.next()) {
        (Some(function), None) => answers(function, at, catalog, depth),
        _ => false,
    }
}

fn mentions_column(node: &Node) -> bool {
    matches!(
        node.node,
        Some(NodeEnum::ColumnRef(_) | NodeEnum::ParamRef(_) | NodeEnum::SubLink(_))
    ) || parts(node).is_none_or(|inside| inside.iter().any(mentions_column))
}

/// The SELECTs of a body, expressions among them; `None` where it does anything else.
fn queries(function: &Function) -> Option<Vec<SelectStmt>> {
    match function.language.as_str() {
        "sql" => match parse_statement(&function.body).ok()? {
            NodeEnum::SelectStmt(select) => Some(vec![*select]),
            NodeEnum::ReturnStmt(value) => Some(vec![selecting(*value.returnval?)]),
            _ => None,
        },
        "plpgsql" => {
            let mut found = Vec::new();
            collect(&plpgsql_tree(function)?, &mut found)?;
            Some(found)
        }
        _ => None,
    }
}

fn selecting(node: Node) -> SelectStmt {
    let mut select = SelectStmt::default();
    let target = pg_query::protobuf::ResTarget {
        val: Some(Box::new(node)),
        ..Default::default()
    };
    select.target_list.push(Node {
        node: Some(NodeEnum::ResTarget(Box::new(target))),
    });
    select
}

/// Walks a PL/pgSQL tree. Whatever could write, speak, loop or catch is not understood.
fn collect(tree: &Value, found: &mut Vec<SelectStmt>) -> Option<()> {
    match tree {
        Value::Array(items) => items.iter().try_for_each(|item| collect(item, found)),
        Value::Object(fields) => fields.iter().try_for_each(|(key, value)| {
            if let Some(kind) = key.strip_prefix("PLpgSQL_stmt_") {
                let plain = matches!(
                    kind,
                    "block" | "return" | "if" | "assign" | "execsql" | "perform"
                );
                let strict = value.get("strict").is_some_and(|s| *s == Value::Bool(true));
                if !plain || strict || value.get("exceptions").is_some() {
                    return None;
                }
            }
            if key == "PLpgSQL_expr" {
                found.push(query(value)?);
                return Some(());
            }
            collect(value, found)
        }),
        _ => Some(()),
    }
}

/// One expression of a PL/pgSQL body; `parseMode` says how its text is to be read.
fn query(expression: &Value) -> Option<SelectStmt> {
    let text = expression.get("query")?.as_str()?;
    match expression.get("parseMode").and_then(Value::as_i64) {
        Some(0) => parse_select(text).ok(),
        Some(2) => parse_select(&format!("select {text}")).ok(),
        Some(3) => parse_select(&format!("select {}", assigned(text)?)).ok(),
        _ => None,
    }
}

/// What stands behind `variable :=`.
fn assigned(text: &str) -> Option<&str> {
    let scan = pg_query::scan(text).ok()?;
    let sign = scan.tokens.get(1)?;
    let assigns = matches!(
        sign.token(),
        pg_query::protobuf::Token::ColonEquals | pg_query::protobuf::Token::Ascii61
    );
    let end = usize::try_from(sign.end).ok()?;
    assigns.then(|| text.get(end..)).flatten()
}

/// A SELECT with every SELECT inside it.
fn levels(select: &SelectStmt, catalog: &Catalog) -> Option<Vec<SelectStmt>> {
    let mut found = vec![select.clone()];
    relations(select, catalog)?;
    let mut pending = expressions(select)?;
    while let Some(node) = pending.pop() {
        pending.extend(parts(&node)?);
        if let Some(NodeEnum::SubLink(link)) = &node.node {
            match link.subselect.as_ref()?.node.as_ref()? {
                NodeEnum::SelectStmt(inner) => found.extend(levels(inner, catalog)?),
                _ => return None,
            }
        }
    }
    for side in [&select.larg, &select.rarg].into_iter().flatten() {
        found.extend(levels(side, catalog)?);
    }
    Some(found)
}
