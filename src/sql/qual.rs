//! What a policy expression asks of the server: which comparisons an index could answer, which functions run, and
//! how often. Reads expressions as `pg_get_expr` prints them.

use super::expr::Expr;
use crate::model::{Catalog, Name};
use std::collections::BTreeSet;
use std::sync::Arc;

mod clause;
mod compact;
mod parts;
mod walk;

pub(in crate::sql) use parts::parts;

/// The expression is no SQL, or holds something not understood: nothing may be said about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotUnderstood(pub String);

/// A policy expression, analysed. Scope 0 is the row that the policy judges.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Qual {
    /// Scope 0 first; a sub-select always comes after the scope it stands in.
    pub scopes: Vec<Scope>,
    /// Every function call, those inside sub-selects too.
    pub calls: Vec<Call>,
    /// The expression itself, shared by all the tables it stands at.
    pub expr: Arc<Expr>,
}

/// The row, or one sub-select.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope {
    /// The scope this one stands in; `None` for the row.
    pub parent: Option<usize>,
    pub kind: ScopeKind,
    pub relations: Vec<Relation>,
    /// Uses columns of a scope around it, so it is evaluated again for each of that scope's rows.
    pub correlated: bool,
    /// The condition as a conjunction: the policy expression itself, or the sub-select's WHERE and join conditions.
    pub filter: Vec<Clause>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScopeKind {
    /// The row that the policy judges.
    #[default]
    Row,
    Exists,
    /// `x in (select …)`, `x = any (select …)`.
    In,
    /// `x <> all (select …)`.
    All,
    /// `(select …)` as a value.
    Value,
    /// `array(select …)`.
    Array,
    /// In FROM or WITH.
    Derived,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    pub alias: String,
    /// `None` for a function, a sub-select or a WITH query.
    pub table: Option<Name>,
}

/// A column of a known table, and the scope whose row it comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ColumnUse {
    pub scope: usize,
    /// `None` for a column of something that is no table.
    pub table: Option<Name>,
    pub column: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// Empty for functions of `pg_catalog`.
    pub schema: String,
    pub name: String,
    pub arguments: usize,
    /// Columns inside the arguments, in order, none twice.
    pub columns: Vec<ColumnUse>,
    pub scope: usize,
    /// In FROM: runs once for its sub-select, not for each row of it.
    pub in_from: bool,
}

/// How often a call runs during one scan of the policy's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frequency {
    /// Once a statement, as an `InitPlan`.
    Once,
    /// For each row of the policy's table.
    PerRow,
    /// For each row of the tables of a sub-select: the scope's number.
    PerInnerRow(usize),
}

/// Part of a conjunction.
#[derive(Clone, Debug, PartialEq)]
pub enum Clause {
    Test(Test),
    /// `OR`: each branch is a conjunction.
    AnyOf(Vec<Vec<Clause>>),
}

/// One condition without AND and OR at its top.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    pub form: Form,
    /// Columns used, in order, none twice; those that sub-selects inside use of scopes around them too.
    pub columns: Vec<ColumnUse>,
    /// Indexes into [`Qual::calls`], those inside sub-selects too.
    pub calls: Vec<usize>,
    /// Sub-selects directly inside.
    pub scopes: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// `column op value`, whichever way round it is written; the value uses no column of the column's scope.
    Compare {
        column: ColumnUse,
        /// With the column on the left.
        operator: String,
        /// The type that the column is cast to before it is compared.
        cast: Option<String>,
    },
    /// `column = any (array)`.
    AnyOfArray {
        column: ColumnUse,
    },
    /// `value = any (column)`.
    ArrayHolds {
        column: ColumnUse,
    },
    /// `column in (select …)`, or `not in`.
    InSelect {
        column: ColumnUse,
        scope: usize,
        negated: bool,
    },
    /// A boolean column by itself, or negated.
    Flag {
        column: ColumnUse,
    },
    IsNull {
        column: ColumnUse,
        negated: bool,
    },
    Constant(bool),
    Other,
}

