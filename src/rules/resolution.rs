//! What a role meets when it calls a function by name: resolved as the server does it, by search path and privileges.

use super::{Facts, tested};
use crate::model::Function;
use crate::sql::touches::Touches;
use std::collections::{BTreeMap, BTreeSet};

/// How deep bodies are followed.
const DEPTH: usize = 8;

/// Why a call fails.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// No schema has a function of that name.
    Missing,
    /// Not in the search path that the body runs with; the schemas that have one, and the path.
    OffPath(Vec<String>, Vec<String>),
    /// No USAGE on the schema that the call names.
    NoUsage(String),
    /// No EXECUTE: the function as a GRANT names it, where only one is of that name.
    NoExecute(Option<(crate::model::Name, String)>),
}

/// Who calls, and where unqualified names are looked for; `None` where that is the session's own affair.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Caller {
    pub role: String,
    pub path: Option<Vec<String>>,
}

/// A call that fails: in whose body, as written, why.
pub(super) type Failure = (u32, String, Trouble);

/// Follows calls through bodies, each body parsed once.
pub(super) struct Reach<'f, 'a> {
    facts: &'f Facts<'a>,
    bodies: BTreeMap<u32, BTreeSet<(String, String)>>,
    /// What was found below a function for a caller.
    known: BTreeMap<(u32, Caller), BTreeSet<Failure>>,
}

impl<'f, 'a> Reach<'f, 'a> {
    pub(super) fn new(facts: &'f Facts<'a>) -> Self {
        Self {
            facts,
            bodies: BTreeMap::new(),
            known: BTreeMap::new(),
        }
    }

    /// Every call below `function` that fails for who calls it.
    pub(super) fn failures(
        &mut self,
        function: &'a Function,
        caller: &Caller,
    ) -> BTreeSet<Failure> {
        self.follow(function, caller, DEPTH)
    }

    fn follow(
        &mut self,
        function: &'a Function,
        caller: &Caller,
        depth: usize,
    ) -> BTreeSet<Failure> {
        if depth == 0 || function.extension.is_some() {
            return BTreeSet::new();
        }
        let inner = Caller {
            role: if function.security_definer {
                function.owner.clone()
            } else {
                caller.role.clone()
            },
            path: match tested::path(function) {
                Some(path) => Some(path.into_iter().map(str::to_owned).collect()),
                None => caller.path.clone(),
            },
        };
        let key = (function.oid, inner.clone());
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        // A function that calls itself is not followed again.
        self.known.insert(key.clone(), BTreeSet::new());
        let calls = self
            .bodies
            .entry(function.oid)
            .or_insert_with(|| Touches::of_function(function).unwrap_or_default().calls)
            .clone();
        let mut found = BTreeSet::new();
        for (schema, name) in &calls {
            match self.resolve(schema, name, &inner) {
                Ok(functions) => {
                    // Of several that fit, it is not certain which one is called.
                    if let [only] = functions.as_slice() {
                        found.extend(self.follow(only, &inner, depth - 1));
                    }
                }
                Err(trouble) => {
                    let written = if schema.is_empty() {
                        name.clone()
                    } else {
                        format!("{schema}.{name}")
                    };
                    found.insert((function.oid, written, trouble));
                }
            }
        }
        self.known.insert(key, found.clone());
        found
    }

    /// The functions that a call may mean; none for what is built in or no function at all.
    fn resolve(
        &self,
        schema: &str,
        name: &str,
        caller: &Caller,
    ) -> Result<Vec<&'a Function>, Trouble> {
        let catalog = self.facts.catalog;
        let system = schema.starts_with("pg_") || schema == "information_schema";
        // Snapshots of earlier versions do not list every built-in function.
        let unknown = !catalog.builtins.contains_key("lower");
        if system || unknown || schema.is_empty() && catalog.builtins.contains_key(name) {
            return Ok(Vec::new());
        }
        if schema.is_empty() {
            return self.by_path(name, caller);
        }
        let other = crate::model::Name::new(schema, name);
        if !self.may_use(schema, &caller.role) && catalog.schemas.contains_key(schema) {
            return Err(Trouble::NoUsage(schema.to_owned()));
        }
        let functions = self.facts.functions_in(schema, name);
        if functions.is_empty() && !catalog.callables.contains(&other) {
            return Err(Trouble::Missing);
        }
        self.executable(functions, caller)
    }

    fn by_path(&self, name: &str, caller: &Caller) -> Result<Vec<&'a Function>, Trouble> {
        let catalog = self.facts.catalog;
        let everywhere: Vec<&'a Function> = self.facts.functions_anywhere(name);
        let other = catalog.callables.iter().any(|n| n.name == name);
        if other {
            return Ok(Vec::new());
        }
        if everywhere.is_empty() {
            // `column(row)` is another way to write `row.column`.
            return if self.is_column(name) {
                Ok(Vec::new())
            } else {
                Err(Trouble::Missing)
            };
        }
        let Some(path) = &caller.path else {
            return self.executable(everywhere, caller);
        };
        let own = |schema: &String| {
            if schema == "$user" {
                caller.role.clone()
            } else {
                schema.clone()
            }
        };
        let reached: Vec<&'a Function> = path
            .iter()
            .map(own)
            .filter(|schema| self.may_use(schema, &caller.role))
            .flat_map(|schema| self.facts.functions_in(&schema, name))
            .collect();
        if reached.is_empty() {
            let schemas: BTreeSet<String> =
                everywhere.iter().map(|f| f.name.schema.clone()).collect();
            return Err(Trouble::OffPath(
                schemas.into_iter().collect(),
                path.clone(),
            ));
        }
        self.executable(reached, caller)
    }

    fn executable(
        &self,
        functions: Vec<&'a Function>,
        caller: &Caller,
    ) -> Result<Vec<&'a Function>, Trouble> {
        let may = |f: &&Function| self.facts.may_execute(f, &caller.role);
        if functions.is_empty() || functions.iter().any(may) {
            return Ok(functions);
        }
        Err(Trouble::NoExecute(match functions.as_slice() {
            [only] => Some((only.name.clone(), only.arguments.clone())),
            _ => None,
        }))
    }

    fn may_use(&self, schema: &str, role: &str) -> bool {
        self.facts.catalog.schemas.get(schema).is_none_or(|known| {
            self.facts.acts_as(role, &known.owner)
                || known
                    .usage
                    .iter()
                    .any(|granted| granted == "public" || self.facts.acts_as(role, granted))
        })
    }

    fn is_column(&self, name: &str) -> bool {
        let tables = self.facts.catalog.tables.values();
        tables.flat_map(|t| &t.columns).any(|c| c.name == name)
    }
}
