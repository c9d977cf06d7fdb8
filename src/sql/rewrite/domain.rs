//! A test without an index → `column = any(array(select key from referenced where test))`.
//!
//! A column that is NOT NULL and a foreign key holds one of the referenced keys in every row, so asking the keys is
//! asking the rows. Holds for what a statement's snapshot shows: a single statement that inserts a key and a row with
//! it, and returns the row, would not find the key. A clause that serves as WITH CHECK is therefore left alone.

mod keys;
#[cfg(test)]
mod tests;

use super::{Depth, Rewritten, known, rewrite as rewrite_others, total};
use crate::model::{Catalog, Command, Name, Policy, Volatility};
use crate::sql::quote;
use crate::sql::scope::{free_columns, worst_volatility};
use crate::sql::tree::{
    column_path, equals_any_of_select, is_equality, is_literal, parse_expression, parse_select,
    qualified,
};
use pg_query::protobuf::{AExprKind, BoolExprType, FuncCall};
use pg_query::{Node, NodeEnum};
use std::collections::BTreeSet;

/// The values that a column may have: the keys of another table.
struct Domain {
    column: String,
    keys: Name,
    key: String,
    identity: bool,
}

struct Rewriter<'a> {
    domains: Vec<Domain>,
    catalog: &'a Catalog,
}

/// Rewrites what stands where NULL and false mean the same: under AND and OR only.
pub(super) fn rewrite(
    node: &mut Node,
    policy: &Policy,
    table: &Name,
    catalog: &Catalog,
    made: &mut Rewritten,
) {
    let serves_as_check =
        policy.check.is_none() && matches!(policy.command, Command::All | Command::Update);
    if !policy.permissive || serves_as_check {
        return;
    }
    let rewriter = Rewriter {
        domains: keys::domains(policy, table, catalog),
        catalog,
    };
    if rewriter.domains.is_empty() {
        return;
    }
    let beside = rewriter.compared_beside(policy, table);
    if rewriter.visit(node, &beside) {
        made.steps.push(super::step::KEYS);
    }
}

impl Rewriter<'_> {
    /// `beside`: columns that the alternatives of `node` compare.
    fn visit(&self, node: &mut Node, beside: &BTreeSet<String>) -> bool {
        if let Some(NodeEnum::BoolExpr(e)) = &mut node.node {
            match e.boolop() {
                BoolExprType::OrExpr => return self.visit_alternatives(&mut e.args, beside),
                BoolExprType::AndExpr => return self.visit_conditions(&mut e.args, beside),
                _ => {}
            }
        }
        let replacement = self
            .of_function(node)
            .or_else(|| self.of_constant(node, beside));
        match replacement {
            Some(made) => {
                *node = made;
                true
            }
            None => false,
        }
    }

    fn visit_alternatives(&self, args: &mut [Node], beside: &BTreeSet<String>) -> bool {
        let compared: Vec<BTreeSet<String>> = args.iter().map(|a| self.compared(a)).collect();
        let mut changed = false;
        for (i, arg) in args.iter_mut().enumerate() {
            let mut around = beside.clone();
            for (_, columns) in compared.iter().enumerate().filter(|(j, _)| *j != i) {
                around.extend(columns.iter().cloned());
            }
            changed |= self.visit(arg, &around);
        }
        changed
    }

    /// One condition that an index serves is enough for all of them.
    fn visit_conditions(&self, args: &mut [Node], beside: &BTreeSet<String>) -> bool {
        let is_or = |n: &Node| matches!(&n.node, Some(NodeEnum::BoolExpr(e)) if e.boolop() == BoolExprType::OrExpr);
        let served = |n: &Node| !is_or(n) && is_comparison(n, self.catalog);
        if args.iter().any(served) {
            return false;
        }
        args.iter_mut().any(|arg| self.visit(arg, beside))
    }

    /// `f(column)`, where `f` could not be opened.
    fn of_function(&self, node: &Node) -> Option<Node> {
        let Some(NodeEnum::FuncCall(call)) = &node.node else {
            return None;
        };
        let (at, column) = one_column(call, self.catalog)?;
        let domain = self
            .domains
            .iter()
            .find(|d| d.column == column && d.identity)?;
        let volatile = worst_volatility(node, self.catalog) == Volatility::Volatile;
        if volatile || known::expression(node).is_err() {
            return None;
        }
        let (schema, name) = qualified(&call.funcname);
        let mut named = self.catalog.functions_named(schema, name);
        let function = named.next().filter(|_| named.next().is_none())?;
        let scalar = function.returns == "boolean" && !function.returns_set;
        // It will be asked about keys that no row has: it must answer, not complain.
        if !scalar || !total::answers_any_key(function, at, self.catalog) {
            return None;
        }
        let mut asked = call.clone();
        let place = asked.args.get_mut(at)?;
        let row_column = std::mem::replace(place, domain.key_node()?);
        let test = Node {
            node: Some(NodeEnum::FuncCall(asked)),
        };
        domain.set(row_column, test)
    }

    /// A test that does not depend on the row, beside one that compares a column.
    fn of_constant(&self, node: &Node, beside: &BTreeSet<String>) -> Option<Node> {
        let once = match worst_volatility(node, self.catalog) {
            Volatility::Volatile => false,
            Volatility::Stable => true,
            Volatility::Immutable => matches!(node.node, Some(NodeEnum::SubLink(_))),
        };
        if !once
            || known::expression(node).is_err()
            || is_literal(node)
            || !free_columns(node, self.catalog)?.is_empty()
        {
            return None;
        }
        let domain = self.domains.iter().find(|d| beside.contains(&d.column))?;
        let column = parse_expression(&quote::ident(&domain.column)).ok()?;
        domain.set(column, node.clone())
    }

    /// Columns that the other policies used together with this one compare, once rewritten themselves.
    fn compared_beside(&self, policy: &Policy, table: &Name) -> BTreeSet<String> {
        let Some(of) = self.catalog.table(table) else {
            return BTreeSet::new();
        };
        of.policies
            .iter()
            .filter(|other| other.permissive && other.name != policy.name)
            .filter(|other| used_together(policy, other))
            .filter_map(|other| {
                let using = other.using.as_deref()?;
                let sets = rewrite_others(using, table, self.catalog, Depth::Sets).ok()?;
                let text = sets.map_or_else(|| using.to_owned(), |made| made.expression);
                parse_expression(&text).ok()
            })
            .flat_map(|node| self.compared(&node))
            .collect()
    }

    /// Columns of the row that are compared with something known before the scan, or could be.
    fn compared(&self, node: &Node) -> BTreeSet<String> {
        match &node.node {
            Some(NodeEnum::BoolExpr(e)) if e.boolop() != BoolExprType::NotExpr => {
                e.args.iter().flat_map(|a| self.compared(a)).collect()
            }
            Some(NodeEnum::FuncCall(call)) => one_column(call, self.catalog)
                .map(|(_, column)| column)
                .into_iter()
                .collect(),
            _ => compared_column(node, self.catalog).into_iter().collect(),
        }
    }
}

