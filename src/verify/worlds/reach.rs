//! What the policies of a table read, on either side: tables, functions, constants, settings. Bodies are followed by the
//! names in them, so that a table is put into the worlds too often rather than not at all.

use crate::model::{Catalog, Command, Function, Name, Policy, Table, TableKind};
use crate::sql::said::{Said, said};
use std::collections::{BTreeMap, BTreeSet};

/// What a search must build its worlds of.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    /// With the table itself.
    pub(super) tables: BTreeSet<Name>,
    pub(super) said: Said,
    /// The commands whose policies, or what these call, are not the same on both sides, with the roles these policies name.
    pub(super) changed: BTreeMap<Command, BTreeSet<String>>,
    /// The commands that a policy on either side admits at all.
    pub(super) admitted: BTreeSet<Command>,
    /// Roles that changed policies name, `public` among them.
    pub(super) named: BTreeSet<String>,
}

const COMMANDS: [Command; 4] = [
    Command::Select,
    Command::Insert,
    Command::Update,
    Command::Delete,
];

/// Calls that run a text as a query, so that no text says what is read.
const DYNAMIC: [&str; 9] = [
    "query_to_xml",
    "query_to_xmlschema",
    "query_to_xml_and_xmlschema",
    "table_to_xml",
    "cursor_to_xml",
    "schema_to_xml",
    "database_to_xml",
    "dblink",
    "crosstab",
];

/// Calls with another result each time.
const CHANCE: [&str; 6] = [
    "random",
    "random_normal",
    "setseed",
    "nextval",
    "gen_random_uuid",
    "uuid_generate_v4",
];

/// What the policies of `table` read, or why that cannot be told.
pub(super) fn reach(
    before: &Catalog,
    after: &Catalog,
    table: &Name,
) -> std::result::Result<Reach, String> {
    let (Some(old), Some(new)) = (before.table(table), after.table(table)) else {
        return Err("the table exists on one side only".to_owned());
    };
    let mut reach = Reach::default();
    let mut functions = [Vec::new(), Vec::new()];
    for ((catalog, side), seen) in [(before, old), (after, new)]
        .into_iter()
        .zip(&mut functions)
    {
        let mut reader = Reader {
            catalog,
            reach: &mut reach,
            seen: BTreeSet::new(),
            functions: Vec::new(),
            lenient: false,
        };
        reader.table(table, side)?;
        reader.lenient = true;
        reader.triggers(side)?;
        *seen = reader.functions;
    }
    let [was, is] = functions;
    let same = |f: &&Function, g: &Function| f.name == g.name && f.arguments == g.arguments;
    let altered = was
        .iter()
        .any(|f| is.iter().find(|g| same(&f, g)).is_some_and(|g| f != g));
    let mut beneath = reach.tables.iter().filter(|name| *name != table);
    let altered = altered || beneath.any(|name| access(before, name) != access(after, name));
    reach.compare(old, new, altered);
    Ok(reach)
}

/// What decides which rows of a table somebody gets.
fn access<'a>(catalog: &'a Catalog, name: &Name) -> impl PartialEq + use<'a> {
    let table = catalog.table(name);
    table.map(|t| {
        (
            &t.policies,
            t.rls_enabled,
            t.rls_forced,
            &t.owner,
            &t.grants,
        )
    })
}

impl Reach {
    fn compare(&mut self, old: &Table, new: &Table, functions: bool) {
        let switched = (old.rls_enabled, old.rls_forced) != (new.rls_enabled, new.rls_forced);
        // Where the policies are the same on both sides, something that they depend on is not: any of them may differ.
        let everything = functions || switched || old.policies == new.policies;
        for (side, other) in [(old, new), (new, old)] {
            for policy in &side.policies {
                let commands = COMMANDS.iter().filter(|c| policy.command.covers(**c));
                if policy.permissive {
                    self.admitted.extend(commands.clone());
                }
                if everything || other.policy(&policy.name) != Some(policy) {
                    for command in commands {
                        let roles = self.changed.entry(*command).or_default();
                        roles.extend(policy.roles.iter().cloned());
                    }
                    self.named.extend(policy.roles.iter().cloned());
                }
            }
        }
        if switched {
            for command in COMMANDS {
                let roles = self.changed.entry(command).or_default();
                roles.insert("public".to_owned());
            }
            self.admitted.extend(COMMANDS);
            self.named.insert("public".to_owned());
        }
    }
}

