//! The clauses of a SELECT.

use super::parts::{alias, empty};
use super::{Known, all, expression, maybe, one};
use pg_query::protobuf::{
    JoinExpr, RangeFunction, RangeSubselect, RangeVar, ResTarget, SelectStmt, SetOperation, SortBy,
};
use pg_query::{Node, NodeEnum};

/// The parts of a SELECT whose rows are those of FROM that the condition admits, each once.
pub(in crate::sql::rewrite) struct Plain<'a> {
    pub targets: &'a [Node],
    pub from: &'a [Node],
    pub condition: Option<&'a Node>,
}

/// Whether every clause is one that is walked: kept as a whole, the SELECT means what it meant.
pub(super) fn walked(select: &SelectStmt) -> Known {
    let SelectStmt {
        distinct_clause,
        into_clause,
        target_list,
        from_clause,
        where_clause,
        group_clause,
        group_distinct,
        having_clause,
        window_clause,
        values_lists,
        sort_clause,
        limit_offset,
        limit_count,
        limit_option: _,
        locking_clause,
        with_clause,
        op: _,
        all: _,
        larg,
        rarg,
    } = select;
    if with_clause.is_some() {
        return Err("a sub-select has a WITH clause");
    }
    if into_clause.is_some() || !locking_clause.is_empty() || !window_clause.is_empty() {
        return Err("a sub-select has INTO, WINDOW or a clause that locks rows");
    }
    if *group_distinct {
        return Err("a sub-select has GROUP BY DISTINCT");
    }
    target_list
        .iter()
        .try_for_each(|node| value(node).and_then(target_value))?;
    from_clause.iter().try_for_each(from)?;
    for part in [where_clause, having_clause, limit_offset, limit_count] {
        maybe(part.as_deref())?;
    }
    // DISTINCT without ON holds one empty node.
    distinct_clause
        .iter()
        .filter(|n| n.node.is_some())
        .try_for_each(expression)?;
    all(group_clause)?;
    all(values_lists)?;
    sort_clause.iter().try_for_each(sorted)?;
    [larg, rarg]
        .into_iter()
        .flatten()
        .try_for_each(|side| walked(side))
}

/// Takes a SELECT apart; its order and plain DISTINCT are not asked for.
pub(in crate::sql::rewrite) fn plain(select: &SelectStmt) -> Known<Plain<'_>> {
    walked(select)?;
    let SelectStmt {
        distinct_clause,
        into_clause: None,
        target_list,
        from_clause,
        where_clause,
        group_clause,
        group_distinct: false,
        having_clause,
        window_clause,
        values_lists,
        sort_clause,
        limit_offset,
        limit_count,
        limit_option: _,
        locking_clause,
        with_clause: None,
        op: _,
        all: false,
        larg: None,
        rarg: None,
    } = select
    else {
        return Err("a sub-select has WITH, INTO or UNION");
    };
    if distinct_clause.iter().any(|n| n.node.is_some()) {
        return Err("a sub-select has DISTINCT ON");
    }
    if select.op() != SetOperation::SetopNone || !values_lists.is_empty() {
        return Err("a sub-select has UNION or VALUES");
    }
    if !group_clause.is_empty() || having_clause.is_some() || !window_clause.is_empty() {
        return Err("a sub-select has GROUP BY or HAVING");
    }
    if limit_offset.is_some() || limit_count.is_some() {
        return Err("a sub-select has LIMIT or OFFSET");
    }
    if !locking_clause.is_empty() || !sort_clause.is_empty() {
        return Err("a sub-select has ORDER BY or locks rows");
    }
    Ok(Plain {
        targets: target_list,
        from: from_clause,
        condition: where_clause.as_deref(),
    })
}

/// The value of `select value`, a SELECT that is nothing else.
pub(in crate::sql::rewrite) fn only_value(select: &SelectStmt) -> Known<&Node> {
    let Plain {
        targets,
        from,
        condition,
    } = plain(select)?;
    if !select.distinct_clause.is_empty() {
        return Err("a SELECT has DISTINCT");
    }
    match (targets, from, condition) {
        ([one], [], None) => value(one)?.ok_or("a SELECT has no value"),
        _ => Err("a SELECT is more than one value"),
    }
}

