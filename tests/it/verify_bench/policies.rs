//! Changes of policies: their expressions, roles, commands, kinds, and whether they are there.

use super::catalog::{Catalog, Policy, Relation};
use super::change::Change;
use super::expression::Expression;
use super::ground::Scheme;

/// The parts of a policy that CREATE POLICY takes.
impl Policy {
    fn create(&self) -> String {
        let Policy {
            table,
            name,
            roles,
            command,
            ..
        } = self;
        let kind = if self.permissive {
            "permissive"
        } else {
            "restrictive"
        };
        let part =
            |word: &str, e: Option<&String>| e.map_or(String::new(), |e| format!(" {word} ({e})"));
        format!(
            "create policy {name} on {table} as {kind} for {command} to {roles}{}{};",
            part("using", self.using.as_ref()),
            part("with check", self.check.as_ref())
        )
    }

    fn dropped(&self) -> String {
        format!("drop policy {} on {};", self.name, self.table)
    }

    /// Drops it and makes `other` in its place.
    fn replaced(&self, other: &Policy) -> String {
        format!("{}\n{}", self.dropped(), other.create())
    }

    fn alter(&self, what: &str) -> String {
        format!("alter policy {} on {} {what};", self.name, self.table)
    }

    /// With another command, and the expressions that this command has.
    fn commanded(&self, command: &str) -> Policy {
        let any = self.using.clone().or(self.check.clone());
        let check = self.check.clone().or(self.using.clone());
        Policy {
            command: command.to_owned(),
            using: any.filter(|_| command != "insert"),
            check: check.filter(|_| !matches!(command, "select" | "delete")),
            ..self.clone()
        }
    }
}

/// Every mutation of every policy.
pub(super) fn mutations(catalog: &Catalog, scheme: &Scheme) -> Vec<Change> {
    let mut found = Vec::new();
    for policy in &catalog.policies {
        let relation = catalog
            .relations
            .iter()
            .find(|r| r.name == policy.table)
            .unwrap();
        for (word, expression) in parts(policy) {
            for (kind, text) in texts(catalog, scheme, relation, expression) {
                found.push(Change::new(
                    kind,
                    &policy.table,
                    policy.alter(&format!("{word} ({text})")),
                ));
            }
        }
        found.extend(whole(policy, scheme));
    }
    for relation in catalog.relations.iter().filter(|r| r.rls) {
        found.extend(added(relation, scheme));
    }
    found
}

fn parts(policy: &Policy) -> Vec<(&'static str, &String)> {
    let using = policy.using.iter().map(|e| ("using", e));
    using
        .chain(policy.check.iter().map(|e| ("with check", e)))
        .collect()
}

fn texts(
    catalog: &Catalog,
    scheme: &Scheme,
    relation: &Relation,
    expression: &str,
) -> Vec<(&'static str, String)> {
    let constants: Vec<String> = scheme.constants.iter().map(|c| (*c).to_owned()).collect();
    let parsed = Expression::new(expression);
    let mut found = parsed.mutants(&constants);
    found.extend(parsed.renamed(catalog, &relation.name));
    for condition in conditions(relation, scheme) {
        found.push(("conjunct added", format!("({expression}) and {condition}")));
        found.push(("disjunct added", format!("({expression}) or {condition}")));
    }
    found.push(("negated", format!("not ({expression})")));
    found.push(("constant", "true".to_owned()));
    found.push(("constant", "false".to_owned()));
    found
}

/// Conditions on a row or on who asks.
fn conditions(relation: &Relation, scheme: &Scheme) -> Vec<String> {
    let mut found = vec![format!("current_user = '{}'", scheme.roles[1])];
    for column in &relation.columns {
        let name = &column.name;
        if column.type_name == "boolean" {
            found.push(name.clone());
        } else if let Some(label) = column.labels.last() {
            found.push(format!("{name} = '{label}'"));
        } else if column.nullable {
            found.push(format!("({name} is null)"));
        }
    }
    found
}

