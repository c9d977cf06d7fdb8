//! What the policies of some tables compare claims with.

use super::claim::{Claim, claim_of};
use crate::model::{Catalog, Function, Name};
use crate::sql::expr::{Body, Call, Column, Expr, How, Select};
use crate::sql::qual::ScopeKind;
use std::collections::{BTreeMap, BTreeSet};

/// A column of a table.
pub(super) type Place = (Name, String);

/// What is known of who sees what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ties {
    /// Columns that a claim is compared with by `=`.
    pub(super) equal: BTreeMap<Claim, BTreeSet<Place>>,
    /// Literals that a claim is compared with.
    pub(super) literals: BTreeMap<Claim, BTreeSet<String>>,
    /// Columns that are compared with each other by `=`, both ways round.
    pub(super) joined: BTreeSet<(Place, Place)>,
    /// Claims that are read in any other way.
    pub(super) read: BTreeSet<Claim>,
}

/// Looks through the expressions of every policy, and through the functions that they call.
pub(super) fn scan<'a>(
    policies: impl IntoIterator<Item = (&'a Name, &'a str)>,
    catalog: &Catalog,
) -> Ties {
    let mut walk = Walk {
        catalog,
        ties: Ties::default(),
        scopes: Vec::new(),
        arguments: Vec::new(),
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
        walk.scopes = vec![vec![(table.name.clone(), table.clone())]];
        for expression in body.queries.iter().flat_map(|q| &q.targets) {
            walk.expression(expression);
        }
    }
    walk.ties
}

/// What the parameters of a function stand for, by name and by number.
type Arguments = BTreeMap<String, Place>;

struct Walk<'a> {
    catalog: &'a Catalog,
    ties: Ties,
    /// Alias and table of the relations in sight; the outermost is the policy's row.
    scopes: Vec<Vec<(String, Name)>>,
    /// Of the functions around, the innermost last.
    arguments: Vec<Arguments>,
}

/// What a value is.
enum Value {
    Claim(Claim),
    Place(Place),
    Literal(String),
}