/// What a target gives; its name does not matter.
fn value(target: &Node) -> Known<Option<&Node>> {
    match &target.node {
        Some(NodeEnum::ResTarget(target)) => {
            let ResTarget {
                name: _,
                indirection,
                val,
                location: _,
            } = &**target;
            empty(indirection)?;
            Ok(val.as_deref())
        }
        _ => Err("a sub-select has a target that is not known"),
    }
}

/// `*` is a target of its own.
fn target_value(value: Option<&Node>) -> Known {
    match value.map(|v| &v.node) {
        None | Some(Some(NodeEnum::ColumnRef(_))) => Ok(()),
        _ => maybe(value),
    }
}

fn sorted(node: &Node) -> Known {
    match &node.node {
        Some(NodeEnum::SortBy(sort)) => {
            let SortBy {
                node,
                sortby_dir: _,
                sortby_nulls: _,
                use_op,
                location: _,
            } = &**sort;
            empty(use_op)?;
            one(node.as_deref())
        }
        _ => Err("a sub-select has an order that is not known"),
    }
}

fn from(node: &Node) -> Known {
    match &node.node {
        Some(NodeEnum::RangeVar(range)) => table(range),
        Some(NodeEnum::JoinExpr(join)) => joined(join),
        Some(NodeEnum::RangeSubselect(sub)) => {
            let RangeSubselect {
                lateral,
                subquery,
                alias: named,
            } = &**sub;
            if *lateral {
                return Err("a sub-select has LATERAL");
            }
            alias(named.as_ref())?;
            match subquery.as_deref().and_then(|s| s.node.as_ref()) {
                Some(NodeEnum::SelectStmt(select)) => walked(select),
                _ => Err("it holds a sub-select that is no SELECT"),
            }
        }
        Some(NodeEnum::RangeFunction(function)) => {
            let RangeFunction {
                lateral,
                ordinality,
                is_rowsfrom,
                functions,
                alias: _,
                coldeflist,
            } = function;
            if *lateral || *ordinality || *is_rowsfrom || !coldeflist.is_empty() {
                return Err("a sub-select has LATERAL, ORDINALITY or ROWS FROM");
            }
            functions.iter().try_for_each(|item| match &item.node {
                // The call, and a definition of its columns, which is empty.
                Some(NodeEnum::List(list)) => match list.items.as_slice() {
                    [call, rest @ ..] if rest.iter().all(|n| n.node.is_none()) => expression(call),
                    _ => Err("a function in FROM defines columns"),
                },
                _ => Err("it holds a function in FROM that is not known"),
            })
        }
        _ => Err("a sub-select has TABLESAMPLE or another kind of FROM that is not known"),
    }
}

fn table(range: &RangeVar) -> Known {
    let RangeVar {
        catalogname,
        schemaname: _,
        relname: _,
        inh,
        relpersistence,
        alias: named,
        location: _,
    } = range;
    alias(named.as_ref())?;
    if !inh {
        return Err("a sub-select reads ONLY a table");
    }
    if !catalogname.is_empty() || relpersistence != "p" {
        return Err("a sub-select reads a relation that is not known");
    }
    Ok(())
}

fn joined(join: &JoinExpr) -> Known {
    let JoinExpr {
        jointype: _,
        is_natural,
        larg,
        rarg,
        using_clause,
        join_using_alias,
        quals,
        alias,
        rtindex: _,
    } = join;
    if *is_natural || join_using_alias.is_some() || alias.is_some() || !using_clause.is_empty() {
        return Err("a join is NATURAL, has USING or an alias");
    }
    for side in [larg, rarg] {
        from(side.as_deref().ok_or("a join lacks a side")?)?;
    }
    maybe(quals.as_deref())
}
