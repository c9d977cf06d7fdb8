//! From the parser's tree.

use super::{Call, Column, Compare, Expr, How};
use crate::sql::qual::NotUnderstood;
use crate::sql::tree::{names, qualified};
use pg_query::protobuf::{
    AConst, AExpr, AExprKind, BoolExprType, BoolTestType, ColumnRef, FuncCall, NullTestType,
    SqlValueFunctionOp, a_const,
};
use pg_query::{Node, NodeEnum};

/// Knows which names belong to the sub-selects around a node.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) aliases: Vec<String>,
    pub(super) with: Vec<String>,
}

impl Expr {
    /// From a node that stands in no sub-select.
    pub(in crate::sql) fn of(node: &Node) -> Result<Self, NotUnderstood> {
        Builder::default().expr(node)
    }
}

impl Builder {
    pub(super) fn expr(&mut self, node: &Node) -> Result<Expr, NotUnderstood> {
        let Some(node) = node.node.as_ref() else {
            return Ok(Expr::Null);
        };
        Ok(match node {
            NodeEnum::AConst(constant) => literal(constant),
            NodeEnum::ColumnRef(reference) => self.column(reference),
            NodeEnum::ParamRef(p) => Expr::Parameter(usize::try_from(p.number).unwrap_or_default()),
            NodeEnum::SqlvalueFunction(f) => Expr::Keyword(keyword(f.op())),
            NodeEnum::FuncCall(call) => self.call(call)?,
            NodeEnum::AExpr(e) => self.operator(e)?,
            NodeEnum::BoolExpr(e) => {
                let mut all = self.all(&e.args)?;
                match e.boolop() {
                    BoolExprType::AndExpr => Expr::And(all),
                    BoolExprType::OrExpr => Expr::Or(all),
                    _ => Expr::Not(Box::new(all.pop().unwrap_or(Expr::Null))),
                }
            }
            NodeEnum::NullTest(e) => {
                let test = Expr::IsNull(Box::new(self.maybe(e.arg.as_deref())?));
                if e.nulltesttype() == NullTestType::IsNotNull {
                    Expr::Not(Box::new(test))
                } else {
                    test
                }
            }
            NodeEnum::BooleanTest(e) => {
                let (value, negated) = match e.booltesttype() {
                    BoolTestType::IsNotTrue => (Some(true), true),
                    BoolTestType::IsFalse => (Some(false), false),
                    BoolTestType::IsNotFalse => (Some(false), true),
                    BoolTestType::IsUnknown => (None, false),
                    BoolTestType::IsNotUnknown => (None, true),
                    BoolTestType::IsTrue | BoolTestType::Undefined => (Some(true), false),
                };
                let test = Expr::Is(Box::new(self.maybe(e.arg.as_deref())?), value);
                if negated {
                    Expr::Not(Box::new(test))
                } else {
                    test
                }
            }
            NodeEnum::CoalesceExpr(e) => Expr::Coalesce(self.all(&e.args)?),
            NodeEnum::CaseExpr(e) => {
                let mut branches = Vec::new();
                for when in &e.args {
                    if let Some(NodeEnum::CaseWhen(when)) = &when.node {
                        let condition = self.maybe(when.expr.as_deref())?;
                        branches.push((condition, self.maybe(when.result.as_deref())?));
                    }
                }
                let subject = self.optional(e.arg.as_deref())?;
                Expr::Case(subject, branches, self.optional(e.defresult.as_deref())?)
            }
            NodeEnum::TypeCast(cast) => {
                let to = cast.type_name.as_ref().map(|t| names(&t.names));
                let array = cast
                    .type_name
                    .as_ref()
                    .is_some_and(|t| !t.array_bounds.is_empty());
                let name = to.and_then(|n| n.last().copied()).unwrap_or_default();
                let name = if array {
                    format!("{name}[]")
                } else {
                    name.to_owned()
                };
                Expr::Cast(Box::new(self.maybe(cast.arg.as_deref())?), name)
            }
            NodeEnum::CollateClause(e) => self.maybe(e.arg.as_deref())?,
            NodeEnum::NamedArgExpr(e) => self.maybe(e.arg.as_deref())?,
            NodeEnum::AArrayExpr(e) => Expr::Array(self.all(&e.elements)?),
            NodeEnum::SubLink(link) => self.sub_link(link)?,
            other => {
                let parts = crate::sql::qual::parts(other)?;
                Expr::Other(
                    parts
                        .into_iter()
                        .map(|p| self.expr(p))
                        .collect::<Result<_, _>>()?,
                )
            }
        })
    }

    fn all(&mut self, nodes: &[Node]) -> Result<Vec<Expr>, NotUnderstood> {
        nodes.iter().map(|n| self.expr(n)).collect()
    }

    fn maybe(&mut self, node: Option<&Node>) -> Result<Expr, NotUnderstood> {
        node.map_or(Ok(Expr::Null), |n| self.expr(n))
    }

    fn optional(&mut self, node: Option<&Node>) -> Result<Option<Box<Expr>>, NotUnderstood> {
        node.map(|n| self.expr(n).map(Box::new)).transpose()
    }

    fn column(&self, reference: &ColumnRef) -> Expr {
        let path = names(&reference.fields);
        let (relation, name) = match path.as_slice() {
            [.., relation, name] => (*relation, *name),
            [name] => ("", *name),
            [] => return Expr::Other(Vec::new()),
        };
        // The server qualifies every column of a sub-select, so a bare one outside belongs to the row.
        let row = if relation.is_empty() {
            self.aliases.is_empty()
        } else {
            !self.aliases.iter().any(|a| a == relation)
        };
        Expr::Column(Column {
            row,
            relation: relation.to_owned(),
            name: name.to_owned(),
        })
    }

