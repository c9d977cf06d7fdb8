//! What has a value, and no error, whatever the row holds: such a test may be asked of more rows than before.

use super::opened::plpgsql_tree;
use super::quiet::{levels, only_reads, queries, selecting};
use super::still::named_tables;
use crate::model::{Catalog, Function};
use crate::sql::scope::expressions;
use crate::sql::tree::{column_path, is_literal, parts, qualified};
use pg_query::protobuf::{AExpr, AExprKind, FuncCall, SubLinkType};
use pg_query::{Node, NodeEnum};

/// How deep functions may call each other.
const DEPTH: usize = 4;
/// Operators that give an answer for every pair of values.
const OPERATORS: [&str; 13] = [
    "=", "<>", "<", ">", "<=", ">=", "->", "->>", "#>", "#>>", "@>", "<@", "&&",
];

/// How an expression is asked.
struct Asked<'a> {
    /// What changes from row to row.
    is_key: &'a dyn Fn(&Node) -> bool,
    /// Whether what does not depend on the row may raise: then it raises for every row or for none.
    once: bool,
    catalog: &'a Catalog,
}

/// Whether the function gives an answer, and no error, for every value of its argument number `at`.
pub(super) fn answers_any_key(function: &Function, at: usize, catalog: &Catalog) -> bool {
    answers(function, at, catalog, DEPTH)
}

/// Whether an expression of a row has a value for every row, whatever its columns hold.
pub(super) fn is_total(node: &Node, catalog: &Catalog) -> bool {
    of_row(node, false, catalog)
}

/// Whether no row makes it raise: a part that does not depend on the row may.
pub(super) fn is_total_by_row(node: &Node, catalog: &Catalog) -> bool {
    of_row(node, true, catalog)
}

fn of_row(node: &Node, once: bool, catalog: &Catalog) -> bool {
    let asked = Asked {
        is_key: &|n: &Node| matches!(n.node, Some(NodeEnum::ColumnRef(_))),
        once,
        catalog,
    };
    if once && !mentions_column(node) {
        return true;
    }
    levels(&selecting(node.clone()), catalog).is_some_and(|levels| {
        levels.iter().all(|level| {
            expressions(level).is_some_and(|all| all.iter().all(|n| asked.total(n, DEPTH)))
        })
    })
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
    let asked = Asked {
        is_key: &is_key,
        once: false,
        catalog,
    };
    only_reads(function, catalog)
        && names_are_clear(function, catalog)
        && queries.iter().all(|select| {
            levels(select, catalog).is_some_and(|levels| {
                levels.iter().all(|level| {
                    expressions(level).is_some_and(|all| all.iter().all(|n| asked.total(n, depth)))
                })
            })
        })
}

/// Whether no variable of a PL/pgSQL body has the name of a column that it could read: such a name is an error.
fn names_are_clear(function: &Function, catalog: &Catalog) -> bool {
    if function.language != "plpgsql" {
        return true;
    }
    let tree = plpgsql_tree(function);
    let variables = tree
        .as_ref()
        .and_then(|t| t.pointer("/0/PLpgSQL_function/datums"))
        .and_then(serde_json::Value::as_array);
    let tables = named_tables(function, catalog);
    variables.is_some_and(|all| {
        all.iter()
            .filter_map(|v| v.as_object()?.values().next()?.get("refname")?.as_str())
            .all(|name| {
                let mut read = tables.iter().filter_map(|t| catalog.table(t));
                read.all(|table| table.column(name).is_none())
            })
    })
}

impl Asked<'_> {
    /// Sub-selects are looked at as levels of their own.
    fn total(&self, node: &Node, depth: usize) -> bool {
        if self.once && !mentions_column(node) {
            return true;
        }
        let Some(inside) = parts(node) else {
            return false;
        };
        let total = match &node.node {
            Some(NodeEnum::AExpr(e)) => self.compares(e),
            Some(NodeEnum::SubLink(l)) => {
                matches!(
                    l.sub_link_type(),
                    SubLinkType::ExistsSublink
                        | SubLinkType::AnySublink
                        | SubLinkType::ArraySublink
                ) || is_one_row(node)
            }
            Some(NodeEnum::TypeCast(cast)) => {
                let to_text = cast
                    .type_name
                    .as_ref()
                    .is_some_and(|t| matches!(qualified(&t.names), ("" | "pg_catalog", "text")));
                return is_literal(node)
                    || (to_text && inside.iter().all(|n| self.total(n, depth)));
            }
            Some(NodeEnum::FuncCall(call)) => {
                return call.args.iter().enumerate().all(|(i, arg)| {
                    if (self.is_key)(arg) {
                        return depth > 0 && self.passes_on(call, i, depth - 1);
                    }
                    // What does not depend on the key is asked of every row as it is.
                    !mentions_column(arg)
                });
            }
            Some(
                NodeEnum::ColumnRef(_)
                | NodeEnum::AConst(_)
                | NodeEnum::ParamRef(_)
                | NodeEnum::SqlvalueFunction(_)
                | NodeEnum::CollateClause(_)
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
        total && inside.iter().all(|n| self.total(n, depth))
    }

    fn compares(&self, e: &AExpr) -> bool {
        let (schema, name) = qualified(&e.name);
        let extensions = &self.catalog.server.extensions;
        let known =
            matches!(schema, "" | "pg_catalog") || extensions.values().any(|x| x.schema == schema);
        match e.kind() {
            AExprKind::AexprOp => known && OPERATORS.contains(&name),
            AExprKind::AexprIn | AExprKind::AexprOpAny | AExprKind::AexprOpAll => {
                known && matches!(name, "=" | "<>" | "<" | ">" | "<=" | ">=")
            }
            AExprKind::AexprBetween
            | AExprKind::AexprNotBetween
            | AExprKind::AexprDistinct
            | AExprKind::AexprNotDistinct
            | AExprKind::AexprNullif => true,
            // A pattern may be malformed.
            AExprKind::AexprLike | AExprKind::AexprIlike => {
                e.rexpr.as_deref().is_some_and(is_literal)
            }
            _ => false,
        }
    }

    fn passes_on(&self, call: &FuncCall, at: usize, depth: usize) -> bool {
        let (schema, name) = qualified(&call.funcname);
        let mut named = self.catalog.functions_named(schema, name);
        match (named.next(), named.next()) {
            (Some(function), None) => answers(function, at, self.catalog, depth),
            _ => false,
        }
    }
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

/// Whether a column or a parameter is read, or a sub-select that is more than one row made of nothing.
fn mentions_column(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::SubLink(link)) if is_one_row(node) => {
            match link.subselect.as_ref().and_then(|s| s.node.as_ref()) {
                Some(NodeEnum::SelectStmt(select)) => {
                    expressions(select).is_none_or(|inside| inside.iter().any(mentions_column))
                }
                _ => true,
            }
        }
        Some(NodeEnum::ColumnRef(_) | NodeEnum::ParamRef(_) | NodeEnum::SubLink(_)) => true,
        _ => parts(node).is_none_or(|inside| inside.iter().any(mentions_column)),
    }
}
