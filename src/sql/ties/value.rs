//! What an expression stands for: a claim, a list in one, a column, a literal, the role.

use super::Place;
use super::claim::{Claim, Words, claim_of, document_of};
use super::scan::Walk;
use crate::sql::expr::{Body, Call, Column, Expr, Select};

/// How a claim holds a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// A JSON array of texts, whatever the column's type.
    Texts,
    /// A JSON array of values.
    Json,
    /// Text with this between its parts.
    Delimited(String),
    /// An array literal.
    Array,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Claim(Claim),
    List(Claim, Form),
    Place(Place),
    Literal(String),
    /// `current_user` or `session_user`.
    User,
}

/// Set-returning functions over a JSON array.
const ELEMENTS: &[&str] = &[
    "jsonb_array_elements_text",
    "json_array_elements_text",
    "jsonb_array_elements",
    "json_array_elements",
];

impl Walk<'_> {
    pub(super) fn value(&self, expression: &Expr) -> Option<Value> {
        if let Some((claim, form)) = self.list(expression, 0) {
            return Some(Value::List(claim, form));
        }
        match expression.value() {
            Expr::Column(column) => self.column(column),
            Expr::Parameter(number) => self.arguments.last()?.get(&format!("${number}")).cloned(),
            Expr::Text(text) | Expr::Number(text) => Some(Value::Literal(text.clone())),
            Expr::Bool(is) => Some(Value::Literal(is.to_string())),
            Expr::Keyword("current_user" | "session_user") => Some(Value::User),
            other => self.claim(other).map(Value::Claim),
        }
    }

    pub(super) fn claim(&self, expression: &Expr) -> Option<Claim> {
        claim_of(expression, &self.words(), self.catalog)
    }

    /// Arguments of the function around that are literals.
    pub(super) fn words(&self) -> Words {
        let arguments = self.arguments.iter().last().into_iter().flatten();
        let words = arguments.filter_map(|(name, value)| match value {
            Value::Literal(text) => Some((name.clone(), text.clone())),
            _ => None,
        });
        words.collect()
    }

    /// The claim whose list this is, or of which it is an element.
    fn list(&self, expression: &Expr, depth: usize) -> Option<(Claim, Form)> {
        const DEEPEST: usize = 6;
        if depth > DEEPEST {
            return None;
        }
        match expression {
            Expr::Cast(inner, to) => self.list(inner, depth).or_else(|| {
                let claim = self.claim(inner)?;
                to.ends_with("[]").then_some((claim, Form::Array))
            }),
            Expr::SubSelect(sub) => self.list_of(&sub.select, depth),
            Expr::Call(call) => self.list_call(call, depth),
            Expr::Coalesce(all) => all.iter().find_map(|e| self.list(e, depth)),
            _ => None,
        }
    }

    /// `select jsonb_array_elements_text(…)`, and `select e from jsonb_array_elements_text(…) e`.
    fn list_of(&self, select: &Select, depth: usize) -> Option<(Claim, Form)> {
        let target = select.targets.first()?;
        if let Some(found) = self.list(target, depth + 1) {
            return Some(found);
        }
        let Expr::Column(_) = target.value() else {
            return None;
        };
        if select.from.iter().any(|s| !s.name.is_empty()) {
            return None;
        }
        select
            .rest
            .iter()
            .find_map(|call| self.list(call, depth + 1))
    }

    fn list_call(&self, call: &Call, depth: usize) -> Option<(Claim, Form)> {
        let first = call.arguments.first();
        if matches!(call.schema.as_str(), "" | "pg_catalog") {
            let name = call.name.as_str();
            return match (name, call.arguments.get(1)) {
                (_, None) if ELEMENTS.contains(&name) => {
                    let claim = document_of(first?, &self.words(), self.catalog)?;
                    Some((claim, Form::Json))
                }
                ("string_to_array" | "regexp_split_to_array" | "string_to_table", Some(by)) => {
                    let Some(Value::Literal(by)) = self.value(by) else {
                        return None;
                    };
                    Some((self.claim(first?)?, Form::Delimited(by)))
                }
                ("unnest", _) => self.list(first?, depth + 1),
                _ => None,
            };
        }
        if first.is_some() {
            return None;
        }
        let mut named = self.catalog.functions_named(&call.schema, &call.name);
        let body = Body::of(named.next()?)?;
        match (&body.value, body.queries.as_slice()) {
            (Some(value), _) => self.list(value, depth + 1),
            (None, [only]) => self.list_of(only, depth + 1),
            _ => None,
        }
    }

    pub(super) fn column(&self, column: &Column) -> Option<Value> {
        let has = |table: &crate::model::Name| {
            let known = self.catalog.table(table);
            known.is_some_and(|t| t.column(&column.name).is_some())
        };
        let found = self.scopes.iter().rev().find_map(|scope| {
            scope.iter().find(|(alias, table)| {
                has(table) && (column.relation.is_empty() || column.relation == *alias)
            })
        });
        if let Some((_, table)) = found {
            return Some(Value::Place((table.clone(), column.name.clone())));
        }
        let arguments = self.arguments.last()?;
        // What is no column and no argument is a variable of the body.
        let known = arguments.get(&column.name);
        known
            .or_else(|| arguments.get(super::scan::VARIABLE))
            .cloned()
    }
}
