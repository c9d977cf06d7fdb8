//! Which columns and functions an expression depends on, and in whose scope they are.

use super::tree::{column_path, parts, qualified};
use crate::model::{Catalog, Name, Volatility};
use pg_query::protobuf::{FuncCall, SelectStmt};
use pg_query::{Node, NodeEnum};
use std::collections::BTreeSet;

/// One entry of a FROM clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub alias: String,
    /// `None` for a sub-select or a function.
    pub table: Option<Name>,
}

/// A dotted column reference, as written.
pub type Path = Vec<String>;

/// Column references that no sub-select inside `node` binds: the row's own columns, for a policy.
/// `None` where something is not understood.
pub fn free_columns(node: &Node, catalog: &Catalog) -> Option<BTreeSet<Path>> {
    let mut free = BTreeSet::new();
    match node.node.as_ref()? {
        NodeEnum::ColumnRef(column) => {
            let path: Path = column_path(column).into_iter().map(str::to_owned).collect();
            if !path.is_empty() {
                free.insert(path);
            }
        }
        NodeEnum::SubLink(link) => match link.subselect.as_ref()?.node.as_ref()? {
            NodeEnum::SelectStmt(select) => free.extend(free_in_select(select, catalog)?),
            _ => return None,
        },
        _ => {}
    }
    for part in parts(node)? {
        free.extend(free_columns(&part, catalog)?);
    }
    Some(free)
}

/// Column references of a sub-select that its own FROM clause does not bind.
pub fn free_in_select(select: &SelectStmt, catalog: &Catalog) -> Option<BTreeSet<Path>> {
    let relations = relations(select, catalog)?;
    let mut used = BTreeSet::new();
    for node in expressions(select)? {
        used.extend(free_columns(&node, catalog)?);
    }
    for side in [&select.larg, &select.rarg].into_iter().flatten() {
        used.extend(free_in_select(side, catalog)?);
    }
    used.retain(|path| !binds(&relations, path, catalog));
    Some(used)
}

/// Whether one of `relations` is what `path` means.
pub fn binds(relations: &[Relation], path: &[String], catalog: &Catalog) -> bool {
    match path {
        [column] => relations.iter().any(|r| match &r.table {
            Some(table) => catalog
                .table(table)
                .is_none_or(|t| t.column(column).is_some()),
            None => true,
        }),
        [.., alias, _] => relations.iter().any(|r| r.alias == *alias),
        [] => false,
    }
}

/// The FROM clause, flat; `None` where it holds something not understood.
pub fn relations(select: &SelectStmt, catalog: &Catalog) -> Option<Vec<Relation>> {
    if select.with_clause.is_some() {
        return None;
    }
    let mut found = Vec::new();
    for node in &select.from_clause {
        collect_relations(node, catalog, &mut found)?;
    }
    Some(found)
}

fn collect_relations(node: &Node, catalog: &Catalog, found: &mut Vec<Relation>) -> Option<()> {
    match node.node.as_ref()? {
        NodeEnum::RangeVar(range) => {
            let alias = range
                .alias
                .as_ref()
                .map_or(&range.relname, |a| &a.aliasname);
            let table = catalog
                .resolve(&range.schemaname, &range.relname)
                .map(|(name, _)| name.clone());
            found.push(Relation {
                alias: alias.clone(),
                table: Some(table.unwrap_or_else(|| Name::new(&range.schemaname, &range.relname))),
            });
        }
        NodeEnum::JoinExpr(join) => {
            collect_relations(join.larg.as_deref()?, catalog, found)?;
            collect_relations(join.rarg.as_deref()?, catalog, found)?;
        }
        NodeEnum::RangeSubselect(sub) => found.push(Relation {
            alias: sub.alias.as_ref()?.aliasname.clone(),
            table: None,
        }),
        NodeEnum::RangeFunction(function) => found.push(Relation {
            alias: function.alias.as_ref()?.aliasname.clone(),
            table: None,
        }),
        _ => return None,
    }
    Some(())
}

