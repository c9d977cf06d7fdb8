//! Operators.

use super::Value;
use super::eval::Fold;
use crate::sql::expr::{Compare, Expr, How};
use crate::sql::qual::ScopeKind;

impl Fold<'_> {
    pub(super) fn compare(&self, compare: &Compare) -> Value {
        let left = self.value(&compare.left);
        match compare.how {
            How::Plain => {
                if self.same_column(compare) {
                    return match compare.operator.as_str() {
                        "=" | "<=" | ">=" => Value::Bool(true),
                        "<>" | "<" | ">" => Value::Bool(false),
                        _ => Value::Unknown,
                    };
                }
                operate(&compare.operator, left, self.value(&compare.right))
            }
            // Never distinct from itself, NULL or not.
            How::Distinct if self.same(&compare.left, &compare.right) => Value::Bool(false),
            How::Distinct => distinct(left, self.value(&compare.right)),
            How::NullIf => null_if(left, self.value(&compare.right)),
            How::Any | How::All => self.quantified(compare, left),
        }
    }

    /// `x = x` of a column that is never NULL.
    fn same_column(&self, compare: &Compare) -> bool {
        self.same(&compare.left, &compare.right)
            && (self.value(&compare.left) == Value::Present
                || self.value(&compare.right) == Value::Present)
    }

    /// Whether both come to the same column of the row, cast in the same way.
    fn same(&self, left: &Expr, right: &Expr) -> bool {
        let (left, right) = (self.reduced(left), self.reduced(right));
        left.is_some() && left == right
    }

    /// The column that is left of `coalesce(<NULL>, column)` and its like.
    fn reduced(&self, expr: &Expr) -> Option<Expr> {
        match expr {
            Expr::Column(column) if column.row && self.table.is_some() => Some(expr.clone()),
            Expr::Cast(inner, to) => {
                let inner = self.reduced(inner)?;
                Some(Expr::Cast(Box::new(inner), to.clone()))
            }
            Expr::SubSelect(sub) => self.reduced(sub.scalar()?),
            Expr::Coalesce(all) => {
                let mut rest = all.iter().skip_while(|e| self.value(e) == Value::Null);
                let first = rest.next()?;
                // What may be NULL leaves the choice open.
                let settled = rest.next().is_none() || self.value(first).is_present();
                settled.then(|| self.reduced(first)).flatten()
            }
            Expr::Case(None, branches, otherwise) => {
                for (when, then) in branches {
                    let condition = self.value(when);
                    if condition.is_true() {
                        return self.reduced(then);
                    }
                    if condition == Value::Raises || !condition.is_never_true() {
                        return None;
                    }
                }
                self.reduced(otherwise.as_deref()?)
            }
            _ => None,
        }
    }

    fn quantified(&self, compare: &Compare, left: Value) -> Value {
        let Expr::Array(items) = compare.right.value() else {
            return match (left, self.value(&compare.right)) {
                (Value::Raises, _) | (_, Value::Raises) => Value::Raises,
                (_, Value::Null) => Value::Null,
                // Of an empty array ANY is false, ALL is true.
                (Value::Null, _) if compare.how == How::Any => Value::Untrue,
                _ => Value::Unknown,
            };
        };
        let each = items
            .iter()
            .map(|item| operate(&compare.operator, left.clone(), self.value(item)));
        if compare.how == How::Any {
            each.fold(Value::Bool(false), Value::or)
        } else {
            each.fold(Value::Bool(true), Value::and)
        }
    }

    pub(super) fn sub_select(&self, sub: &crate::sql::expr::SubSelect) -> Value {
        if let Some(value) = sub.scalar() {
            return self.value(value);
        }
        let select = &sub.select;
        let filter = select
            .filter
            .iter()
            .fold(Value::Bool(true), |all, c| all.and(self.value(c)));
        // An error in it is met only where there is a row.
        let empty = !select.shaped && filter.is_never_true() && filter != Value::Raises;
        match sub.kind {
            ScopeKind::Exists if empty => Value::Bool(false),
            ScopeKind::Exists if select.from.is_empty() && !select.shaped && filter.is_true() => {
                Value::Bool(true)
            }
            ScopeKind::Exists | ScopeKind::Array => Value::Present,
            ScopeKind::In => match sub.test.as_ref().map(|(test, _)| self.value(test)) {
                _ if empty => Value::Bool(false),
                Some(Value::Null) => Value::Untrue,
                _ => Value::Unknown,
            },
            _ => Value::Unknown,
        }
    }
}

/// A strict operator: NULL in, NULL out.
fn operate(operator: &str, left: Value, right: Value) -> Value {
    use Value::{Bool, Json, Null, Number, Present, Raises, Text, Unknown};
    match (left, right) {
        (Raises, _) | (_, Raises) => Raises,
        (Null, _) | (_, Null) => Null,
        (Json(json), Text(key)) => arrow(operator, &json, &key),
        (Text(a), Text(b)) => match operator {
            "=" => Bool(a == b),
            "<>" => Bool(a != b),
            "||" => Text(a + &b),
            // Order depends on the collation.
            _ => Present,
        },
        (Number(a), Number(b)) => match operator {
            "=" => Bool((a - b).abs() < f64::EPSILON),
            "<>" => Bool((a - b).abs() >= f64::EPSILON),
            "<" => Bool(a < b),
            ">" => Bool(a > b),
            "<=" => Bool(a <= b),
            ">=" => Bool(a >= b),
            _ => Unknown,
        },
        (Bool(a), Bool(b)) => match operator {
            "=" => Bool(a == b),
            "<>" => Bool(a != b),
            _ => Present,
        },
        // `->` and its like return NULL for what is not there.
        (a, b) if a.is_present() && b.is_present() && !operator.starts_with(['-', '#']) => Present,
        _ => Unknown,
    }
}

fn arrow(operator: &str, json: &serde_json::Value, key: &str) -> Value {
    let found = match operator {
        "->" | "->>" => json.get(key),
        "#>" | "#>>" => {
            let path = key.trim_start_matches('{').trim_end_matches('}');
            let mut parts = path.split(',').filter(|p| !p.is_empty());
            parts.try_fold(json, |at, part| at.get(part.trim().trim_matches('"')))
        }
        "?" => return Value::Bool(json.get(key).is_some()),
        _ => return Value::Unknown,
    };
    match (found, operator) {
        (None, _) | (Some(serde_json::Value::Null), "->>" | "#>>") => Value::Null,
        (Some(serde_json::Value::String(text)), "->>" | "#>>") => Value::Text(text.clone()),
        (Some(other), "->>" | "#>>") => Value::Text(other.to_string()),
        (Some(other), _) => Value::Json(other.clone()),
    }
}

/// `is distinct from`, which is never NULL.
fn distinct(left: Value, right: Value) -> Value {
    match (left, right) {
        (Value::Raises, _) | (_, Value::Raises) => Value::Raises,
        (Value::Null, Value::Null) => Value::Bool(false),
        (Value::Null, other) | (other, Value::Null) if other.is_present() => Value::Bool(true),
        (left, right) if left.is_present() && right.is_present() => operate("<>", left, right),
        _ => Value::Present,
    }
}

fn null_if(left: Value, right: Value) -> Value {
    if matches!(left, Value::Null | Value::Raises) || right == Value::Null {
        return left;
    }
    match operate("=", left.clone(), right) {
        Value::Bool(true) => Value::Null,
        Value::Bool(false) => left,
        Value::Raises => Value::Raises,
        _ => Value::Unknown,
    }
}
