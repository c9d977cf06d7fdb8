//! What the policies of some tables compare claims with.

use super::claim::claim_of;
use super::value::Value;
use super::{Claim, Place, Test, Ties};
use crate::model::{Catalog, Function, Name};
use crate::sql::expr::{Body, Call, Expr, Select};
use std::collections::{BTreeMap, BTreeSet};

/// Looks through the expressions of every policy, and through the functions that they call.
pub fn scan<'a>(
    policies: impl IntoIterator<Item = (&'a Name, &'a str)>,
    catalog: &Catalog,
) -> Ties {
    let mut walk = Walk {
        catalog,
        ties: Ties::default(),
        scopes: Vec::new(),
        row: None,
        arguments: Vec::new(),
        inside: Vec::new(),
        beside: false,
    };
    for (table, text) in policies {
        // A function that returns the policy's expression is read the same way.
        let Some(body) = Body::of(&Function {
            language: "sql".to_owned(),
            body: format!("select ({text})"),
            ..Function::default()
        }) else {
            continue;
        };
        walk.row = Some(table.clone());
        walk.scopes = vec![vec![(table.name.clone(), table.clone())]];
        for expression in body.queries.iter().flat_map(|q| &q.targets) {
            walk.expression(expression);
        }
    }
    walk.ties
}

/// What the parameters of a function stand for, by name and by number.
pub(super) type Arguments = BTreeMap<String, Value>;

/// As which [`Arguments`] keep what a variable of the body must be: the one claim that the body reads.
pub(super) const VARIABLE: &str = "$";

/// Functions call functions; policies nest no deeper than this.
const DEEPEST: usize = 6;

pub(super) struct Walk<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) ties: Ties,
    /// Alias and table of the relations in sight; the outermost is the policy's row.
    pub(super) scopes: Vec<Vec<(String, Name)>>,
    /// The table whose policy it is.
    pub(super) row: Option<Name>,
    /// Of the functions around, the innermost last.
    pub(super) arguments: Vec<Arguments>,
    /// The functions around themselves.
    inside: Vec<u64>,
    /// Whether another condition stands beside this one under AND.
    pub(super) beside: bool,
}