impl Form {
    /// The column, where a btree index that leads with it can find the rows at once.
    pub fn index_column(&self) -> Option<&ColumnUse> {
        match self {
            Self::Compare {
                column,
                operator,
                cast: None,
            } if matches!(operator.as_str(), "=" | "<" | "<=" | ">" | ">=") => Some(column),
            Self::AnyOfArray { column }
            | Self::Flag { column }
            | Self::IsNull {
                column,
                negated: false,
            } => Some(column),
            _ => None,
        }
    }

    /// [`Form::index_column`] where the test is an equality, so that it may be selective.
    pub fn equality_column(&self) -> Option<&ColumnUse> {
        match self {
            Self::Compare {
                column,
                operator,
                cast: None,
            } if operator == "=" => Some(column),
            Self::AnyOfArray { column } => Some(column),
            _ => None,
        }
    }
}

/// The parse tree of an expression, apart from any table.
pub struct Parsed {
    node: pg_query::Node,
    expr: Arc<Expr>,
}

impl Parsed {
    pub fn new(expression: &str) -> Result<Self, NotUnderstood> {
        let node = walk::parse(&format!("select ({expression})"))?;
        let expr = Arc::new(Expr::of(&node)?);
        Ok(Self { node, expr })
    }
}

impl Qual {
    /// Analyses an expression over the row of `table`.
    pub fn of_policy(
        expression: &str,
        table: &Name,
        catalog: &Catalog,
    ) -> Result<Self, NotUnderstood> {
        Self::of_parsed(&Parsed::new(expression)?, table, catalog)
    }

    /// As [`Qual::of_policy`], for one expression that stands at many tables.
    pub fn of_parsed(
        parsed: &Parsed,
        table: &Name,
        catalog: &Catalog,
    ) -> Result<Self, NotUnderstood> {
        let row = Relation {
            alias: table.name.clone(),
            table: Some(table.clone()),
        };
        let mut qual = walk::analyse(&parsed.node, Arc::clone(&parsed.expr), row, catalog)?;
        compact::compact(&mut qual);
        Ok(qual)
    }

    /// The policy's own condition.
    pub fn filter(&self) -> &[Clause] {
        self.scopes.first().map_or(&[], |s| &s.filter)
    }

    pub fn scope(&self, number: usize) -> Option<&Scope> {
        self.scopes.get(number)
    }

    /// How often `call` runs.
    pub fn frequency(&self, call: &Call) -> Frequency {
        let mut number = call.scope;
        let mut skip_rows = call.in_from;
        while let Some(scope) = self.scopes.get(number) {
            let Some(parent) = scope.parent else {
                return Frequency::PerRow;
            };
            if !scope.relations.is_empty() && !skip_rows {
                return Frequency::PerInnerRow(number);
            }
            if !scope.correlated {
                return Frequency::Once;
            }
            skip_rows = scope.kind == ScopeKind::Derived;
            number = parent;
        }
        Frequency::PerRow
    }

    /// Tables that sub-selects read.
    pub fn tables_read(&self) -> BTreeSet<&Name> {
        self.scopes
            .iter()
            .skip(1)
            .flat_map(|s| &s.relations)
            .filter_map(|r| r.table.as_ref())
            .collect()
    }

