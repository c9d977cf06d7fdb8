//! AND, OR, and the shape of each single condition.

use super::parts::names;
use super::walk::{Touched, Walker};
use super::{Clause, ColumnUse, Form, NotUnderstood, Test};
use pg_query::protobuf::{
    AExpr, AExprKind, BoolExprType, NullTestType, SubLink, SubLinkType, a_const,
};
use pg_query::{Node, NodeEnum};

impl Walker<'_> {
    /// `node` as a conjunction.
    pub(super) fn clauses(
        &mut self,
        node: &Node,
        scope: usize,
    ) -> Result<Vec<Clause>, NotUnderstood> {
        if let Some(NodeEnum::BoolExpr(e)) = &node.node {
            if e.boolop() == BoolExprType::AndExpr {
                let mut all = Vec::new();
                for part in &e.args {
                    all.extend(self.clauses(part, scope)?);
                }
                return Ok(all);
            }
            if e.boolop() == BoolExprType::OrExpr {
                let mut branches = Vec::new();
                for part in &e.args {
                    match self.clauses(part, scope)? {
                        // An OR inside an OR is the same OR.
                        mut nested if matches!(nested.as_slice(), [Clause::AnyOf(_)]) => {
                            if let Some(Clause::AnyOf(inner)) = nested.pop() {
                                branches.extend(inner);
                            }
                        }
                        branch => branches.push(branch),
                    }
                }
                return Ok(vec![Clause::AnyOf(branches)]);
            }
        }
        let touched = self.touch(node, scope)?;
        let form = self.form(node, scope, &touched);
        Ok(vec![Clause::Test(Test {
            form,
            columns: touched.columns.into_iter().collect(),
            calls: touched.calls,
            scopes: touched.scopes,
        })])
    }

    fn form(&self, node: &Node, scope: usize, touched: &Touched) -> Form {
        match &node.node {
            Some(NodeEnum::AExpr(e)) => self.comparison(e, scope, touched),
            Some(NodeEnum::SubLink(link)) => self.in_select(link, scope, touched, false),
            Some(NodeEnum::BoolExpr(e)) if e.boolop() == BoolExprType::NotExpr => {
                match e.args.first().map(|n| &n.node) {
                    Some(Some(NodeEnum::SubLink(link))) => {
                        self.in_select(link, scope, touched, true)
                    }
                    Some(Some(NodeEnum::ColumnRef(_))) => {
                        self.flag(e.args.first().unwrap_or(node), scope)
                    }
                    _ => Form::Other,
                }
            }
            Some(NodeEnum::NullTest(e)) => match e.arg.as_deref() {
                Some(arg) => self.column(arg, scope).map_or(Form::Other, |column| {
                    let negated = e.nulltesttype() == NullTestType::IsNotNull;
                    Form::IsNull { column, negated }
                }),
                None => Form::Other,
            },
            Some(NodeEnum::ColumnRef(_)) => self.flag(node, scope),
            Some(NodeEnum::AConst(c)) => match &c.val {
                Some(a_const::Val::Boolval(b)) => Form::Constant(b.boolval),
                _ => Form::Other,
            },
            _ => Form::Other,
        }
    }

    fn flag(&self, node: &Node, scope: usize) -> Form {
        self.column(node, scope)
            .map_or(Form::Other, |column| Form::Flag { column })
    }

    fn comparison(&self, e: &AExpr, scope: usize, touched: &Touched) -> Form {
        let (Some(left), Some(right)) = (e.lexpr.as_deref(), e.rexpr.as_deref()) else {
            return Form::Other;
        };
        // One column of this scope's row, once: then the other side is known before the scan.
        let own = touched.columns.iter().filter(|c| c.scope == scope).count();
        let depends = |number: &usize| self.qual.scope(*number).is_none_or(|s| s.correlated);
        if own != 1 || touched.scopes.iter().any(depends) {
            return Form::Other;
        }
        let operator = (*names(&e.name).last().unwrap_or(&"")).to_owned();
        match e.kind() {
            AExprKind::AexprOp => {
                if let Some((column, cast)) = self.maybe_cast(left, scope) {
                    if !self.mentions(right, scope) {
                        return Form::Compare {
                            column,
                            operator,
                            cast,
                        };
                    }
                } else if let Some((column, cast)) = self.maybe_cast(right, scope)
                    && let Some(operator) = commuted(&operator)
                    && !self.mentions(left, scope)
                {
                    return Form::Compare {
                        column,
                        operator: operator.to_owned(),
                        cast,
                    };
                }
                Form::Other
            }
            AExprKind::AexprOpAny if operator == "=" => {
                match (self.maybe_cast(left, scope), self.column(right, scope)) {
                    (Some((column, None)), _) => Form::AnyOfArray { column },
                    (Some((column, cast)), _) => Form::Compare {
                        column,
                        operator,
                        cast,
                    },
                    (None, Some(column)) => Form::ArrayHolds { column },
                    (None, None) => Form::Other,
                }
            }
            _ => Form::Other,
        }
    }

    /// Whether a part outside of sub-selects names a column of `scope` once more.
    fn mentions(&self, node: &Node, scope: usize) -> bool {
        let Some(node) = node.node.as_ref() else {
            return false;
        };
        if let NodeEnum::ColumnRef(column) = node {
            return self
                .resolve(&names(&column.fields), scope)
                .is_some_and(|c| c.scope == scope);
        }
        super::parts::parts(node)
            .map_or(true, |parts| parts.iter().any(|p| self.mentions(p, scope)))
    }

    fn in_select(&self, link: &SubLink, scope: usize, touched: &Touched, negated: bool) -> Form {
        let equality = names(&link.oper_name)
            .last()
            .is_none_or(|operator| *operator == "=");
        if link.sub_link_type() != SubLinkType::AnySublink || !equality {
            return Form::Other;
        }
        let column = link.testexpr.as_deref().and_then(|t| self.column(t, scope));
        match (column, touched.scopes.first()) {
            (Some(column), Some(number)) => Form::InSelect {
                column,
                scope: *number,
                negated,
            },
            _ => Form::Other,
        }
    }

    /// A bare column of this scope's own row.
    fn column(&self, node: &Node, scope: usize) -> Option<ColumnUse> {
        match self.maybe_cast(node, scope)? {
            (column, None) => Some(column),
            _ => None,
        }
    }

    /// A column of this scope's row, possibly cast; a cast that changes nothing on disk is no cast.
    fn maybe_cast(&self, node: &Node, scope: usize) -> Option<(ColumnUse, Option<String>)> {
        match node.node.as_ref()? {
            NodeEnum::ColumnRef(reference) => {
                let column = self.resolve(&names(&reference.fields), scope)?;
                (column.scope == scope).then_some((column, None))
            }
            NodeEnum::TypeCast(cast) => {
                let (column, inner) = self.maybe_cast(cast.arg.as_deref()?, scope)?;
                let target = names(&cast.type_name.as_ref()?.names).last()?.to_string();
                let free = self.relabels(&column, &target);
                Some((column, inner.or((!free).then_some(target))))
            }
            NodeEnum::CollateClause(collate) => self.maybe_cast(collate.arg.as_deref()?, scope),
            _ => None,
        }
    }

    /// Whether casting the column to `target` is only another name for the same bytes, as varchar to text.
    fn relabels(&self, column: &ColumnUse, target: &str) -> bool {
        let known = column.table.as_ref().and_then(|t| self.catalog.table(t));
        known
            .and_then(|t| t.column(&column.column))
            .is_some_and(|c| {
                let from = c.type_name.split('(').next().unwrap_or_default();
                let from = from.rsplit('.').next().unwrap_or_default();
                c.type_kind == 'd'
                    || from == target
                    || (target == "text" && matches!(from, "character varying" | "text"))
                    || (target == "varchar" && matches!(from, "text" | "character varying"))
            })
    }
}

/// The operator with its sides exchanged, for the ones an index can answer.
fn commuted(operator: &str) -> Option<&'static str> {
    Some(match operator {
        "=" => "=",
        "<>" => "<>",
        "<" => ">",
        ">" => "<",
        "<=" => ">=",
        ">=" => "<=",
        _ => return None,
    })
}
