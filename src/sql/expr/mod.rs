//! Expressions as plain data, for those who ask what a policy means: no part of the parser's tree is in them.

mod body;
mod build;
mod select;

pub use body::Body;
pub use select::{Select, Source};

use super::qual::ScopeKind;

/// An expression. Built from what `pg_get_expr` prints, or from the text of a function's body.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Expr {
    #[default]
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(String),
    Column(Column),
    /// `$1` is 1.
    Parameter(usize),
    /// `current_user`, `session_user`, `current_date` and their like, in lower case.
    Keyword(&'static str),
    Call(Call),
    Compare(Box<Compare>),
    /// `- x`, `~ x`.
    Prefix(String, Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    /// `x is null`.
    IsNull(Box<Expr>),
    /// `x is true`, `x is false`, `x is unknown`.
    Is(Box<Expr>, Option<bool>),
    Coalesce(Vec<Expr>),
    /// A subject, if there is one; pairs of condition and result; the result otherwise.
    Case(Option<Box<Expr>>, Vec<(Expr, Expr)>, Option<Box<Expr>>),
    /// The type's name without its schema and modifiers.
    Cast(Box<Expr>, String),
    Array(Vec<Expr>),
    SubSelect(Box<SubSelect>),
    /// Something else, of which only the parts are known.
    Other(Vec<Expr>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// Of the row that the policy judges; otherwise of a relation of a sub-select.
    pub row: bool,
    /// Alias of its relation, empty where it is not qualified.
    pub relation: String,
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// Empty for functions of `pg_catalog`.
    pub schema: String,
    pub name: String,
    pub arguments: Vec<Expr>,
}

/// Two operands and an operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Compare {
    pub how: How,
    /// Without its schema: `=`, `~~` for LIKE, `->>`.
    pub operator: String,
    pub left: Expr,
    pub right: Expr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Plain,
    /// `left op any (right)`, IN over a list among them.
    Any,
    All,
    /// `is distinct from`.
    Distinct,
    NullIf,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SubSelect {
    pub kind: ScopeKind,
    /// What stands before IN, ANY and ALL, and the operator.
    pub test: Option<(Expr, String)>,
    pub select: Select,
}

impl Expr {
    /// Visits the expression and all its parts, those of sub-selects too.
    pub fn walk<'e>(&'e self, visit: &mut dyn FnMut(&'e Expr)) {
        visit(self);
        for part in self.parts() {
            part.walk(visit);
        }
        if let Self::SubSelect(sub) = self {
            for part in sub.select.parts() {
                part.walk(visit);
            }
        }
    }

    /// As [`Expr::walk`], but not into sub-selects that read something: a sub-select without FROM is only another way to
    /// write its value.
    pub fn walk_outside<'e>(&'e self, visit: &mut dyn FnMut(&'e Expr)) {
        visit(self);
        for part in self.parts() {
            part.walk_outside(visit);
        }
        if let Self::SubSelect(sub) = self
            && sub.select.from.is_empty()
        {
            for part in sub.select.parts() {
                part.walk_outside(visit);
            }
        }
    }

    /// Whether `wanted` holds for the expression or a part of it.
    pub fn any(&self, mut wanted: impl FnMut(&Expr) -> bool) -> bool {
        let mut found = false;
        self.walk(&mut |e| found = found || wanted(e));
        found
    }

    /// [`Expr::any`] as [`Expr::walk_outside`] goes.
    pub fn any_outside(&self, mut wanted: impl FnMut(&Expr) -> bool) -> bool {
        let mut found = false;
        self.walk_outside(&mut |e| found = found || wanted(e));
        found
    }

    /// The direct parts; those of a sub-select are not among them.
    pub fn parts(&self) -> Vec<&Expr> {
        match self {
            Self::Null
            | Self::Bool(_)
            | Self::Number(_)
            | Self::Text(_)
            | Self::Column(_)
            | Self::Parameter(_)
            | Self::Keyword(_) => Vec::new(),
            Self::Call(call) => call.arguments.iter().collect(),
            Self::Compare(c) => vec![&c.left, &c.right],
            Self::Prefix(_, arg)
            | Self::Not(arg)
            | Self::IsNull(arg)
            | Self::Is(arg, _)
            | Self::Cast(arg, _) => vec![arg],
            Self::And(all)
            | Self::Or(all)
            | Self::Coalesce(all)
            | Self::Array(all)
            | Self::Other(all) => all.iter().collect(),
            Self::Case(subject, branches, otherwise) => {
                let branches = branches.iter().flat_map(|(when, then)| [when, then]);
                let subject = subject.as_deref().into_iter();
                subject
                    .chain(branches)
                    .chain(otherwise.as_deref())
                    .collect()
            }
            Self::SubSelect(sub) => sub.test.iter().map(|(test, _)| test).collect(),
        }
    }

    /// The value behind casts and behind sub-selects that read nothing.
    pub fn value(&self) -> &Expr {
        match self {
            Self::Cast(arg, _) => arg.value(),
            Self::SubSelect(sub) => sub.scalar().map_or(self, Expr::value),
            _ => self,
        }
    }

    /// The text, of a literal possibly cast.
    pub fn text(&self) -> Option<&str> {
        match self.value() {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is a literal, possibly cast.
    pub fn is_literal(&self) -> bool {
        matches!(
            self.value(),
            Self::Bool(_) | Self::Number(_) | Self::Text(_)
        )
    }

    /// The column of the judged row, possibly cast.
    pub fn row_column(&self) -> Option<&str> {
        match self.value() {
            Self::Column(column) if column.row => Some(&column.name),
            _ => None,
        }
    }

    /// The branches of an OR at the top; the expression itself where it is none.
    pub fn branches(&self) -> Vec<&Expr> {
        match self {
            Self::Or(all) => all.iter().flat_map(Expr::branches).collect(),
            Self::Cast(arg, kind) if kind == "bool" => arg.branches(),
            _ => vec![self],
        }
    }

    /// The conditions of an AND at the top; the expression itself where it is none.
    pub fn conditions(&self) -> Vec<&Expr> {
        match self {
            Self::And(all) => all.iter().flat_map(Expr::conditions).collect(),
            _ => vec![self],
        }
    }
}

impl Compare {
    /// The operands both ways round.
    pub fn sides(&self) -> [(&Expr, &Expr); 2] {
        [(&self.left, &self.right), (&self.right, &self.left)]
    }
}

impl SubSelect {
    /// The value of `(select value)`.
    pub fn scalar(&self) -> Option<&Expr> {
        match self.select.targets.as_slice() {
            [only] if self.kind == ScopeKind::Value && self.select.is_plain_value() => Some(only),
            _ => None,
        }
    }
}
