//! What a rewrite understands of a parse tree, field by field.
//!
//! Every kind of node is taken apart without `..`: a field that a newer grammar adds does not compile until somebody
//! says what becomes of it. A field that is not handled must be empty, and a kind of node that is not listed is refused.

mod parts;
mod select;
#[cfg(test)]
mod tests;

pub(super) use select::{Plain, only_value, plain};

use pg_query::protobuf::{
    AArrayExpr, AConst, AExpr, AExprKind, AIndices, AIndirection, BoolExpr, BooleanTest, CaseExpr,
    CaseWhen, CoalesceExpr, CollateClause, ColumnRef, FuncCall, List, MinMaxExpr, NamedArgExpr,
    NullTest, ParamRef, RowExpr, SqlValueFunction, SubLink, SubLinkType, TypeCast,
};
use pg_query::{Node, NodeEnum};

/// What is not understood, in words that complete "it is left as it is: …".
pub(super) type Known<T = ()> = Result<T, &'static str>;

/// Whether everything in `node` is of a kind that is walked completely, sub-selects too.
pub(super) fn expression(node: &Node) -> Known {
    let Node { node } = node;
    match node.as_ref().ok_or("it holds an empty node")? {
        NodeEnum::ColumnRef(ColumnRef {
            fields,
            location: _,
        }) => parts::strings(fields).map_err(|_| "it reads a whole row"),
        NodeEnum::AConst(AConst {
            isnull: _,
            location: _,
            val: _,
        })
        | NodeEnum::ParamRef(ParamRef {
            number: _,
            location: _,
        }) => Ok(()),
        NodeEnum::SqlvalueFunction(f) => {
            let SqlValueFunction {
                xpr,
                op: _,
                r#type: _,
                typmod: _,
                location: _,
            } = &**f;
            parts::nothing(xpr.as_deref())
        }
        NodeEnum::AExpr(e) => operator(e),
        NodeEnum::SubLink(link) => sub_link(link),
        NodeEnum::FuncCall(call) => function(call),
        NodeEnum::TypeCast(cast) => {
            let TypeCast {
                arg,
                type_name,
                location: _,
            } = &**cast;
            parts::type_name(type_name.as_ref())?;
            one(arg.as_deref())
        }
        NodeEnum::CollateClause(clause) => {
            let CollateClause {
                arg,
                collname,
                location: _,
            } = &**clause;
            parts::strings(collname)?;
            one(arg.as_deref())
        }
        NodeEnum::List(List { items }) => all(items),
        other => composed(other),
    }
}

/// Expressions that are nothing but their parts.
fn composed(node: &NodeEnum) -> Known {
    match node {
        NodeEnum::BoolExpr(e) => {
            let BoolExpr {
                xpr,
                boolop: _,
                args,
                location: _,
            } = &**e;
            parts::nothing(xpr.as_deref())?;
            all(args)
        }
        NodeEnum::NamedArgExpr(e) => {
            let NamedArgExpr {
                xpr,
                arg,
                name: _,
                argnumber: _,
                location: _,
            } = &**e;
            parts::nothing(xpr.as_deref())?;
            one(arg.as_deref())
        }
        NodeEnum::CoalesceExpr(e) => {
            let CoalesceExpr {
                xpr,
                coalescetype: _,
                coalescecollid: _,
                args,
                location: _,
            } = &**e;
            parts::nothing(xpr.as_deref())?;
            all(args)
        }
        NodeEnum::MinMaxExpr(e) => {
            let MinMaxExpr {
                xpr,
                minmaxtype: _,
                minmaxcollid: _,
                inputcollid: _,
                op: _,
                args,
                location: _,
            } = &**e;
            parts::nothing(xpr.as_deref())?;
            all(args)
        }
        NodeEnum::AArrayExpr(AArrayExpr {
            elements,
            list_start: _,
            list_end: _,
            location: _,
        }) => all(elements),
        NodeEnum::RowExpr(e) => {
            let RowExpr {
                xpr,
                args,
                row_typeid: _,
                row_format: _,
                colnames,
                location: _,
            } = &**e;
            parts::nothing(xpr.as_deref())?;
            parts::empty(colnames)?;
            all(args)
        }
        NodeEnum::NullTest(e) => {
            let NullTest {
                xpr,
                arg,
                nulltesttype: _,
                argisrow: _,
                location: _,
            } = &**e;
            parts::nothing(xpr.as_deref())?;
            one(arg.as_deref())
        }
        NodeEnum::BooleanTest(e) => {
            let BooleanTest {
                xpr,
                arg,
                booltesttype: _,
                location: _,
            } = &**e;
            parts::nothing(xpr.as_deref())?;
            one(arg.as_deref())
        }
        other => branching(other),
    }
}