    /// Every test of every scope, with the scope's number, branches of OR too.
    pub fn tests(&self) -> Vec<(usize, &Test)> {
        fn collect<'a>(clauses: &'a [Clause], scope: usize, out: &mut Vec<(usize, &'a Test)>) {
            for clause in clauses {
                match clause {
                    Clause::Test(test) => out.push((scope, test)),
                    Clause::AnyOf(branches) => {
                        for branch in branches {
                            collect(branch, scope, out);
                        }
                    }
                }
            }
        }
        let mut out = Vec::new();
        for (number, scope) in self.scopes.iter().enumerate() {
            collect(&scope.filter, number, &mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, Table};

    fn catalog() -> Catalog {
        let table = |columns: &[&str]| Table {
            columns: columns
                .iter()
                .map(|name| Column {
                    name: (*name).to_owned(),
                    type_name: "uuid".to_owned(),
                    ..Column::default()
                })
                .collect(),
            ..Table::default()
        };
        let mut catalog = Catalog::default();
        for (name, columns) in [
            ("doc", ["owner", "editor", "org"].as_slice()),
            ("member", &["user_id", "org"]),
        ] {
            catalog
                .tables
                .insert(Name::new("public", name), table(columns));
        }
        catalog
    }

    fn qual(text: &str) -> Qual {
        Qual::of_policy(text, &Name::new("public", "doc"), &catalog()).unwrap()
    }

    fn frequencies(text: &str) -> Vec<Frequency> {
        let qual = qual(text);
        qual.calls.iter().map(|c| qual.frequency(c)).collect()
    }

    #[test]
    fn each_call_is_judged_by_its_own_place() {
        use Frequency::{Once, PerInnerRow, PerRow};
        let mixed = "((owner = ( SELECT auth.uid() AS uid)) OR (editor = auth.uid()))";
        assert_eq!(frequencies(mixed), [Once, PerRow]);
        let inner = "(org = ANY (ARRAY( SELECT m.org FROM public.member m WHERE (m.user_id = auth.uid()))))";
        assert_eq!(frequencies(inner), [PerInnerRow(1)]);
        assert_eq!(frequencies("( SELECT auth.can(doc.org) AS can)"), [PerRow]);
        assert_eq!(
            frequencies("(org = ANY (ARRAY( SELECT auth.orgs() AS orgs)))"),
            [Once]
        );
        assert_eq!(
            frequencies("(org IN ( SELECT o.o FROM auth.orgs() o(o)))"),
            [Once]
        );
    }

    #[test]
    fn comparisons_name_their_column() {
        let column = |text: &str| {
            let qual = qual(text);
            let [Clause::Test(test)] = qual.filter() else {
                panic!("{text} is not one test");
            };
            test.form.index_column().map(|c| c.column.clone())
        };
        assert_eq!(column("(auth.uid() = owner)").as_deref(), Some("owner"));
        assert_eq!(
            column("(owner OPERATOR(public.=) auth.uid())").as_deref(),
            Some("owner")
        );
        assert_eq!(
            column("(owner = ANY (ARRAY( SELECT auth.ids())))").as_deref(),
            Some("owner")
        );
        for no in [
            "((owner)::text = 'x'::text)",
            "(owner = editor)",
            "(owner IS NOT DISTINCT FROM auth.uid())",
            "(owner IN ( SELECT m.user_id FROM public.member m))",
            "(owner = ( SELECT m.user_id FROM public.member m WHERE (m.org = doc.org)))",
            "(owner = ( SELECT m.user_id FROM public.member m WHERE (m.user_id = doc.owner)))",
        ] {
            assert_eq!(column(no), None, "{no}");
        }
    }

    #[test]
    fn sub_selects_know_whether_they_depend_on_the_row() {
        let qual = qual(
            "(EXISTS ( SELECT 1 FROM public.member m WHERE ((m.org = doc.org) AND (m.user_id = auth.uid()))))",
        );
        let inner = &qual.scopes[1];
        assert!(inner.correlated);
        assert_eq!(inner.kind, ScopeKind::Exists);
        assert_eq!(inner.filter.len(), 2);
        let columns: Vec<_> = qual
            .tests()
            .iter()
            .filter(|(scope, _)| *scope == 1)
            .filter_map(|(_, t)| t.form.equality_column())
            .map(|c| c.column.as_str())
            .collect();
        assert_eq!(columns, ["org", "user_id"]);
        assert!(
            Qual::of_policy("owner =", &Name::new("public", "doc"), &Catalog::default()).is_err()
        );
    }
}
