//! One walk over the parse tree: scopes, columns and calls.

use super::parts::{names, parts};
use super::{Call, ColumnUse, NotUnderstood, Qual, Relation, Scope, ScopeKind};
use crate::model::{Catalog, Name};
use crate::sql::expr::Expr;
use pg_query::protobuf::{RangeVar, SelectStmt, SubLink, SubLinkType};
use pg_query::{Node, NodeEnum};
use std::collections::BTreeSet;

/// What an expression touches.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    pub(super) columns: BTreeSet<ColumnUse>,
    pub(super) calls: Vec<usize>,
    pub(super) scopes: Vec<usize>,
}

pub(super) struct Walker<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) qual: Qual,
    /// Names of WITH queries in sight.
    with: Vec<String>,
}

/// The one target of a `select`, parsed.
pub(super) fn parse(select: &str) -> Result<Node, NotUnderstood> {
    let not_one = || NotUnderstood("not one expression".to_owned());
    let parsed = pg_query::parse(select, 0).map_err(|e| NotUnderstood(e.to_string()))?;
    let mut statements = parsed.protobuf.stmts.into_iter();
    let (Some(statement), None) = (statements.next(), statements.next()) else {
        return Err(not_one());
    };
    let Some(NodeEnum::SelectStmt(select)) = statement.stmt.and_then(|s| s.node) else {
        return Err(not_one());
    };
    let mut targets = select.target_list.into_iter();
    let (Some(target), None) = (targets.next(), targets.next()) else {
        return Err(not_one());
    };
    let Some(NodeEnum::ResTarget(target)) = target.node else {
        return Err(not_one());
    };
    target
        .val
        .map(|node| *node)
        .ok_or_else(|| NotUnderstood("empty expression".to_owned()))
}

/// Analyses an expression with `row` as the row around it.
pub(super) fn analyse(
    expression: &Node,
    row: Relation,
    catalog: &Catalog,
) -> Result<Qual, NotUnderstood> {
    let mut walker = Walker {
        catalog,
        qual: Qual::default(),
        with: Vec::new(),
    };
    walker.qual.scopes.push(Scope {
        relations: vec![row],
        ..Scope::default()
    });
    walker.qual.expr = Expr::of(expression)?;
    let filter = walker.clauses(expression, 0)?;
    walker.put_filter(0, filter);
    Ok(walker.qual)
}

