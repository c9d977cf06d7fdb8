//! What can be proven of a function's body: that it only reads, and reads what does not change.

use super::opened::plpgsql_tree;
use super::still::{self, Changes};
use crate::model::{Catalog, Function, Name, TableKind, Volatility};
use crate::sql::scope::{
    calls, calls_in_select, expressions, relations, volatility, worst_volatility,
};
use crate::sql::tree::{parse_expression, parse_select, parse_statement, parts, qualified};
use pg_query::protobuf::SelectStmt;
use pg_query::{Node, NodeEnum};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// How deep functions may call each other.
const DEPTH: usize = 4;

/// The catalog with every volatile function that only reads, and reads nothing that `changes`, called stable.
///
/// A volatile function sees the rows that its own statement has changed so far, a stable one does not: that is a
/// difference only where it reads a table that the statement, its triggers, or what cascades from it may write.
pub(super) fn proven<'a>(node: &Node, changes: &Changes, catalog: &'a Catalog) -> Cow<'a, Catalog> {
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
                    && reads(f, &proven, DEPTH)
                        .is_some_and(|read| read.is_disjoint(&changes.tables))
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
pub(super) fn only_reads(function: &Function, catalog: &Catalog) -> bool {
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
    // Whichever schema its names turn out to mean.
    let mut found = still::named_tables(function, catalog);
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
        for call in calls(&parse_expression(using).ok()?)? {
            let (schema, name) = qualified(&call.funcname);
            let named = catalog.functions_named(schema, name);
            for called in named.filter(|f| f.volatility != Volatility::Immutable) {
                behind.extend(reads(called, catalog, depth.checked_sub(1)?)?);
            }
        }
    }
    found.extend(behind);
    Some(found)
}

/// The SELECTs of a body, expressions among them; `None` where it does anything else.
pub(super) fn queries(function: &Function) -> Option<Vec<SelectStmt>> {
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

pub(super) fn selecting(node: Node) -> SelectStmt {
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
pub(super) fn levels(select: &SelectStmt, catalog: &Catalog) -> Option<Vec<SelectStmt>> {
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