impl Domain {
    fn key_node(&self) -> Option<Node> {
        parse_expression(&format!(
            "{}.{}",
            quote::ident(&self.keys.name),
            quote::ident(&self.key)
        ))
        .ok()
    }

    fn set(&self, column: Node, test: Node) -> Option<Node> {
        let mut select = parse_select(&format!(
            "select {}.{} from {}",
            quote::ident(&self.keys.name),
            quote::ident(&self.key),
            quote::name(&self.keys)
        ))
        .ok()?;
        select.where_clause = Some(Box::new(test));
        Some(equals_any_of_select(column, select))
    }
}

fn used_together(a: &Policy, b: &Policy) -> bool {
    let everybody = |p: &Policy| p.roles.iter().any(|r| r == "public");
    (a.command.covers(b.command) || b.command.covers(a.command))
        && (everybody(a) || everybody(b) || a.roles.iter().any(|r| b.roles.contains(r)))
}

/// The only argument that depends on the row, with its place, where it is a plain column.
fn one_column(call: &FuncCall, catalog: &Catalog) -> Option<(usize, String)> {
    let mut found = None;
    for (i, argument) in call.args.iter().enumerate() {
        if free_columns(argument, catalog)?.is_empty() {
            continue;
        }
        let Some(NodeEnum::ColumnRef(column)) = &argument.node else {
            return None;
        };
        if found.is_some() {
            return None;
        }
        found = Some((i, (*column_path(column).last()?).to_owned()));
    }
    found
}

fn is_comparison(node: &Node, catalog: &Catalog) -> bool {
    compared_column(node, catalog).is_some()
}

/// The column of `column = known` or `column = any(known)`.
fn compared_column(node: &Node, catalog: &Catalog) -> Option<String> {
    let Some(NodeEnum::AExpr(e)) = &node.node else {
        return None;
    };
    let either = match e.kind() {
        AExprKind::AexprOp => true,
        AExprKind::AexprOpAny | AExprKind::AexprIn => false,
        _ => return None,
    };
    if !is_equality(&e.name) {
        return None;
    }
    let (left, right) = (e.lexpr.as_deref()?, e.rexpr.as_deref()?);
    let column = |node: &Node, other: &Node| match &node.node {
        Some(NodeEnum::ColumnRef(c)) if free_columns(other, catalog)?.is_empty() => {
            Some((*column_path(c).last()?).to_owned())
        }
        _ => None,
    };
    column(left, right).or_else(|| either.then(|| column(right, left)).flatten())
}
