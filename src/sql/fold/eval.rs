//! The walk over an expression.

use super::{Meaning, Session, Value};
use crate::model::Table;
use crate::sql::expr::Expr;

/// Where an expression stands while it is folded.
#[derive(Clone, Copy)]
pub(super) struct Fold<'a> {
    /// The judged row's; `None` inside a body.
    pub(super) table: Option<&'a Table>,
    pub(super) session: &'a Session,
    pub(super) meaning: &'a dyn Meaning,
    /// Of the body that the expression stands in.
    pub(super) parameters: &'a [Value],
    pub(super) names: &'a [String],
    pub(super) depth: usize,
}

impl Fold<'_> {
    pub(super) fn value(&self, expr: &Expr) -> Value {
        match expr {
            Expr::Null => Value::Null,
            Expr::Bool(b) => Value::Bool(*b),
            Expr::Number(text) => text.parse().map_or(Value::Present, Value::Number),
            Expr::Text(text) => Value::Text(text.clone()),
            Expr::Column(column) => self.name(column),
            Expr::Parameter(number) => self.parameter(*number),
            Expr::Keyword(_) | Expr::Array(_) => Value::Present,
            Expr::Call(call) => self.call(call),
            Expr::Compare(compare) => self.compare(compare),
            Expr::Prefix(_, arg) => match self.value(arg) {
                value @ (Value::Null | Value::Raises) => value,
                _ => Value::Unknown,
            },
            Expr::And(all) => all
                .iter()
                .fold(Value::Bool(true), |so_far, e| so_far.and(self.value(e))),
            Expr::Or(all) => self.or(all),
            Expr::Not(arg) => self.value(arg).negated(),
            Expr::IsNull(arg) => self.value(arg).is_null(),
            Expr::Is(arg, wanted) => is(self.value(arg), *wanted),
            Expr::Coalesce(all) => self.coalesce(all),
            Expr::Case(subject, branches, otherwise) => {
                self.case(subject.as_deref(), branches, otherwise.as_deref())
            }
            Expr::Cast(arg, to) => self.value(arg).cast(to),
            Expr::SubSelect(sub) => self.sub_select(sub),
            Expr::Other(_) => Value::Unknown,
        }
    }

    fn or(&self, all: &[Expr]) -> Value {
        // The planner drops the rest before anything is evaluated.
        if all.iter().any(|e| *e == Expr::Bool(true)) {
            return Value::Bool(true);
        }
        all.iter()
            .fold(Value::Bool(false), |so_far, e| so_far.or(self.value(e)))
    }

    fn coalesce(&self, all: &[Expr]) -> Value {
        let mut unsure = Vec::new();
        for value in all.iter().map(|e| self.value(e)) {
            match value {
                Value::Null => {}
                Value::Raises if unsure.is_empty() => return Value::Raises,
                value if value.is_present() && unsure.is_empty() => return value,
                // Present or not: if it is NULL this one is the result.
                value if value.is_present() => {
                    let same =
                        unsure.iter().all(|u| *u == Value::Untrue) && value == Value::Bool(false);
                    return if same { value } else { Value::Present };
                }
                value => unsure.push(value),
            }
        }
        match unsure.as_slice() {
            [] => Value::Null,
            all if all.iter().all(|v| *v == Value::Untrue) => Value::Untrue,
            _ => Value::Unknown,
        }
    }

    fn case(
        &self,
        subject: Option<&Expr>,
        branches: &[(Expr, Expr)],
        otherwise: Option<&Expr>,
    ) -> Value {
        if subject.is_some() {
            return Value::Unknown;
        }
        let mut possible: Vec<Value> = Vec::new();
        let mut settled = false;
        for (when, then) in branches {
            let condition = self.value(when);
            if condition == Value::Raises {
                possible.push(Value::Raises);
                settled = true;
            } else if condition.is_true() {
                possible.push(self.value(then));
                settled = true;
            } else if !condition.is_never_true() {
                possible.push(self.value(then));
            }
            if settled {
                break;
            }
        }
        if !settled {
            possible.push(otherwise.map_or(Value::Null, |e| self.value(e)));
        }
        match possible.as_slice() {
            [first, rest @ ..] if rest.iter().all(|v| v == first) => first.clone(),
            all if all.iter().all(Value::is_never_true) => Value::Untrue,
            all if all.iter().all(Value::is_present) => Value::Present,
            _ => Value::Unknown,
        }
    }
}

/// `x is true` and its like, which are never NULL.
fn is(value: Value, wanted: Option<bool>) -> Value {
    match (value, wanted) {
        (Value::Raises, _) => Value::Raises,
        (Value::Bool(b), Some(wanted)) => Value::Bool(b == wanted),
        (Value::Null, Some(_))
        | (Value::Bool(_) | Value::Present, None)
        | (Value::Untrue, Some(true)) => Value::Bool(false),
        (Value::Null, None) => Value::Bool(true),
        _ => Value::Present,
    }
}