impl Walker<'_> {
    pub(super) fn put_filter(&mut self, scope: usize, filter: Vec<super::Clause>) {
        if let Some(scope) = self.qual.scopes.get_mut(scope) {
            scope.filter.extend(filter);
        }
    }

    /// Walks an expression that stands in `scope`.
    pub(super) fn touch(&mut self, node: &Node, scope: usize) -> Result<Touched, NotUnderstood> {
        let Some(node) = node.node.as_ref() else {
            return Ok(Touched::default());
        };
        let mut touched = Touched::default();
        for part in parts(node)? {
            touched.add(self.touch(part, scope)?);
        }
        match node {
            NodeEnum::ColumnRef(column) => {
                touched
                    .columns
                    .extend(self.resolve(&names(&column.fields), scope));
            }
            NodeEnum::FuncCall(call) => {
                let (schema, name) = match names(&call.funcname).as_slice() {
                    [.., schema, name] if *schema != "pg_catalog" => {
                        ((*schema).to_owned(), (*name).to_owned())
                    }
                    [.., name] => (String::new(), (*name).to_owned()),
                    [] => return Err(NotUnderstood("a call without a name".to_owned())),
                };
                touched.calls.push(self.qual.calls.len());
                self.qual.calls.push(Call {
                    schema,
                    name,
                    arguments: call.args.len(),
                    columns: touched.columns.clone(),
                    scope,
                    in_from: false,
                });
            }
            NodeEnum::SubLink(link) => {
                let (number, inner) = self.sub_link(link, scope)?;
                touched.scopes.push(number);
                touched.add(inner);
            }
            _ => {}
        }
        Ok(touched)
    }

    fn sub_link(
        &mut self,
        link: &SubLink,
        scope: usize,
    ) -> Result<(usize, Touched), NotUnderstood> {
        let kind = match link.sub_link_type() {
            SubLinkType::ExistsSublink => ScopeKind::Exists,
            SubLinkType::AnySublink => ScopeKind::In,
            SubLinkType::AllSublink => ScopeKind::All,
            SubLinkType::ArraySublink => ScopeKind::Array,
            _ => ScopeKind::Value,
        };
        let select = link.subselect.as_ref().and_then(|s| s.node.as_ref());
        match select {
            Some(NodeEnum::SelectStmt(select)) => self.select(select, kind, scope),
            _ => Err(NotUnderstood("a sub-select that is no SELECT".to_owned())),
        }
    }

    /// Walks a sub-select that stands in `parent`; what it touches there and further out is returned.
    fn select(
        &mut self,
        select: &SelectStmt,
        kind: ScopeKind,
        parent: usize,
    ) -> Result<(usize, Touched), NotUnderstood> {
        let number = self.qual.scopes.len();
        self.qual.scopes.push(Scope {
            parent: Some(parent),
            kind,
            ..Scope::default()
        });
        let mut inner = Touched::default();
        let hidden = self.with.len();
        for cte in select.with_clause.iter().flat_map(|w| &w.ctes) {
            let Some(NodeEnum::CommonTableExpr(cte)) = &cte.node else {
                continue;
            };
            self.with.push(cte.ctename.clone());
            let query = cte.ctequery.as_ref().and_then(|q| q.node.as_ref());
            let Some(NodeEnum::SelectStmt(query)) = query else {
                return Err(NotUnderstood("a WITH query that is no SELECT".to_owned()));
            };
            inner.add(self.select(query, ScopeKind::Derived, number)?.1);
        }
        for side in [&select.larg, &select.rarg].into_iter().flatten() {
            inner.add(self.select(side, kind, number)?.1);
        }
        // All of FROM first: any part of it may name any other.
        let mut conditions = Vec::new();
        for item in &select.from_clause {
            self.walk_from_item(item, number, &mut inner, &mut conditions)?;
        }
        conditions.extend(select.where_clause.as_deref());
        for condition in conditions {
            inner.add(self.touch_filter(condition, number)?);
        }
        let single = [
            &select.having_clause,
            &select.limit_offset,
            &select.limit_count,
        ];
        let rest = select
            .target_list
            .iter()
            .chain(&select.group_clause)
            .chain(&select.sort_clause)
            .chain(&select.values_lists)
            .chain(&select.distinct_clause)
            .chain(single.into_iter().filter_map(|n| n.as_deref()));
        for node in rest {
            inner.add(self.touch(node, number)?);
        }
        self.with.truncate(hidden);
        inner.columns.retain(|c| c.scope < number);
        if let Some(scope) = self.qual.scopes.get_mut(number) {
            scope.correlated = !inner.columns.is_empty();
        }
        inner.scopes.clear();
        Ok((number, inner))
    }

    fn touch_filter(&mut self, node: &Node, scope: usize) -> Result<Touched, NotUnderstood> {
        let clauses = self.clauses(node, scope)?;
        let mut touched = Touched::default();
        touched.add_clauses(&clauses);
        self.put_filter(scope, clauses);
        Ok(touched)
    }

    fn walk_from_item<'n>(
        &mut self,
        node: &'n Node,
        scope: usize,
        inner: &mut Touched,
        conditions: &mut Vec<&'n Node>,
    ) -> Result<(), NotUnderstood> {
        match node.node.as_ref() {
            Some(NodeEnum::RangeVar(range)) => {
                let relation = self.relation(range);
                self.put_relation(scope, relation);
            }
            Some(NodeEnum::JoinExpr(join)) => {
                for side in [&join.larg, &join.rarg].into_iter().flatten() {
                    self.walk_from_item(side, scope, inner, conditions)?;
                }
                conditions.extend(join.quals.as_deref());
            }
            Some(NodeEnum::RangeSubselect(sub)) => {
                let query = sub.subquery.as_ref().and_then(|q| q.node.as_ref());
                let Some(NodeEnum::SelectStmt(query)) = query else {
                    return Err(NotUnderstood("a FROM item that is no SELECT".to_owned()));
                };
                inner.add(self.select(query, ScopeKind::Derived, scope)?.1);
                let alias = sub.alias.as_ref().map(|a| a.aliasname.clone());
                self.put_relation(scope, derived(alias.unwrap_or_default()));
            }
            Some(NodeEnum::RangeFunction(range)) => {
                let before = self.qual.calls.len();
                for item in &range.functions {
                    if let Some(NodeEnum::List(list)) = &item.node {
                        for part in list.items.iter().take(1) {
                            inner.add(self.touch(part, scope)?);
                        }
                    }
                }
                for call in self.qual.calls.iter_mut().skip(before) {
                    call.in_from |= call.scope == scope;
                }
                let alias = range.alias.as_ref().map(|a| a.aliasname.clone());
                self.put_relation(scope, derived(alias.unwrap_or_default()));
            }
            _ => return Err(NotUnderstood("a FROM item of an unknown kind".to_owned())),
        }
        Ok(())
    }

    fn put_relation(&mut self, scope: usize, relation: Relation) {
        if let Some(scope) = self.qual.scopes.get_mut(scope) {
            scope.relations.push(relation);
        }
    }

    fn relation(&self, range: &RangeVar) -> Relation {
        let alias = range
            .alias
            .as_ref()
            .map_or(&range.relname, |a| &a.aliasname);
        if range.schemaname.is_empty() && self.with.contains(&range.relname) {
            return derived(alias.clone());
        }
        let known = self.catalog.resolve(&range.schemaname, &range.relname);
        let name = known.map_or_else(
            || Name::new(&range.schemaname, &range.relname),
            |(name, _)| name.clone(),
        );
        Relation {
            alias: alias.clone(),
            table: Some(name),
        }
    }

    /// The innermost scope that knows the column.
    pub(super) fn resolve(&self, path: &[&str], scope: usize) -> Option<ColumnUse> {
        let (alias, column) = match path {
            [.., alias, column] => (Some(*alias), *column),
            [column] => (None, *column),
            [] => return None,
        };
        let mut at = Some(scope);
        while let Some(number) = at {
            let current = self.qual.scopes.get(number)?;
            let owner = current.relations.iter().find(|relation| match alias {
                Some(alias) => relation.alias == alias,
                None => match relation.table.as_ref().and_then(|t| self.catalog.table(t)) {
                    Some(table) => table.column(column).is_some(),
                    None => true,
                },
            });
            if let Some(relation) = owner {
                return Some(ColumnUse {
                    scope: number,
                    table: relation.table.clone(),
                    column: column.to_owned(),
                });
            }
            at = current.parent;
        }
        None
    }
}

fn derived(alias: String) -> Relation {
    Relation { alias, table: None }
}

impl Touched {
    pub(super) fn add(&mut self, other: Self) {
        self.columns.extend(other.columns);
        self.calls.extend(other.calls);
        self.scopes.extend(other.scopes);
    }

    fn add_clauses(&mut self, clauses: &[super::Clause]) {
        for clause in clauses {
            match clause {
                super::Clause::Test(test) => {
                    self.columns.extend(test.columns.iter().cloned());
                    self.calls.extend(&test.calls);
                    self.scopes.extend(&test.scopes);
                }
                super::Clause::AnyOf(branches) => {
                    for branch in branches {
                        self.add_clauses(branch);
                    }
                }
            }
        }
    }
}
