//! Conditions and orders, sorted by the table of one FROM clause that they are about.

use super::{Access, OrderKey, Predicate};
use crate::model::{Catalog, Name, Table};
use crate::sql::scope::free_columns;
use crate::sql::tree::{
    IntoNode, column_path, is_equality, is_literal, print_expression, qualified, string,
};
use pg_query::protobuf::{AExprKind, BoolExprType, ColumnRef, SortByDir, SortByNulls};
use pg_query::{Node, NodeEnum};

/// The tables of one FROM clause, by alias.
pub(super) struct Scope<'a> {
    pub(super) relations: Vec<(String, Name)>,
    pub(super) catalog: &'a Catalog,
}

impl Scope<'_> {
    fn table(&self, at: usize) -> Option<&Table> {
        self.catalog.table(&self.relations.get(at)?.1)
    }

    /// The relation and name of a plain column, a cast to another type not being one.
    pub(super) fn column(&self, node: &Node) -> Option<(usize, String)> {
        let Some(NodeEnum::ColumnRef(reference)) = &node.node else {
            return None;
        };
        let path = column_path(reference);
        let column = (*path.last()?).to_owned();
        let mut at = self.relations.iter().enumerate().filter(|(i, (alias, _))| {
            let known = self.table(*i).is_some_and(|t| t.column(&column).is_some());
            known && (path.len() == 1 || path.iter().rev().nth(1) == Some(&alias.as_str()))
        });
        let (first, _) = at.next()?;
        at.next().is_none().then_some((first, column))
    }

    pub(super) fn classify(&self, condition: &Node, own: &mut [Access]) {
        self.test(condition, own);
        if let Some((at, predicate)) = self.predicate(condition)
            && let Some(access) = own.get_mut(at)
        {
            if predicate.equality {
                push(&mut access.equals, &predicate.column);
            }
            access.predicates.push(predicate);
            return;
        }
        let Some(NodeEnum::AExpr(e)) = &condition.node else {
            if let Some(NodeEnum::SubLink(link)) = &condition.node
                && let Some((at, column)) = link.testexpr.as_deref().and_then(|t| self.column(t))
            {
                own.get_mut(at)
                    .into_iter()
                    .for_each(|a| push(&mut a.equals, &column));
            }
            return;
        };
        let (_, operator) = qualified(&e.name);
        let equality = matches!(e.kind(), AExprKind::AexprIn) && operator == "="
            || matches!(e.kind(), AExprKind::AexprOp | AExprKind::AexprOpAny)
                && is_equality(&e.name);
        let range = matches!(e.kind(), AExprKind::AexprBetween)
            || e.kind() == AExprKind::AexprOp && matches!(operator, "<" | "<=" | ">" | ">=");
        let (Some(left), Some(right)) = (e.lexpr.as_deref(), e.rexpr.as_deref()) else {
            return;
        };
        for (side, other) in [(left, right), (right, left)] {
            let Some((at, column)) = self.column(side) else {
                continue;
            };
            let joined = self.depends(other);
            let Some(access) = own.get_mut(at) else {
                continue;
            };
            match (equality, range, joined) {
                (true, _, Some(false)) => push(&mut access.equals, &column),
                (true, _, Some(true)) => push(&mut access.joins, &column),
                (_, true, Some(false)) => push(&mut access.ranges, &column),
                _ => {}
            }
        }
    }

    /// Whether an expression needs a row of this FROM clause; `None` where it is not understood.
    pub(super) fn depends(&self, node: &Node) -> Option<bool> {
        let free = free_columns(node, self.catalog)?;
        Some(free.iter().any(|path| {
            let reference = ColumnRef {
                fields: path.iter().map(|p| string(p)).collect(),
                ..Default::default()
            };
            self.column(&NodeEnum::ColumnRef(reference).into_node())
                .is_some()
        }))
    }

    fn predicate(&self, condition: &Node) -> Option<(usize, Predicate)> {
        let (operand, equality) = match condition.node.as_ref()? {
            NodeEnum::NullTest(test) => (test.arg.as_deref()?, false),
            NodeEnum::AExpr(e) if e.kind() == AExprKind::AexprOp && is_equality(&e.name) => {
                let (left, right) = (e.lexpr.as_deref()?, e.rexpr.as_deref()?);
                if is_literal(right) {
                    (left, true)
                } else if is_literal(left) {
                    (right, true)
                } else {
                    return None;
                }
            }
            NodeEnum::ColumnRef(_) => (condition, false),
            NodeEnum::BoolExpr(e) if e.boolop() == BoolExprType::NotExpr => {
                (e.args.first()?, false)
            }
            _ => return None,
        };
        let (at, column) = self.column(operand)?;
        let text = print_expression(&bare(condition, &column)).ok()?;
        Some((
            at,
            Predicate {
                column,
                text,
                equality,
            },
        ))
    }

    pub(super) fn order(&self, sort: &[Node], own: &mut [Access]) {
        let mut keys: Vec<(usize, OrderKey)> = Vec::new();
        for node in sort {
            let Some(NodeEnum::SortBy(by)) = &node.node else {
                return;
            };
            let Some((at, column)) = by.node.as_deref().and_then(|n| self.column(n)) else {
                return;
            };
            let descending = by.sortby_dir() == SortByDir::SortbyDesc;
            let nulls_first = match by.sortby_nulls() {
                SortByNulls::SortbyNullsFirst => true,
                SortByNulls::SortbyNullsLast => false,
                _ => descending,
            };
            keys.push((
                at,
                OrderKey {
                    column,
                    descending,
                    nulls_first,
                },
            ));
        }
        let Some((first, _)) = keys.first() else {
            return;
        };
        if keys.iter().all(|(at, _)| at == first)
            && let Some(access) = own.get_mut(*first)
        {
            access.order = keys.into_iter().map(|(_, key)| key).collect();
        }
    }
}

/// The same condition with its column unqualified: an index predicate knows only its own table.
fn bare(condition: &Node, column: &str) -> Node {
    let mut copy = condition.clone();
    unqualify(&mut copy, column);
    copy
}

fn unqualify(node: &mut Node, column: &str) {
    if let Some(NodeEnum::ColumnRef(reference)) = &mut node.node {
        reference.fields = vec![string(column)];
    }
    for part in crate::sql::tree::parts_mut(node).unwrap_or_default() {
        unqualify(part, column);
    }
}

pub(super) fn push(list: &mut Vec<String>, column: &str) {
    if !list.iter().any(|c| c == column) {
        list.push(column.to_owned());
    }
}