impl Walk<'_> {
    fn expression(&mut self, expression: &Expr) {
        // What it is made of are other ways to say the same.
        if let Some(claim) = self.claim(expression) {
            if matches!(expression, Expr::Cast(_, to) if matches!(to.as_str(), "bool" | "boolean"))
            {
                self.constant(&claim, "=", "true");
            }
            self.ties.read.insert(claim);
            return;
        }
        match expression {
            Expr::Compare(compare) => self.compare(compare),
            Expr::SubSelect(sub) => {
                if let Some((test, operator)) = &sub.test
                    && operator == "="
                {
                    self.member(test, &sub.select);
                }
                if let Some((test, _)) = &sub.test {
                    self.expression(test);
                }
                self.select(&sub.select);
                return;
            }
            Expr::Call(call) => self.call(call),
            Expr::Column(column) => {
                if let Some(Value::Place(place)) = self.column(column)
                    && self.type_of(&place) == Some("boolean")
                {
                    self.ties.tests.insert((place, Test::True));
                }
            }
            Expr::IsNull(of) => {
                if let Some(Value::Place(place)) = self.value(of) {
                    self.ties.tests.insert((place, Test::Null));
                }
            }
            Expr::Keyword("session_user") => self.ties.session_user = true,
            _ => {}
        }
        let around = self.beside;
        self.beside = match expression {
            Expr::And(all) => around || all.len() > 1,
            Expr::Or(_) => false,
            _ => around,
        };
        for part in expression.parts() {
            self.expression(part);
        }
        self.beside = around;
    }

    fn type_of(&self, place: &Place) -> Option<&str> {
        let column = self.catalog.table(&place.0)?.column(&place.1)?;
        Some(&column.type_name)
    }

    fn select(&mut self, select: &Select) {
        let known = self.known(select);
        self.ties.inner.extend(known.iter().map(|(_, n)| n.clone()));
        self.scopes.push(known);
        for part in select.parts() {
            self.expression(part);
        }
        self.scopes.pop();
    }

    pub(super) fn known(&self, select: &Select) -> Vec<(String, Name)> {
        let known = select.sources().into_iter().filter_map(|s| {
            let (name, _) = self.catalog.resolve(&s.schema, &s.name)?;
            Some((s.alias.clone(), name.clone()))
        });
        known.collect()
    }

    /// `test in (select …)`, and `test = any (array(select …))`.
    pub(super) fn member(&mut self, test: &Expr, select: &Select) {
        let known = self.known(select);
        if let Some(target) = select.targets.first() {
            // The test stands outside, where the same name may mean another column.
            let outside = self.value(test);
            self.scopes.push(known);
            let inside = self.value(target);
            self.scopes.pop();
            self.tied(outside.as_ref(), inside.as_ref());
            self.looked_up(test, target);
        }
    }

    fn call(&mut self, call: &Call) {
        if call.schema.is_empty() && call.arguments.len() > 1 {
            for (at, one) in call.arguments.iter().enumerate() {
                for (_, other) in call.arguments.iter().enumerate().filter(|(i, _)| *i != at) {
                    self.loosely(one, other);
                }
            }
        }
        if self.arguments.len() >= DEEPEST {
            return;
        }
        for (function, body, arguments) in self.bodies(call) {
            if self.inside.contains(&function) {
                continue;
            }
            let outside = std::mem::take(&mut self.scopes);
            let beside = std::mem::take(&mut self.beside);
            self.arguments.push(arguments);
            self.inside.push(function);
            for query in &body.queries {
                self.select(query);
            }
            self.inside.pop();
            self.arguments.pop();
            self.beside = beside;
            self.scopes = outside;
        }
    }

    /// Bodies that the call may mean, with what tells the functions apart and what their arguments are.
    pub(super) fn bodies(&self, call: &Call) -> Vec<(u64, Body, Arguments)> {
        let named = self.catalog.functions.iter().enumerate().filter(|(_, f)| {
            f.name.name == call.name
                && (call.schema.is_empty() || f.name.schema == call.schema)
                && f.argument_types.len() >= call.arguments.len()
        });
        named
            .filter_map(|(at, f)| {
                let body = Body::of(f)?;
                let mut arguments = self.bound(f, call);
                if f.language == "plpgsql"
                    && let Some(claim) = self.only_claim(&body, &arguments)
                {
                    arguments.insert(VARIABLE.to_owned(), Value::Claim(claim));
                }
                Some((at as u64, body, arguments))
            })
            .collect()
    }

    fn only_claim(&self, body: &Body, arguments: &Arguments) -> Option<Claim> {
        let words = arguments.iter().filter_map(|(name, value)| match value {
            Value::Literal(text) => Some((name.clone(), text.clone())),
            _ => None,
        });
        let words = words.collect();
        let mut claims = BTreeSet::new();
        for part in body.queries.iter().flat_map(Select::parts) {
            part.walk(&mut |e| claims.extend(claim_of(e, &words, self.catalog)));
        }
        let all = claims.clone();
        claims.retain(|c| !all.iter().any(|o| o.is_inside(c)));
        let only = claims.pop_first()?;
        claims.is_empty().then_some(only)
    }

    fn bound(&self, function: &Function, call: &Call) -> Arguments {
        let mut bound = Arguments::new();
        for (at, argument) in call.arguments.iter().enumerate() {
            if let Some(value) = self.value(argument) {
                bound.insert(format!("${}", at + 1), value.clone());
                if let Some(name) = function.argument_names.get(at).filter(|n| !n.is_empty()) {
                    bound.insert(name.clone(), value);
                }
            }
        }
        bound
    }
}