    fn call(&mut self, call: &FuncCall) -> Result<Expr, NotUnderstood> {
        let (schema, name) = qualified(&call.funcname);
        let schema = if schema == "pg_catalog" { "" } else { schema };
        let mut arguments = self.all(&call.args)?;
        let mut extra = self.all(&call.agg_order)?;
        extra.extend(
            call.agg_filter
                .as_deref()
                .map(|f| self.expr(f))
                .transpose()?,
        );
        if !extra.is_empty() {
            arguments.push(Expr::Other(extra));
        }
        Ok(Expr::Call(Call {
            schema: schema.to_owned(),
            name: name.to_owned(),
            arguments,
        }))
    }

    fn operator(&mut self, e: &AExpr) -> Result<Expr, NotUnderstood> {
        let operator = names(&e.name).last().map_or("", |o| *o).to_owned();
        let right = self.maybe(e.rexpr.as_deref())?;
        let Some(left) = e.lexpr.as_deref() else {
            return Ok(Expr::Prefix(operator, Box::new(right)));
        };
        let left = self.expr(left)?;
        let how = match e.kind() {
            AExprKind::AexprOpAny => How::Any,
            AExprKind::AexprOpAll => How::All,
            AExprKind::AexprDistinct | AExprKind::AexprNotDistinct => How::Distinct,
            AExprKind::AexprNullif => How::NullIf,
            // NOT IN is `<>` of all.
            AExprKind::AexprIn if operator == "<>" => How::All,
            AExprKind::AexprIn => How::Any,
            AExprKind::AexprBetween
            | AExprKind::AexprNotBetween
            | AExprKind::AexprBetweenSym
            | AExprKind::AexprNotBetweenSym => return Ok(Expr::Other(vec![left, right])),
            _ => How::Plain,
        };
        let right = match right {
            Expr::Other(items) if e.kind() == AExprKind::AexprIn => Expr::Array(items),
            right => right,
        };
        let compare = Expr::Compare(Box::new(Compare {
            how,
            operator,
            left,
            right,
        }));
        Ok(if e.kind() == AExprKind::AexprNotDistinct {
            Expr::Not(Box::new(compare))
        } else {
            compare
        })
    }
}

fn literal(constant: &AConst) -> Expr {
    match &constant.val {
        Some(a_const::Val::Boolval(b)) => Expr::Bool(b.boolval),
        Some(a_const::Val::Ival(n)) => Expr::Number(n.ival.to_string()),
        Some(a_const::Val::Fval(n)) => Expr::Number(n.fval.clone()),
        Some(a_const::Val::Sval(s)) => Expr::Text(s.sval.clone()),
        Some(a_const::Val::Bsval(_)) => Expr::Other(Vec::new()),
        None => Expr::Null,
    }
}

fn keyword(operation: SqlValueFunctionOp) -> &'static str {
    use SqlValueFunctionOp as Op;
    match operation {
        Op::SvfopCurrentRole | Op::SvfopCurrentUser | Op::SvfopUser => "current_user",
        Op::SvfopSessionUser => "session_user",
        Op::SvfopCurrentCatalog => "current_catalog",
        Op::SvfopCurrentSchema => "current_schema",
        _ => "the clock",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::tree::parse_expression;

    fn expr(text: &str) -> Expr {
        Expr::of(&parse_expression(text).unwrap()).unwrap()
    }

    #[test]
    fn columns_of_the_row_are_told_from_those_of_sub_selects() {
        let found = expr(
            "(org = 1) and exists (select 1 from public.member m join x on x.a = m.a where m.org = doc.org)",
        );
        let mut columns = Vec::new();
        found.walk(&mut |e| {
            if let Expr::Column(c) = e {
                columns.push((c.row, c.relation.as_str(), c.name.as_str()));
            }
        });
        assert_eq!(
            columns,
            [
                (true, "", "org"),
                (false, "x", "a"),
                (false, "m", "a"),
                (false, "m", "org"),
                (true, "doc", "org"),
            ]
        );
    }

    #[test]
    fn values_are_seen_through_casts_and_plain_sub_selects() {
        let found = expr("owner = (select current_setting('app.user'::text, true) as x)::uuid");
        let Expr::Compare(compare) = &found else {
            panic!("{found:?}")
        };
        assert!(matches!(compare.right.value(), Expr::Call(c) if c.name == "current_setting"));
        assert_eq!(compare.left.row_column(), Some("owner"));
        let lookup = expr("owner = (select m.a from m)");
        let Expr::Compare(compare) = &lookup else {
            panic!("{lookup:?}")
        };
        assert!(matches!(compare.right.value(), Expr::SubSelect(_)));
    }

    #[test]
    fn lists_and_negations_have_one_form() {
        assert!(
            matches!(expr("a in ('x', 'y')"), Expr::Compare(c) if c.how == How::Any && matches!(&c.right, Expr::Array(all) if all.len() == 2))
        );
        assert!(
            matches!(expr("a is not null"), Expr::Not(inner) if matches!(*inner, Expr::IsNull(_)))
        );
        assert!(matches!(expr("a is not distinct from b"), Expr::Not(_)));
    }
}