impl Walk<'_> {
    fn expression(&mut self, expression: &Expr) {
        // What it is made of are other ways to say the same.
        if let Some(claim) = claim_of(expression, self.catalog) {
            self.ties.read.insert(claim);
            return;
        }
        match expression {
            Expr::Compare(compare)
                if compare.operator == "=" && matches!(compare.how, How::Plain | How::Any) =>
            {
                self.equal(&compare.left, &compare.right);
            }
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
            _ => {}
        }
        for part in expression.parts() {
            self.expression(part);
        }
    }

    fn select(&mut self, select: &Select) {
        let known = select.sources().into_iter().filter_map(|s| {
            let (name, _) = self.catalog.resolve(&s.schema, &s.name)?;
            Some((s.alias.clone(), name.clone()))
        });
        let known = known.collect();
        self.scopes.push(known);
        for part in select.parts() {
            self.expression(part);
        }
        self.scopes.pop();
    }

    /// `test in (select …)`, and `test = any (array(select …))`.
    fn member(&mut self, test: &Expr, select: &Select) {
        let known = select.sources().into_iter().filter_map(|s| {
            let (name, _) = self.catalog.resolve(&s.schema, &s.name)?;
            Some((s.alias.clone(), name.clone()))
        });
        let known: Vec<_> = known.collect();
        if let Some(target) = select.targets.first() {
            self.scopes.push(known);
            self.equal(test, target);
            self.scopes.pop();
        }
    }

    fn equal(&mut self, left: &Expr, right: &Expr) {
        for (one, other) in [(left, right), (right, left)] {
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
            match (self.value(one), self.value(other)) {
                (Some(Value::Claim(claim)), Some(Value::Place(place))) => {
                    self.ties.equal.entry(claim).or_default().insert(place);
                }
                (Some(Value::Claim(claim)), Some(Value::Literal(text))) => {
                    self.ties.literals.entry(claim).or_default().insert(text);
                }
                (Some(Value::Place(a)), Some(Value::Place(b))) if a.0 != b.0 => {
                    self.ties.joined.insert((a, b));
                }
                _ => {}
            }
        }
    }

    /// `value = f()`, where the function reads what it returns from a table.
    fn returned(&mut self, value: &Expr, call: &Call) {
        for (_, body, arguments) in self.bodies(call) {
            self.arguments.push(arguments);
            for query in &body.queries {
                if !query.from.is_empty() {
                    self.member(value, query);
                }
            }
            self.arguments.pop();
        }
    }

    fn call(&mut self, call: &Call) {
        const DEEPEST: usize = 4;
        if self.arguments.len() >= DEEPEST {
            return;
        }
        for (_, body, arguments) in self.bodies(call) {
            let outside = std::mem::take(&mut self.scopes);
            self.arguments.push(arguments);
            for query in &body.queries {
                self.select(query);
            }
            self.arguments.pop();
            self.scopes = outside;
        }
    }

    fn bodies(&self, call: &Call) -> Vec<(Name, Body, Arguments)> {
        self.catalog
            .functions_named(&call.schema, &call.name)
            .filter(|f| f.argument_types.len() >= call.arguments.len())
            .filter_map(|f| Some((f.name.clone(), Body::of(f)?, self.bound(f, call))))
            .collect()
    }

    fn bound(&self, function: &Function, call: &Call) -> Arguments {
        let mut bound = Arguments::new();
        for (at, argument) in call.arguments.iter().enumerate() {
            if let Some(Value::Place(place)) = self.value(argument) {
                bound.insert(format!("${}", at + 1), place.clone());
                if let Some(name) = function.argument_names.get(at).filter(|n| !n.is_empty()) {
                    bound.insert(name.clone(), place);
                }
            }
        }
        bound
    }

    fn value(&self, expression: &Expr) -> Option<Value> {
        match expression.value() {
            Expr::Column(column) => self.column(column).map(Value::Place),
            Expr::Parameter(number) => {
                let innermost = self.arguments.last()?;
                innermost
                    .get(&format!("${number}"))
                    .cloned()
                    .map(Value::Place)
            }
            Expr::Text(text) => Some(Value::Literal(text.clone())),
            other => claim_of(other, self.catalog).map(Value::Claim),
        }
    }

    fn column(&self, column: &Column) -> Option<Place> {
        let has = |table: &Name| {
            let known = self.catalog.table(table);
            known.is_some_and(|t| t.column(&column.name).is_some())
        };
        let found = self.scopes.iter().rev().find_map(|scope| {
            scope.iter().find(|(alias, table)| {
                has(table) && (column.relation.is_empty() || column.relation == *alias)
            })
        });
        match found {
            Some((_, table)) => Some((table.clone(), column.name.clone())),
            None => self.arguments.last()?.get(&column.name).cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column as TableColumn, Table};

    fn catalog() -> Catalog {
        let mut catalog = super::super::claim::tests::catalog();
        for (name, columns) in [
            ("doc", ["id", "org", "owner"].as_slice()),
            ("member", &["user_id", "org_id"]),
        ] {
            let columns = columns.iter().map(|c| TableColumn {
                name: (*c).to_owned(),
                ..TableColumn::default()
            });
            catalog.tables.insert(
                Name::new("public", name),
                Table {
                    columns: columns.collect(),
                    ..Table::default()
                },
            );
        }
        catalog.functions.push(Function {
            name: Name::new("public", "can"),
            language: "sql".to_owned(),
            argument_types: vec!["int".to_owned()],
            argument_names: vec!["target".to_owned()],
            body: "select exists (select 1 from public.member m where m.org_id = target and m.user_id = auth.uid())".to_owned(),
            ..Function::default()
        });
        catalog.functions.push(Function {
            name: Name::new("public", "orgs"),
            language: "sql".to_owned(),
            body: "select m.org_id from public.member m where m.user_id = auth.uid()".to_owned(),
            ..Function::default()
        });
        catalog
    }

    #[test]
    fn membership_is_found_however_it_is_written() {
        let doc = Name::new("public", "doc");
        for text in [
            "public.can(org)",
            "org in (select public.orgs())",
            "org = any (array(select public.orgs()))",
            "exists (select 1 from public.member m where m.org_id = doc.org and m.user_id = (select auth.uid()))",
            "org in (select m.org_id from public.member m where m.user_id = auth.uid())",
            "org = any (array(select m.org_id from public.member m where m.user_id = auth.uid()))",
        ] {
            let ties = scan([(&doc, text)], &catalog());
            let columns: Vec<_> = ties
                .equal
                .values()
                .flatten()
                .map(|(_, c)| c.as_str())
                .collect();
            assert_eq!(columns, ["user_id"], "{text}");
            let joined: Vec<_> = ties
                .joined
                .iter()
                .map(|((_, a), (_, b))| format!("{a} {b}"))
                .collect();
            assert_eq!(joined, ["org org_id", "org_id org"], "{text}");
        }
        let ties = scan(
            [(
                &doc,
                "owner = auth.uid() and auth.jwt() ->> 'kind' = 'nurse'",
            )],
            &catalog(),
        );
        assert_eq!(ties.equal.len(), 1);
        assert_eq!(
            ties.literals.values().flatten().collect::<Vec<_>>(),
            ["nurse"]
        );
    }
}
