//! Sub-selects.

use super::Expr;
use super::build::Builder;
use crate::sql::qual::{NotUnderstood, ScopeKind};
use crate::sql::tree::names;
use pg_query::protobuf::{JoinType, SelectStmt};
use pg_query::{Node, NodeEnum};

/// What a sub-select reads and asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Select {
    /// Tables and views in FROM, those of its derived tables and WITH queries left out.
    pub from: Vec<Source>,
    pub targets: Vec<Expr>,
    /// WHERE and the conditions of inner joins, as one conjunction.
    pub filter: Vec<Expr>,
    /// Everything else: other join conditions, grouping, order, limits, set functions.
    pub rest: Vec<Expr>,
    /// WITH queries, derived tables and the sides of UNION and its like.
    pub inner: Vec<Select>,
    /// Something decides over its rows besides FROM and WHERE: grouping, limits, a set operation.
    pub shaped: bool,
    /// GROUP BY or HAVING, by which an aggregate may have several rows, or none.
    pub grouped: bool,
    /// LIMIT or FETCH FIRST.
    pub limited: bool,
    pub ordered: bool,
}

/// A relation as it is written in FROM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Empty where it is not given.
    pub schema: String,
    pub name: String,
    /// A function in FROM has no name.
    pub alias: String,
}

impl Select {
    /// Every expression directly in it or in its inner selects.
    pub fn parts(&self) -> Vec<&Expr> {
        let own = self.targets.iter().chain(&self.filter).chain(&self.rest);
        own.chain(self.inner.iter().flat_map(|s| s.parts()))
            .collect()
    }

    /// Every relation read, by inner selects too.
    pub fn sources(&self) -> Vec<&Source> {
        let inner = self.inner.iter().flat_map(Select::sources);
        self.from.iter().chain(inner).collect()
    }

    /// `select value`, and nothing else.
    pub(super) fn is_plain_value(&self) -> bool {
        self.from.is_empty()
            && self.filter.is_empty()
            && self.rest.is_empty()
            && self.inner.is_empty()
            && !self.shaped
    }
}

impl Builder {
    pub(super) fn select(&mut self, select: &SelectStmt) -> Result<Select, NotUnderstood> {
        let before = self.aliases.len();
        let with_before = self.with.len();
        let mut built = Select {
            shaped: select.larg.is_some()
                || !select.group_clause.is_empty()
                || select.having_clause.is_some()
                || select.limit_count.is_some()
                || select.limit_offset.is_some()
                || !select.values_lists.is_empty(),
            grouped: !select.group_clause.is_empty() || select.having_clause.is_some(),
            limited: select.limit_count.is_some(),
            ordered: !select.sort_clause.is_empty(),
            ..Select::default()
        };
        for cte in select.with_clause.iter().flat_map(|w| &w.ctes) {
            if let Some(NodeEnum::CommonTableExpr(cte)) = &cte.node {
                self.with.push(cte.ctename.clone());
                let query = cte.ctequery.as_ref().and_then(|q| q.node.as_ref());
                let Some(NodeEnum::SelectStmt(query)) = query else {
                    return Err(NotUnderstood("a WITH query that is no SELECT".to_owned()));
                };
                built.inner.push(self.select(query)?);
            }
        }
        for side in [&select.larg, &select.rarg].into_iter().flatten() {
            built.inner.push(self.select(side)?);
        }
        // Conditions may name any relation of FROM, so the relations come first.
        for item in &select.from_clause {
            self.name_relations(item);
        }
        for item in &select.from_clause {
            self.read_item(item, true, &mut built)?;
        }
        for target in &select.target_list {
            if let Some(NodeEnum::ResTarget(target)) = &target.node
                && let Some(value) = target.val.as_deref()
            {
                built.targets.push(self.expr(value)?);
            }
        }
        if let Some(condition) = select.where_clause.as_deref() {
            built.filter.push(self.expr(condition)?);
        }
        let single = [
            &select.having_clause,
            &select.limit_offset,
            &select.limit_count,
        ];
        let rest = select
            .group_clause
            .iter()
            .chain(&select.sort_clause)
            .chain(&select.values_lists)
            .chain(&select.distinct_clause)
            .chain(single.into_iter().filter_map(|n| n.as_deref()));
        for node in rest {
            built.rest.push(self.expr(node)?);
        }
        self.aliases.truncate(before);
        self.with.truncate(with_before);
        Ok(built)
    }

