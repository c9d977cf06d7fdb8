//! What comparisons tie.

use super::scan::Walk;
use super::value::{Form, Value};
use super::{Claim, Place, Test};
use crate::sql::expr::{Call, Compare, Expr, How};
use crate::sql::qual::ScopeKind;
use std::collections::BTreeSet;

impl Walk<'_> {
    pub(super) fn compare(&mut self, compare: &Compare) {
        let operator = compare.operator.as_str();
        match (compare.how, operator) {
            (How::Plain | How::Any | How::Distinct, "=") => {
                self.equal(&compare.left, &compare.right);
            }
            (How::Plain, "?" | "@>" | "<@" | "&&") => self.contains(operator, compare),
            // These read fields, they compare nothing.
            (How::NullIf, _) | (_, "->" | "->>" | "#>" | "#>>") => return,
            _ => {}
        }
        for (one, other) in compare.sides() {
            let found = (self.value(one), self.value(other));
            match found {
                (Some(Value::Claim(claim)), Some(Value::Literal(text))) => {
                    self.constant(&claim, operator, &text);
                }
                (Some(Value::Place(place)), Some(Value::Literal(text))) => {
                    let asked = Test::Compare(operator.to_owned(), text);
                    self.ties.tests.insert((place, asked));
                }
                (Some(Value::Place(place)), None) if is_clock(other) => {
                    self.ties.tests.insert((place, Test::Clock));
                }
                (Some(Value::Claim(_)), Some(_)) | (Some(_), Some(Value::Claim(_)))
                    if operator == "=" => {}
                _ => self.loosely(one, other),
            }
            if let Expr::Array(all) = other.value() {
                self.one_of(one, all);
            }
        }
    }

    /// A list of literals on the other side.
    fn one_of(&mut self, one: &Expr, all: &[Expr]) {
        let texts: Vec<String> = all
            .iter()
            .filter_map(|e| match self.value(e) {
                Some(Value::Literal(text)) => Some(text),
                _ => None,
            })
            .collect();
        for text in texts {
            match self.value(one) {
                Some(Value::Claim(claim)) => self.constant(&claim, "=", &text),
                Some(Value::Place(place)) => {
                    let asked = Test::Compare("=".to_owned(), text);
                    self.ties.tests.insert((place, asked));
                }
                _ => {}
            }
        }
    }

    pub(super) fn constant(&mut self, claim: &Claim, operator: &str, text: &str) {
        let text = text.to_owned();
        if operator == "=" {
            let literals = self.ties.literals.entry(claim.clone()).or_default();
            literals.insert(text.clone());
            if self.beside {
                self.ties.beside.insert((claim.clone(), text.clone()));
            }
        }
        let constants = self.ties.constants.entry(claim.clone()).or_default();
        constants.insert(text);
    }

    /// Any claim somewhere on one side, and columns on the other.
    pub(super) fn loosely(&mut self, one: &Expr, other: &Expr) {
        let mut claims = BTreeSet::new();
        one.walk_outside(&mut |e| claims.extend(self.claim(e)));
        if claims.is_empty() {
            return;
        }
        let mut places = BTreeSet::new();
        other.walk_outside(&mut |e| {
            if let Expr::Column(column) = e
                && let Some(Value::Place(place)) = self.column(column)
            {
                places.insert(place);
            }
        });
        for claim in claims {
            let known = self.ties.loose.entry(claim).or_default();
            known.extend(places.iter().cloned());
        }
    }

    /// A list in a claim and a value of a row, by the operators that ask for containment.
    fn contains(&mut self, operator: &str, compare: &Compare) {
        for (one, other) in compare.sides() {
            let list = match self.value(one) {
                Some(Value::List(claim, form)) => (claim, form),
                Some(Value::Claim(claim)) if operator == "?" => (claim, Form::Texts),
                Some(Value::Claim(claim)) => (claim, Form::Json),
                _ => continue,
            };
            let mut places = BTreeSet::new();
            other.walk_outside(&mut |e| {
                if let Expr::Column(column) = e
                    && let Some(Value::Place(place)) = self.column(column)
                {
                    places.insert(place);
                }
            });
            if !places.is_empty() {
                self.ties.listed.entry(list).or_default().extend(places);
            }
        }
        // `audience @> array[auth.uid()]`: an element of the column.
        for (one, other) in compare.sides() {
            if let (Some(Value::Place(place)), Expr::Array(all)) = (self.value(one), other.value())
            {
                let claims: Vec<Claim> = all.iter().filter_map(|e| self.claim(e)).collect();
                for claim in claims {
                    let places = self.ties.equal.entry(claim).or_default();
                    places.insert(place.clone());
                }
            }
        }
    }

    fn equal(&mut self, left: &Expr, right: &Expr) {
        self.looked_up(left, right);
        self.looked_up(right, left);
        let (one, other) = (self.value(left), self.value(right));
        self.tied(one.as_ref(), other.as_ref());
    }

    /// A value and what a sub-select or a function looks up for it.
    pub(super) fn looked_up(&mut self, one: &Expr, other: &Expr) {
        if let Expr::SubSelect(sub) = other.value()
            && matches!(
                sub.kind,
                ScopeKind::Array | ScopeKind::In | ScopeKind::Value
            )
        {
            self.member(one, &sub.select);
        }
        if let Expr::Call(call) = other.value() {
            self.returned(one, call);
        }
    }

    /// Two values that are equal.
    pub(super) fn tied(&mut self, left: Option<&Value>, right: Option<&Value>) {
        let (Some(left), Some(right)) = (left, right) else {
            return;
        };
        for (one, other) in [(left, right), (right, left)] {
            match (one, other) {
                (Value::Claim(claim), Value::Place(place)) => {
                    if !self.is_row(place) {
                        self.ties.asked.insert(place.clone());
                    }
                    let places = self.ties.equal.entry(claim.clone()).or_default();
                    places.insert(place.clone());
                }
                (Value::List(claim, form), Value::Place(place)) => {
                    let list = (claim.clone(), form.clone());
                    let places = self.ties.listed.entry(list).or_default();
                    places.insert(place.clone());
                }
                (Value::Place(a), Value::Place(b)) if a.0 != b.0 => {
                    self.ties.joined.insert((a.clone(), b.clone()));
                }
                (Value::User, Value::Place(place)) => {
                    self.ties.user.insert(place.clone());
                }
                (Value::User, Value::Literal(text)) => {
                    self.ties.user_names.insert(text.clone());
                }
                _ => {}
            }
        }
    }

    /// Whether the column is one of the row that the policy judges, as far as names tell.
    fn is_row(&self, place: &Place) -> bool {
        self.row.as_ref() == Some(&place.0)
    }

    /// `value = f()`, where the function reads what it returns from a table.
    fn returned(&mut self, value: &Expr, call: &Call) {
        for (_, body, arguments) in self.bodies(call) {
            // The value stands outside the body.
            let outside = self.value(value);
            self.arguments.push(arguments);
            for query in body.queries.iter().filter(|q| !q.from.is_empty()) {
                let known = self.known(query);
                self.scopes.push(known);
                let inner = query.targets.first().and_then(|t| self.value(t));
                self.scopes.pop();
                self.tied(outside.as_ref(), inner.as_ref());
            }
            self.arguments.pop();
        }
    }
}

/// Whether the time of day is read.
fn is_clock(expression: &Expr) -> bool {
    expression.any_outside(|e| match e {
        Expr::Keyword("the clock") => true,
        Expr::Call(call) => matches!(
            call.name.as_str(),
            "now"
                | "clock_timestamp"
                | "statement_timestamp"
                | "transaction_timestamp"
                | "timezone"
                | "date_trunc"
        ),
        _ => false,
    })
}
