//! Which policies a query is subject to: those of the tables it names for its commands, and those that they lead to.

use crate::model::{Catalog, Command, Function, Name, Query, Table, TableKind};
use crate::sql::access::commands;
use crate::sql::touches::Touches;
use std::collections::{BTreeMap, BTreeSet};

/// One table as one role reads or writes it.
type Step = (Name, Command, String);

/// A policy: its table, its name.
pub(super) type PolicyId = (Name, String);

/// Works out who reads which policy; what a table leads to is worked out once.
pub(super) struct Reading<'a> {
    catalog: &'a Catalog,
    known: BTreeMap<Step, (Vec<PolicyId>, Vec<Step>)>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(catalog: &'a Catalog) -> Self {
        Self {
            catalog,
            known: BTreeMap::new(),
        }
    }

    /// The ids of the queries that each policy is asked for.
    pub(super) fn readers<'q>(
        &mut self,
        queries: impl IntoIterator<Item = &'q Query>,
    ) -> BTreeMap<PolicyId, BTreeSet<String>> {
        let mut readers: BTreeMap<PolicyId, BTreeSet<String>> = BTreeMap::new();
        for query in queries {
            for policy in self.policies(query) {
                readers.entry(policy).or_default().insert(query.id.clone());
            }
        }
        readers
    }

    fn policies(&mut self, query: &Query) -> BTreeSet<PolicyId> {
        let role = &query.persona.role;
        let mut pending: Vec<Step> = commands(&query.sql, self.catalog)
            .into_iter()
            .map(|(table, command)| (table, command, role.clone()))
            .collect();
        if let Some(touches) = Touches::of_query(&query.sql) {
            pending.extend(self.called(&touches, role));
        }
        let (mut found, mut seen) = (BTreeSet::new(), BTreeSet::new());
        while let Some(step) = pending.pop() {
            if !seen.insert(step.clone()) {
                continue;
            }
            if !self.known.contains_key(&step) {
                let next = self.look(&step);
                self.known.insert(step.clone(), next);
            }
            if let Some((policies, steps)) = self.known.get(&step) {
                found.extend(policies.iter().cloned());
                pending.extend(steps.iter().cloned());
            }
        }
        found
    }

    /// The policies that one step asks, and the steps that follow from it.
    fn look(&self, (name, command, role): &Step) -> (Vec<PolicyId>, Vec<Step>) {
        let (mut policies, mut steps) = (Vec::new(), Vec::new());
        let Some(table) = self.catalog.table(name) else {
            return (policies, steps);
        };
        if table.kind == TableKind::View {
            let invoker = table.options.iter().any(|o| {
                let (option, value) = o.split_once('=').unwrap_or((o, "true"));
                option == "security_invoker" && matches!(value, "true" | "on" | "1" | "yes")
            });
            let role = if invoker { role } else { &table.owner };
            steps.extend(
                table
                    .reads
                    .iter()
                    .map(|t| (t.clone(), *command, role.clone())),
            );
            return (policies, steps);
        }
        if !table.rls_enabled || self.is_exempt(table, role) {
            return (policies, steps);
        }
        for policy in &table.policies {
            if !policy.command.covers(*command) || !self.catalog.applies_to(policy, role) {
                continue;
            }
            policies.push((name.clone(), policy.name.clone()));
            for expression in [&policy.using, &policy.check].into_iter().flatten() {
                let Some(touches) = Touches::of_query(&format!("select {expression}")) else {
                    continue;
                };
                steps.extend(self.named(&touches, role));
                steps.extend(self.called(&touches, role));
            }
        }
        (policies, steps)
    }

    fn named(&self, touches: &Touches, role: &str) -> Vec<Step> {
        touches
            .relations()
            .filter_map(|(schema, name)| self.catalog.resolve(schema, name))
            .map(|(name, _)| (name.clone(), Command::Select, role.to_owned()))
            .collect()
    }

    /// What the functions that something calls read, through each other too.
    fn called(&self, touches: &Touches, role: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut seen = BTreeSet::new();
        let mut pending = vec![(touches.clone(), role.to_owned())];
        while let Some((touches, role)) = pending.pop() {
            for (schema, name) in &touches.calls {
                for function in self.catalog.functions_named(schema, name) {
                    let role = runs_as(function, &role);
                    if !seen.insert((function.oid, role.to_owned())) {
                        continue;
                    }
                    if let Some(inner) = Touches::of_function(function) {
                        steps.extend(self.named(&inner, role));
                        pending.push((inner, role.to_owned()));
                    }
                }
            }
        }
        steps
    }

    fn is_exempt(&self, table: &Table, role: &str) -> bool {
        let held = self.catalog.roles.get(role);
        let owns = table.owner == role
            || held.is_some_and(|r| r.inherit && r.member_of.contains(&table.owner));
        held.is_some_and(|r| r.superuser || r.bypass_rls) || owns && !table.rls_forced
    }
}