fn branching(node: &NodeEnum) -> Known {
    match node {
        NodeEnum::CaseExpr(e) => {
            let CaseExpr {
                xpr,
                casetype: _,
                casecollid: _,
                arg,
                args,
                defresult,
                location: _,
            } = &**e;
            parts::nothing(xpr.as_deref())?;
            maybe(arg.as_deref())?;
            maybe(defresult.as_deref())?;
            all(args)
        }
        NodeEnum::CaseWhen(e) => {
            let CaseWhen {
                xpr,
                expr,
                result,
                location: _,
            } = &**e;
            parts::nothing(xpr.as_deref())?;
            one(expr.as_deref())?;
            one(result.as_deref())
        }
        NodeEnum::AIndirection(e) => {
            let AIndirection { arg, indirection } = &**e;
            one(arg.as_deref())?;
            indirection.iter().try_for_each(|step| match &step.node {
                Some(NodeEnum::String(_)) => Ok(()),
                Some(NodeEnum::AIndices(i)) => {
                    let AIndices {
                        is_slice: _,
                        lidx,
                        uidx,
                    } = &**i;
                    maybe(lidx.as_deref())?;
                    maybe(uidx.as_deref())
                }
                _ => Err("it takes every field of a value"),
            })
        }
        _ => Err("it holds a kind of expression that is not known"),
    }
}

fn operator(e: &AExpr) -> Known {
    let AExpr {
        kind: _,
        name,
        lexpr,
        rexpr,
        rexpr_list_start: _,
        rexpr_list_end: _,
        location: _,
    } = e;
    match e.kind() {
        AExprKind::AexprOp
        | AExprKind::AexprOpAny
        | AExprKind::AexprOpAll
        | AExprKind::AexprDistinct
        | AExprKind::AexprNotDistinct
        | AExprKind::AexprNullif
        | AExprKind::AexprIn
        | AExprKind::AexprLike
        | AExprKind::AexprIlike
        | AExprKind::AexprSimilar
        | AExprKind::AexprBetween
        | AExprKind::AexprNotBetween
        | AExprKind::AexprBetweenSym
        | AExprKind::AexprNotBetweenSym => {}
        AExprKind::Undefined => return Err("it holds a kind of operator that is not known"),
    }
    parts::strings(name)?;
    maybe(lexpr.as_deref())?;
    maybe(rexpr.as_deref())
}

fn function(call: &FuncCall) -> Known {
    let FuncCall {
        funcname,
        args,
        agg_order,
        agg_filter,
        over,
        agg_within_group,
        agg_star: _,
        agg_distinct,
        func_variadic: _,
        funcformat: _,
        location: _,
    } = call;
    let aggregate = !agg_order.is_empty() || agg_filter.is_some() || *agg_within_group;
    if aggregate || *agg_distinct || over.is_some() {
        return Err("it calls a function with FILTER, ORDER BY, DISTINCT, WITHIN GROUP or OVER");
    }
    parts::strings(funcname)?;
    all(args)
}

fn sub_link(link: &SubLink) -> Known {
    let SubLink {
        xpr,
        sub_link_type: _,
        sub_link_id: _,
        testexpr,
        oper_name,
        subselect,
        location: _,
    } = link;
    match link.sub_link_type() {
        SubLinkType::ExistsSublink
        | SubLinkType::AllSublink
        | SubLinkType::AnySublink
        | SubLinkType::ExprSublink
        | SubLinkType::ArraySublink => {}
        SubLinkType::Undefined
        | SubLinkType::RowcompareSublink
        | SubLinkType::MultiexprSublink
        | SubLinkType::CteSublink => return Err("it holds a kind of sub-select that is not known"),
    }
    parts::nothing(xpr.as_deref())?;
    parts::strings(oper_name)?;
    maybe(testexpr.as_deref())?;
    match subselect.as_deref().and_then(|s| s.node.as_ref()) {
        Some(NodeEnum::SelectStmt(select)) => select::walked(select),
        _ => Err("it holds a sub-select that is no SELECT"),
    }
}

fn one(node: Option<&Node>) -> Known {
    expression(node.ok_or("a part of it is missing")?)
}

fn maybe(node: Option<&Node>) -> Known {
    node.map_or(Ok(()), expression)
}

fn all(nodes: &[Node]) -> Known {
    nodes.iter().try_for_each(expression)
}
