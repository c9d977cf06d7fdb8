//! What the expressions of policies mean: folded, and asked whether they depend on who asks.

use super::{Facts, PolicyFacts};
use crate::model::{Function, Name};
use crate::sql::expr::{Body, Call, Expr, How, SubSelect};
use crate::sql::fold::{Meaning, Session, Value, fold};
use std::collections::{BTreeMap, BTreeSet};

/// Names that columns holding a tenant or a user go by.
const IDENTITIES: &[&str] = &[
    "account",
    "account_id",
    "client_id",
    "clinic_id",
    "company_id",
    "created_by",
    "customer_id",
    "group_id",
    "location_id",
    "member_id",
    "org",
    "org_id",
    "organisation_id",
    "organization_id",
    "owner",
    "owner_id",
    "profile_id",
    "project_id",
    "shop_id",
    "site_id",
    "store_id",
    "team_id",
    "tenant",
    "tenant_id",
    "user_id",
    "workspace_id",
];

/// Whether a column of this name usually tells whose row it is.
pub(super) fn is_identity(column: &str) -> bool {
    IDENTITIES.contains(&column.to_lowercase().as_str())
}

type Named<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a Function>>;

/// Bodies of functions that policies call, followed through the functions that those call.
#[derive(Default)]
pub(super) struct Bodies {
    by_oid: BTreeMap<u32, Body>,
    /// Functions that ask who asks, themselves or through others.
    asking: BTreeSet<u32>,
}

impl Bodies {
    pub(super) fn of(policies: &[PolicyFacts<'_>], functions: &Named<'_>) -> Self {
        let mut bodies = Self::default();
        let mut open: BTreeSet<(String, String)> = BTreeSet::new();
        let quals = policies.iter().flat_map(PolicyFacts::quals);
        for (_, qual) in quals {
            qual.expr.walk(&mut |e| note_call(e, &mut open));
        }
        let mut seen = open.clone();
        let mut callers: Vec<(u32, BTreeSet<(String, String)>)> = Vec::new();
        while let Some((schema, name)) = open.pop_first() {
            for function in functions.get(&(&schema, &name)).into_iter().flatten() {
                let Some(body) = Body::of(function) else {
                    continue;
                };
                let mut called = BTreeSet::new();
                let asks = body.any(|e| {
                    note_call(e, &mut called);
                    asks_directly(e)
                });
                // `any` stops at what it looks for.
                body.any(|e| {
                    note_call(e, &mut called);
                    false
                });
                if asks {
                    bodies.asking.insert(function.oid);
                }
                for call in &called {
                    if seen.insert(call.clone()) {
                        open.insert(call.clone());
                    }
                }
                callers.push((function.oid, called));
                bodies.by_oid.insert(function.oid, body);
            }
        }
        bodies.pass_on(&callers, functions);
        bodies
    }

    /// Who calls a function that asks, asks.
    fn pass_on(&mut self, callers: &[(u32, BTreeSet<(String, String)>)], functions: &Named<'_>) {
        loop {
            let before = self.asking.len();
            for (caller, called) in callers {
                let asks = called.iter().any(|(schema, name)| {
                    let named = functions.get(&(schema.as_str(), name.as_str()));
                    named
                        .into_iter()
                        .flatten()
                        .any(|f| self.asking.contains(&f.oid))
                });
                if asks {
                    self.asking.insert(*caller);
                }
            }
            if self.asking.len() == before {
                return;
            }
        }
    }
}

fn note_call(expr: &Expr, calls: &mut BTreeSet<(String, String)>) {
    if let Expr::Call(call) = expr
        && !call.schema.is_empty()
    {
        calls.insert((call.schema.clone(), call.name.clone()));
    }
}

/// Whether the expression itself, not its parts, tells who asks.
fn asks_directly(expr: &Expr) -> bool {
    match expr {
        Expr::Call(call) => {
            is_helper(call) || call.schema.is_empty() && call.name == "current_setting"
        }
        Expr::Keyword(word) => matches!(*word, "current_user" | "session_user"),
        _ => false,
    }
}

/// The functions by which API servers tell who asks.
fn is_helper(call: &Call) -> bool {
    call.schema == "auth" && matches!(call.name.as_str(), "uid" | "role" | "jwt" | "email")
}

impl Meaning for Facts<'_> {
    fn function(
        &self,
        schema: &str,
        name: &str,
        arguments: usize,
    ) -> Option<(&Function, Option<&Body>)> {
        let &[function] = self.functions_named(schema, name, arguments).as_slice() else {
            return None;
        };
        Some((function, self.bodies.by_oid.get(&function.oid)))
    }
}