/// Every scalar expression of one SELECT level: target list, WHERE, join conditions, grouping, order …
/// Sub-selects of FROM come as sub-links, so that whoever walks on sees a SELECT.
pub fn expressions(select: &SelectStmt) -> Option<Vec<Node>> {
    let mut found = Vec::new();
    for node in &select.target_list {
        match node.node.as_ref()? {
            NodeEnum::ResTarget(target) => found.extend(target.val.as_deref().cloned()),
            _ => return None,
        }
    }
    for node in &select.from_clause {
        from_expressions(node, &mut found)?;
    }
    let single = [
        &select.where_clause,
        &select.having_clause,
        &select.limit_offset,
        &select.limit_count,
    ];
    found.extend(single.into_iter().flatten().map(|n| (**n).clone()));
    for node in &select.sort_clause {
        match node.node.as_ref()? {
            NodeEnum::SortBy(sort) => found.extend(sort.node.as_deref().cloned()),
            _ => return None,
        }
    }
    let lists = select.group_clause.iter().chain(&select.values_lists);
    // `DISTINCT` without ON holds one empty node.
    let distinct = select.distinct_clause.iter().filter(|n| n.node.is_some());
    found.extend(lists.chain(distinct).cloned());
    select.window_clause.is_empty().then_some(found)
}

fn from_expressions(node: &Node, found: &mut Vec<Node>) -> Option<()> {
    match node.node.as_ref()? {
        NodeEnum::RangeVar(_) => {}
        NodeEnum::JoinExpr(join) => {
            from_expressions(join.larg.as_deref()?, found)?;
            from_expressions(join.rarg.as_deref()?, found)?;
            found.extend(join.quals.as_deref().cloned());
        }
        NodeEnum::RangeSubselect(sub) => {
            let link = pg_query::protobuf::SubLink {
                subselect: sub.subquery.clone(),
                ..Default::default()
            };
            found.push(Node {
                node: Some(NodeEnum::SubLink(Box::new(link))),
            });
        }
        NodeEnum::RangeFunction(function) => {
            for item in &function.functions {
                match item.node.as_ref()? {
                    NodeEnum::List(list) => found.extend(list.items.first().cloned()),
                    _ => return None,
                }
            }
        }
        _ => return None,
    }
    Some(())
}

/// Every function call of an expression, those inside sub-selects too. `None` where something is not understood.
pub fn calls(node: &Node) -> Option<Vec<FuncCall>> {
    let mut found = Vec::new();
    match node.node.as_ref()? {
        NodeEnum::FuncCall(call) => found.push((**call).clone()),
        NodeEnum::SubLink(link) => match link.subselect.as_ref()?.node.as_ref()? {
            NodeEnum::SelectStmt(select) => found.extend(calls_in_select(select)?),
            _ => return None,
        },
        _ => {}
    }
    for part in parts(node)? {
        found.extend(calls(&part)?);
    }
    Some(found)
}

pub fn calls_in_select(select: &SelectStmt) -> Option<Vec<FuncCall>> {
    let mut found = Vec::new();
    for node in expressions(select)? {
        found.extend(calls(&node)?);
    }
    for side in [&select.larg, &select.rarg].into_iter().flatten() {
        found.extend(calls_in_select(side)?);
    }
    Some(found)
}

/// The worst volatility of the functions called `schema.name`; unknown user functions count as volatile.
pub fn volatility(call: &FuncCall, catalog: &Catalog) -> Volatility {
    let (schema, name) = qualified(&call.funcname);
    let user = catalog
        .functions_named(schema, name)
        .filter(|f| schema == f.name.schema || f.name.schema != "pg_catalog")
        .map(|f| f.volatility)
        .max();
    match (user, schema) {
        (Some(found), _) => found,
        (None, "" | "pg_catalog") => catalog
            .builtins
            .get(name)
            .copied()
            .unwrap_or(Volatility::Immutable),
        (None, _) => Volatility::Volatile,
    }
}

/// The worst volatility of everything an expression calls; what is not understood counts as volatile.
pub fn worst_volatility(node: &Node, catalog: &Catalog) -> Volatility {
    calls(node).map_or(Volatility::Volatile, |calls| {
        calls
            .iter()
            .map(|c| volatility(c, catalog))
            .max()
            .unwrap_or(Volatility::Immutable)
    })
}