fn runs_as<'f>(function: &'f Function, role: &'f str) -> &'f str {
    if function.security_definer {
        &function.owner
    } else {
        role
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Persona, Policy};

    fn policy(name: &str, command: Command, using: &str) -> Policy {
        Policy {
            name: name.into(),
            permissive: true,
            roles: vec!["app".into()],
            command,
            using: Some(using.into()),
            check: None,
        }
    }

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        let tables = [
            (
                "items",
                vec![
                    policy(
                        "items_read",
                        Command::Select,
                        "exists (select 1 from public.members m where m.item = items.id)",
                    ),
                    policy("items_change", Command::Update, "public.mine(id)"),
                ],
            ),
            (
                "members",
                vec![policy("members_own", Command::Select, "owner = 1")],
            ),
            (
                "grants",
                vec![policy("grants_own", Command::Select, "owner = 1")],
            ),
        ];
        for (name, policies) in tables {
            let table = Table {
                rls_enabled: true,
                owner: "boss".into(),
                policies,
                ..Table::default()
            };
            catalog.tables.insert(Name::new("public", name), table);
        }
        catalog.functions.push(Function {
            name: Name::new("public", "mine"),
            language: "sql".into(),
            body: "select exists (select 1 from public.grants g where g.item = $1)".into(),
            owner: "boss".into(),
            ..Function::default()
        });
        catalog
    }

    fn read(catalog: &Catalog, role: &str, sql: &str) -> Vec<String> {
        let query = Query {
            id: "q".into(),
            sql: sql.into(),
            persona: Persona {
                role: role.into(),
                ..Persona::default()
            },
            ..Query::default()
        };
        let readers = Reading::new(catalog).readers([&query]);
        readers.into_keys().map(|(_, policy)| policy).collect()
    }

    #[test]
    fn policies_are_asked_for_their_command_and_their_role() {
        let catalog = catalog();
        let select = "select 1 from items";
        assert_eq!(read(&catalog, "app", select), ["items_read", "members_own"]);
        let update = "update items set id = id where id = 1";
        assert_eq!(
            read(&catalog, "app", update),
            ["grants_own", "items_change", "items_read", "members_own"]
        );
        for other in ["stranger", "boss"] {
            assert!(read(&catalog, other, select).is_empty(), "{other}");
        }
        assert!(read(&catalog, "app", "select 1").is_empty());
        assert_eq!(read(&catalog, "app", "select mine(1)"), ["grants_own"]);
    }

    #[test]
    fn a_definer_function_reads_as_its_owner_and_a_view_too() {
        let mut catalog = catalog();
        catalog.functions[0].security_definer = true;
        assert!(read(&catalog, "app", "select mine(1)").is_empty());
        let mut view = Table {
            kind: TableKind::View,
            owner: "boss".into(),
            reads: vec![Name::new("public", "grants")],
            ..Table::default()
        };
        catalog
            .tables
            .insert(Name::new("public", "v"), view.clone());
        assert!(read(&catalog, "app", "select 1 from v").is_empty());
        view.options = vec!["security_invoker=true".into()];
        catalog.tables.insert(Name::new("public", "v"), view);
        assert_eq!(read(&catalog, "app", "select 1 from v"), ["grants_own"]);
    }
}