impl Facts<'_> {
    /// What an expression of the policy comes to for every row.
    pub(super) fn fold(&self, policy: &PolicyFacts<'_>, expr: &Expr, session: Session) -> Value {
        fold(expr, Some(policy.table), &session, self)
    }

    /// Functions that policies call, directly or through others, and whose bodies are understood.
    pub(super) fn called_by_policies(&self) -> impl Iterator<Item = (&Function, &Body)> {
        let functions = self.catalog.functions.iter();
        functions.filter_map(|f| Some((f, self.body(f)?)))
    }

    /// Whether the function's result depends on who asks.
    pub(super) fn is_asking(&self, function: &Function) -> bool {
        self.bodies.asking.contains(&function.oid)
    }

    pub(super) fn body(&self, function: &Function) -> Option<&Body> {
        self.bodies.by_oid.get(&function.oid)
    }

    /// Whether the expression itself, not its parts, is a value that tells who asks.
    pub(super) fn asks(&self, expr: &Expr) -> bool {
        asks_directly(expr)
            || matches!(expr, Expr::Call(call) if self.called(call).any(|f| self.bodies.asking.contains(&f.oid)))
    }

    /// Whether nothing is known of what a function does: it may ask as well.
    pub(super) fn is_closed(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Call(call) if !call.schema.is_empty() && !is_helper(call) => {
                let mut called = self.called(call).peekable();
                called.peek().is_none() || called.any(|f| self.body(f).is_none())
            }
            _ => false,
        }
    }

    fn called(&self, call: &Call) -> impl Iterator<Item = &Function> {
        let named = if call.schema.is_empty() {
            Vec::new()
        } else {
            self.functions_named(&call.schema, &call.name, call.arguments.len())
        };
        named.into_iter()
    }

    /// Whether the value, outside of sub-selects that read, depends on who asks.
    pub(super) fn is_session_value(&self, expr: &Expr) -> bool {
        expr.any_outside(|e| self.asks(e))
    }

    /// Columns of the row that are set equal to a value that depends on who asks: those that scope it.
    pub(super) fn scoped_columns<'e>(&self, expr: &'e Expr) -> BTreeSet<&'e str> {
        let mut found = BTreeSet::new();
        expr.walk_outside(&mut |e| match e {
            Expr::Compare(c) if c.operator == "=" && c.how != How::NullIf => {
                for (column, value) in c.sides() {
                    if let Some(column) = column.row_column()
                        && (self.is_session_value(value) || self.is_session_set(value))
                    {
                        found.insert(column);
                    }
                }
            }
            Expr::SubSelect(sub) => {
                if let Some((test, operator)) = &sub.test
                    && operator == "="
                    && let Some(column) = test.row_column()
                    && self.binds(sub)
                {
                    found.insert(column);
                }
            }
            _ => {}
        });
        found
    }

    /// `array(select … where … = <who asks>)`.
    fn is_session_set(&self, expr: &Expr) -> bool {
        matches!(expr.value(), Expr::SubSelect(sub) if self.binds(sub))
    }

    /// Whether a sub-select depends on who asks.
    pub(super) fn binds(&self, sub: &SubSelect) -> bool {
        let mut parts = sub.select.parts().into_iter();
        parts.any(|part| part.any(|e| self.asks(e)))
    }
}

impl PolicyFacts<'_> {
    /// What rows that are written must satisfy: WITH CHECK, or USING where it stands for it.
    pub(super) fn written(&self) -> Option<&Expr> {
        use crate::model::Command::{All, Update};
        let check = self.check.as_ref().map(|q| &q.expr);
        check.or_else(|| {
            let stands = matches!(self.policy.command, All | Update) && self.policy.check.is_none();
            self.using.as_ref().filter(|_| stands).map(|q| &q.expr)
        })
    }

    /// What rows that are read, updated or deleted must satisfy.
    pub(super) fn seen(&self) -> Option<&Expr> {
        self.using.as_ref().map(|q| &q.expr)
    }
}

/// The table that a relation of a sub-select is, in the words of the catalog.
pub(super) fn table_of<'c>(
    facts: &Facts<'c>,
    source: &crate::sql::expr::Source,
) -> Option<(&'c Name, &'c crate::model::Table)> {
    if source.name.is_empty() {
        return None;
    }
    facts.catalog.resolve(&source.schema, &source.name)
}