struct Reader<'a, 'b> {
    catalog: &'a Catalog,
    reach: &'b mut Reach,
    seen: BTreeSet<Name>,
    /// Those followed, without what differs by chance between two copies.
    functions: Vec<Function>,
    /// What cannot be followed is passed over: it is no part of a policy.
    lenient: bool,
}

impl Reader<'_, '_> {
    fn table(&mut self, name: &Name, table: &Table) -> std::result::Result<(), String> {
        // The first is the table that the search is about.
        let own = self.seen.is_empty();
        if !self.seen.insert(name.clone()) {
            return Ok(());
        }
        match table.kind {
            TableKind::Ordinary | TableKind::Partitioned => {
                self.reach.tables.insert(name.clone());
                for policy in table.policies.iter().filter(|_| own || table.rls_enabled) {
                    self.policy(policy)?;
                }
                for constraint in table.constraints.values() {
                    // What a row must satisfy is worth drawing; nothing is read by it.
                    if let Some(found) = said(constraint) {
                        self.constants(&found);
                    }
                }
                Ok(())
            }
            TableKind::View => {
                let catalog = self.catalog;
                for read in &table.reads {
                    if let Some(table) = catalog.table(read) {
                        self.table(read, table)?;
                    }
                }
                let text = table.definition.as_deref().unwrap_or_default();
                self.text(text, &format!("view {name}"))
            }
            TableKind::MaterializedView => self.lost(format!(
                "it reads the materialised view {name}, which small worlds cannot fill"
            )),
            TableKind::Foreign => self.lost(format!("it reads the foreign table {name}")),
        }
    }

    fn policy(&mut self, policy: &Policy) -> std::result::Result<(), String> {
        for text in [&policy.using, &policy.check].into_iter().flatten() {
            self.text(text, &format!("policy {}", policy.name))?;
        }
        Ok(())
    }

    fn triggers(&mut self, table: &Table) -> std::result::Result<(), String> {
        let catalog = self.catalog;
        for trigger in table.triggers.iter().filter(|t| t.enabled) {
            let (schema, name) = (&trigger.function.schema, &trigger.function.name);
            for function in catalog.functions_named(schema, name) {
                self.function(function)?;
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str, of: &str) -> std::result::Result<(), String> {
        let Some(found) = said(text) else {
            return self.lost(format!("{of} cannot be read"));
        };
        if let Some(call) = DYNAMIC.iter().find(|c| found.called.contains(**c)) {
            self.lost(format!("{of} calls {call}, which runs a text as a query"))?;
        }
        if let Some(call) = CHANCE.iter().find(|c| found.called.contains(**c)) {
            self.lost(format!("{of} calls {call}: its answer rests on chance"))?;
        }
        let catalog = self.catalog;
        for name in &found.called {
            for function in catalog.functions_named("", name) {
                self.function(function)?;
            }
        }
        for (name, table) in &catalog.tables {
            if found.words.contains(&name.name) {
                self.table(name, table)?;
            }
        }
        self.reach.said.merge(&found);
        Ok(())
    }

    fn constants(&mut self, found: &Said) {
        let said = &mut self.reach.said;
        said.strings.extend(found.strings.iter().cloned());
        said.numbers.extend(found.numbers.iter().cloned());
        for (subject, constants) in &found.compared {
            let known = said.compared.entry(subject.clone()).or_default();
            known.extend(constants.iter().cloned());
        }
    }

    fn function(&mut self, function: &Function) -> std::result::Result<(), String> {
        let plain = Function {
            oid: 0,
            ..function.clone()
        };
        let builtin = function.name.schema == "pg_catalog";
        if builtin || self.functions.contains(&plain) {
            return Ok(());
        }
        self.functions.push(plain);
        let of = format!("function {}", function.name);
        match function.language.as_str() {
            "sql" | "plpgsql" => {
                let words = said(&function.body).map(|s| s.words).unwrap_or_default();
                if function.language == "plpgsql" && words.contains("execute") {
                    self.lost(format!("{of} builds queries from text"))?;
                }
                self.text(&function.body, &of)
            }
            "c" | "internal" if function.extension.is_some() => Ok(()),
            language => self.lost(format!("{of} is written in {language}, which is not read")),
        }
    }

    fn lost(&self, why: String) -> std::result::Result<(), String> {
        if self.lenient { Ok(()) } else { Err(why) }
    }
}