/// A policy as a whole.
fn whole(policy: &Policy, scheme: &Scheme) -> Vec<Change> {
    let change = |kind, sql| Change::new(kind, &policy.table, sql);
    let mut found = vec![change("policy dropped", policy.dropped())];
    for role in scheme
        .roles
        .iter()
        .chain(&["public"])
        .filter(|r| **r != policy.roles)
    {
        found.push(change("roles", policy.alter(&format!("to {role}"))));
    }
    for command in ["all", "select", "insert", "update", "delete"]
        .into_iter()
        .filter(|c| *c != policy.command)
    {
        found.push(change(
            "command",
            policy.replaced(&policy.commanded(command)),
        ));
    }
    let flipped = Policy {
        permissive: !policy.permissive,
        ..policy.clone()
    };
    found.push(change(
        "permissive and restrictive",
        policy.replaced(&flipped),
    ));
    if let (Some(using), Some(check)) = (&policy.using, &policy.check) {
        found.push(change("USING and CHECK", policy.alter("with check (true)")));
        found.push(change("USING and CHECK", policy.alter("using (true)")));
        if using != check {
            found.push(change(
                "USING and CHECK",
                policy.alter(&format!("using ({check}) with check ({using})")),
            ));
            found.push(change(
                "USING and CHECK",
                policy.replaced(&Policy {
                    check: None,
                    ..policy.clone()
                }),
            ));
        }
    }
    found
}

fn added(relation: &Relation, scheme: &Scheme) -> Vec<Change> {
    let table = &relation.name;
    let mut found = Vec::new();
    let mut conditions = vec!["true".to_owned()];
    conditions.extend(conditions_of_others(relation));
    for condition in conditions {
        for role in scheme.roles.iter().chain(&["public"]) {
            for (command, part) in [
                ("select", "using"),
                ("insert", "with check"),
                ("update", "using"),
                ("delete", "using"),
                ("all", "using"),
            ] {
                let sql = |kind: &str| {
                    format!(
                        "create policy extra on {table} as {kind} for {command} to {role} {part} ({condition});"
                    )
                };
                found.push(Change::new("policy added", table, sql("permissive")));
                if condition != "true" {
                    found.push(Change::new(
                        "restrictive policy added",
                        table,
                        sql("restrictive"),
                    ));
                }
            }
        }
    }
    found
}

fn conditions_of_others(relation: &Relation) -> Vec<String> {
    let nullable = relation
        .columns
        .iter()
        .filter(|c| c.nullable)
        .take(1)
        .map(|c| format!("{} is null", c.name));
    let flags = relation
        .columns
        .iter()
        .filter(|c| c.type_name == "boolean")
        .take(1)
        .map(|c| c.name.clone());
    nullable.chain(flags).collect()
}

/// Changes after which everybody reads and writes the same rows.
pub(super) fn equivalents(catalog: &Catalog, scheme: &Scheme) -> Vec<Change> {
    let mut found = Vec::new();
    for policy in &catalog.policies {
        let change = |kind, sql| Change::new(kind, &policy.table, sql);
        for (word, expression) in parts(policy) {
            for (kind, text) in Expression::new(expression).equivalents() {
                found.push(change(kind, policy.alter(&format!("{word} ({text})"))));
            }
        }
        found.push(change("equal: made anew", policy.replaced(policy)));
        found.push(change(
            "equal: renamed",
            policy.alter("rename to another_name"),
        ));
        if policy.command == "all" {
            let split: Vec<String> = ["select", "insert", "update", "delete"]
                .iter()
                .map(|c| {
                    Policy {
                        name: format!("{}_{c}", policy.name),
                        ..policy.commanded(c)
                    }
                    .create()
                })
                .collect();
            found.push(change(
                "equal: split by command",
                format!("{}\n{}", policy.dropped(), split.join("\n")),
            ));
        }
        found.extend(merged(catalog, policy).map(|sql| change("equal: merged", sql)));
    }
    for relation in catalog.relations.iter().filter(|r| r.rls) {
        let table = &relation.name;
        found.push(Change::new(
            "equal: never true",
            table,
            format!("create policy extra on {table} for all to public using (false);"),
        ));
        found.push(Change::new(
            "equal: restrictive and true",
            table,
            format!(
                "create policy extra on {table} as restrictive for all to {} using (true);",
                scheme.roles[0]
            ),
        ));
    }
    found
}

/// One policy for two of the same table, command and roles.
fn merged(catalog: &Catalog, policy: &Policy) -> Option<String> {
    let other = catalog.policies.iter().find(|o| {
        o.table == policy.table
            && o.name > policy.name
            && o.command == "select"
            && policy.command == "select"
            && o.roles == policy.roles
            && o.permissive
            && policy.permissive
    })?;
    let both = format!(
        "({}) or ({})",
        policy.using.as_ref()?,
        other.using.as_ref()?
    );
    Some(format!(
        "{}\n{}",
        other.dropped(),
        policy.alter(&format!("using ({both})"))
    ))
}