    fn name_relations(&mut self, item: &Node) {
        let alias = match &item.node {
            Some(NodeEnum::RangeVar(range)) => Some(
                range
                    .alias
                    .as_ref()
                    .map_or(&range.relname, |a| &a.aliasname)
                    .clone(),
            ),
            Some(NodeEnum::RangeSubselect(sub)) => sub.alias.as_ref().map(|a| a.aliasname.clone()),
            Some(NodeEnum::RangeFunction(f)) => f.alias.as_ref().map(|a| a.aliasname.clone()),
            Some(NodeEnum::JoinExpr(join)) => {
                for side in [&join.larg, &join.rarg].into_iter().flatten() {
                    self.name_relations(side);
                }
                join.alias.as_ref().map(|a| a.aliasname.clone())
            }
            _ => None,
        };
        self.aliases.extend(alias);
    }

    /// `inner` while every join above is an inner one, so that its conditions narrow the result.
    fn read_item(
        &mut self,
        item: &Node,
        inner: bool,
        built: &mut Select,
    ) -> Result<(), NotUnderstood> {
        match &item.node {
            Some(NodeEnum::RangeVar(range)) => {
                let is_with = range.schemaname.is_empty() && self.with.contains(&range.relname);
                built.from.push(Source {
                    schema: range.schemaname.clone(),
                    name: if is_with {
                        String::new()
                    } else {
                        range.relname.clone()
                    },
                    alias: range
                        .alias
                        .as_ref()
                        .map_or(&range.relname, |a| &a.aliasname)
                        .clone(),
                });
            }
            Some(NodeEnum::JoinExpr(join)) => {
                let inner = inner && join.jointype() == JoinType::JoinInner;
                for side in [&join.larg, &join.rarg].into_iter().flatten() {
                    self.read_item(side, inner, built)?;
                }
                if let Some(condition) = join.quals.as_deref() {
                    let condition = self.expr(condition)?;
                    if inner {
                        built.filter.push(condition);
                    } else {
                        built.rest.push(condition);
                    }
                }
            }
            Some(NodeEnum::RangeSubselect(sub)) => {
                let query = sub.subquery.as_ref().and_then(|q| q.node.as_ref());
                let Some(NodeEnum::SelectStmt(query)) = query else {
                    return Err(NotUnderstood("a FROM item that is no SELECT".to_owned()));
                };
                built.inner.push(self.select(query)?);
                built.from.push(Source {
                    alias: sub
                        .alias
                        .as_ref()
                        .map_or_else(String::new, |a| a.aliasname.clone()),
                    ..Source::default()
                });
            }
            Some(NodeEnum::RangeFunction(range)) => {
                for item in &range.functions {
                    if let Some(NodeEnum::List(list)) = &item.node {
                        for part in list.items.iter().take(1) {
                            built.rest.push(self.expr(part)?);
                        }
                    }
                }
                built.from.push(Source {
                    alias: range
                        .alias
                        .as_ref()
                        .map_or_else(String::new, |a| a.aliasname.clone()),
                    ..Source::default()
                });
            }
            _ => return Err(NotUnderstood("a FROM item of an unknown kind".to_owned())),
        }
        Ok(())
    }

    pub(super) fn sub_link(
        &mut self,
        link: &pg_query::protobuf::SubLink,
    ) -> Result<Expr, NotUnderstood> {
        use pg_query::protobuf::SubLinkType;
        let kind = match link.sub_link_type() {
            SubLinkType::ExistsSublink => ScopeKind::Exists,
            SubLinkType::AnySublink => ScopeKind::In,
            SubLinkType::AllSublink => ScopeKind::All,
            SubLinkType::ArraySublink => ScopeKind::Array,
            _ => ScopeKind::Value,
        };
        let test = match link.testexpr.as_deref() {
            Some(test) => {
                let operator = names(&link.oper_name).last().map_or("=", |o| *o).to_owned();
                Some((self.expr(test)?, operator))
            }
            None => None,
        };
        let query = link.subselect.as_ref().and_then(|s| s.node.as_ref());
        let Some(NodeEnum::SelectStmt(query)) = query else {
            return Err(NotUnderstood("a sub-select that is no SELECT".to_owned()));
        };
        let select = self.select(query)?;
        Ok(Expr::SubSelect(Box::new(super::SubSelect {
            kind,
            test,
            select,
        })))
    }
}
