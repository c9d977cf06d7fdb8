//! What each `$n` of a statement stands for: the column it is compared with or assigned to, a limit, a value that is
//! only returned.

use super::tree::{
    IntoNode, Unreadable, column_path, names, parse_statement, parts, parts_mut, print_expression,
    string,
};
use crate::model::{Catalog, Name};
use pg_query::protobuf::{AExpr, AExprKind, SelectStmt, SubLink};
use pg_query::{Node, NodeEnum};
use std::collections::BTreeMap;

/// Where a placeholder stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Compared with an expression over one table's row.
    Compared {
        table: Name,
        /// Over the bare columns of the table.
        expression: String,
        /// The expression where it is a plain column.
        column: Option<String>,
        /// With the column on the left: `=`, `<`, `~~` for LIKE.
        operator: String,
        /// `expression = any ($1)`.
        list: bool,
    },
    /// `$1 = any (column)`.
    Element {
        table: Name,
        column: String,
    },
    /// `insert … values ($1)`, `set column = $1`.
    Assigned {
        table: Name,
        column: String,
        inserted: bool,
    },
    Limit {
        /// Of the statement itself, not of a part of it.
        outermost: bool,
    },
    Offset,
    /// A column of the result, as it is.
    Returned,
    /// A part of something else, which is named.
    Inside(String),
}

/// The places of every placeholder. An error says what kind of statement is not understood.
pub fn placeholders(sql: &str, catalog: &Catalog) -> Result<BTreeMap<u32, Vec<Place>>, Unreadable> {
    let mut walk = Walk {
        catalog,
        scopes: Vec::new(),
        found: BTreeMap::new(),
        returned: false,
        derived: false,
    };
    walk.statement(&parse_statement(sql)?)?;
    Ok(walk.found)
}

struct Walk<'a> {
    catalog: &'a Catalog,
    /// Alias and table of the relations in sight, the innermost scope last; `None` for what is no table.
    scopes: Vec<Vec<(String, Option<Name>)>>,
    found: BTreeMap<u32, Vec<Place>>,
    /// In the columns of a result, outside of its sub-selects.
    returned: bool,
    /// In a sub-select of FROM, whose columns are worked on.
    derived: bool,
}

impl Walk<'_> {
    fn put(&mut self, number: u32, place: Place) {
        self.found.entry(number).or_default().push(place);
    }

    fn statement(&mut self, node: &NodeEnum) -> Result<(), Unreadable> {
        self.scopes.push(Vec::new());
        match node {
            NodeEnum::SelectStmt(select) => self.select(select)?,
            NodeEnum::InsertStmt(insert) => self.insert(insert)?,
            NodeEnum::UpdateStmt(update) => self.update(update)?,
            NodeEnum::DeleteStmt(delete) => self.delete(delete)?,
            _ => {
                return Err(Unreadable(
                    "neither SELECT, INSERT, UPDATE nor DELETE".to_owned(),
                ));
            }
        }
        self.scopes.pop();
        Ok(())
    }

    fn with(&mut self, with: Option<&pg_query::protobuf::WithClause>) -> Result<(), Unreadable> {
        for cte in with.into_iter().flat_map(|w| &w.ctes) {
            if let Some(NodeEnum::CommonTableExpr(cte)) = &cte.node
                && let Some(query) = cte.ctequery.as_ref().and_then(|q| q.node.as_ref())
            {
                self.statement(query)?;
            }
        }
        Ok(())
    }

    fn select(&mut self, select: &SelectStmt) -> Result<(), Unreadable> {
        self.with(select.with_clause.as_ref())?;
        for side in [&select.larg, &select.rarg].into_iter().flatten() {
            self.scopes.push(Vec::new());
            self.select(side)?;
            self.scopes.pop();
        }
        for item in &select.from_clause {
            self.from(item)?;
        }
        let (returned, derived) = (self.returned, self.derived);
        self.returned = !derived;
        for target in &select.target_list {
            if let Some(NodeEnum::ResTarget(target)) = &target.node
                && let Some(value) = target.val.as_deref()
            {
                self.value(value, || {
                    if derived {
                        Place::Inside("a sub-select in FROM".to_owned())
                    } else {
                        Place::Returned
                    }
                })?;
            }
        }
        self.returned = false;
        self.maybe(select.where_clause.as_deref())?;
        self.opaque(select.having_clause.as_deref(), "HAVING")?;
        for list in [
            &select.group_clause,
            &select.sort_clause,
            &select.distinct_clause,
        ] {
            for node in list {
                self.opaque(Some(node), "GROUP BY or ORDER BY")?;
            }
        }
        for node in &select.values_lists {
            self.opaque(Some(node), "VALUES")?;
        }
        if let Some(limit) = select.limit_count.as_deref() {
            let outermost = self.scopes.len() == 1;
            self.value(limit, || Place::Limit { outermost })?;
        }
        if let Some(offset) = select.limit_offset.as_deref() {
            self.value(offset, || Place::Offset)?;
        }
        self.returned = returned;
        Ok(())
    }

    fn relation(&mut self, range: Option<&pg_query::protobuf::RangeVar>) -> Option<Name> {
        let range = range?;
        let known = self.catalog.resolve(&range.schemaname, &range.relname);
        let name = known.map(|(name, _)| name.clone());
        let alias = range
            .alias
            .as_ref()
            .map_or(&range.relname, |a| &a.aliasname);
        if let Some(scope) = self.scopes.last_mut() {
            scope.push((alias.clone(), name.clone()));
        }
        name
    }

    fn from(&mut self, item: &Node) -> Result<(), Unreadable> {
        match &item.node {
            Some(NodeEnum::RangeVar(range)) => {
                self.relation(Some(range));
            }
            Some(NodeEnum::JoinExpr(join)) => {
                for side in [&join.larg, &join.rarg].into_iter().flatten() {
                    self.from(side)?;
                }
                self.maybe(join.quals.as_deref())?;
            }
            Some(NodeEnum::RangeSubselect(sub)) => {
                if let Some(query) = sub.subquery.as_ref().and_then(|q| q.node.as_ref()) {
                    let around = std::mem::replace(&mut self.derived, true);
                    self.statement(query)?;
                    self.derived = around;
                }
                let alias = sub.alias.as_ref().map(|a| a.aliasname.clone());
                if let Some(scope) = self.scopes.last_mut() {
                    scope.push((alias.unwrap_or_default(), None));
                }
            }
            Some(NodeEnum::RangeFunction(range)) => {
                for item in &range.functions {
                    if let Some(NodeEnum::List(list)) = &item.node {
                        for part in list.items.iter().take(1) {
                            self.maybe(Some(part))?;
                        }
                    }
                }
            }
            _ => return Err(Unreadable("a FROM item of an unknown kind".to_owned())),
        }
        Ok(())
    }

    /// A value that is a placeholder itself has its `place`; in any other one they are looked for.
    fn value(&mut self, node: &Node, place: impl FnOnce() -> Place) -> Result<(), Unreadable> {
        match parameter(node) {
            Some(number) => {
                self.put(number, place());
                Ok(())
            }
            None => self.maybe(Some(node)),
        }
    }

    /// Placeholders of which only the clause is known.
    fn opaque(&mut self, node: Option<&Node>, clause: &str) -> Result<(), Unreadable> {
        let Some(node) = node else { return Ok(()) };
        if let Some(number) = parameter(node) {
            self.put(number, Place::Inside(clause.to_owned()));
            return Ok(());
        }
        if let Some(NodeEnum::SubLink(link)) = &node.node {
            return self.sub_link(link);
        }
        if let Some(NodeEnum::SortBy(sort)) = &node.node {
            return self.opaque(sort.node.as_deref(), clause);
        }
        for part in parts(node).unwrap_or_default() {
            self.opaque(Some(&part), clause)?;
        }
        Ok(())
    }

    fn maybe(&mut self, node: Option<&Node>) -> Result<(), Unreadable> {
        let Some(node) = node else { return Ok(()) };
        if self.returned && passes_through(node) {
            for part in parts(node).unwrap_or_default() {
                self.value(&part, || Place::Returned)?;
            }
            return Ok(());
        }
        let what = match &node.node {
            Some(NodeEnum::AExpr(e)) if self.comparison(e) => return Ok(()),
            Some(NodeEnum::AExpr(e)) => {
                let operator = names(&e.name).last().copied().unwrap_or_default();
                format!("the operator {operator}")
            }
            Some(NodeEnum::SubLink(link)) => return self.sub_link(link),
            Some(NodeEnum::FuncCall(call)) => {
                if let Some(filter) = call.agg_filter.as_deref() {
                    self.maybe(Some(filter))?;
                }
                for argument in &call.args {
                    let name = names(&call.funcname).join(".");
                    self.value(argument, || Place::Inside(format!("{name}()")))?;
                }
                return Ok(());
            }
            Some(NodeEnum::TypeCast(_) | NodeEnum::ParamRef(_)) if parameter(node).is_some() => {
                return self.value(node, || Place::Inside("a condition".to_owned()));
            }
            Some(NodeEnum::BoolExpr(_) | NodeEnum::TypeCast(_)) => "a condition".to_owned(),
            _ => "an expression".to_owned(),
        };
        let Some(parts) = parts(node) else {
            return Err(Unreadable("an expression of an unknown kind".to_owned()));
        };
        for part in parts {
            self.value(&part, || Place::Inside(what.clone()))?;
        }
        Ok(())
    }
}

mod compared;
mod written;

fn named(table: Option<Name>) -> (String, Option<Name>) {
    (
        table.as_ref().map(|t| t.name.clone()).unwrap_or_default(),
        table,
    )
}

/// COALESCE and NULLIF: their arguments are returned or not.
fn passes_through(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::CoalesceExpr(_)) => true,
        Some(NodeEnum::AExpr(e)) => e.kind() == AExprKind::AexprNullif,
        _ => false,
    }
}

/// The number of a placeholder, possibly cast.
fn parameter(node: &Node) -> Option<u32> {
    match node.node.as_ref()? {
        NodeEnum::ParamRef(p) => u32::try_from(p.number).ok(),
        NodeEnum::TypeCast(cast) => parameter(cast.arg.as_deref()?),
        NodeEnum::CollateClause(collate) => parameter(collate.arg.as_deref()?),
        _ => None,
    }
}
