//! What may change while a statement on a table runs: settings, and the rows of which tables.
//!
//! Bodies are read word by word, so that no clause is overlooked: a table that is named beside a writing word counts
//! as written, a function that is named counts as called.

use crate::model::{Catalog, Function, Name, Policy, Table, TableKind, Volatility};
use std::collections::{BTreeMap, BTreeSet};

/// Volatile functions of `pg_catalog` that leave settings and tables alone.
const QUIET: [&str; 18] = [
    "random",
    "clock_timestamp",
    "timeofday",
    "gen_random_uuid",
    "nextval",
    "setval",
    "currval",
    "lastval",
    "pg_sleep",
    "txid_current",
    "pg_current_xact_id",
    "pg_advisory_lock",
    "pg_advisory_xact_lock",
    "pg_try_advisory_lock",
    "pg_try_advisory_xact_lock",
    "pg_notify",
    "pg_trigger_depth",
    "pg_backend_pid",
];
/// Extensions whose functions leave settings and tables alone, volatile ones too.
const HARMLESS: [&str; 12] = [
    "uuid-ossp",
    "pgcrypto",
    "citext",
    "pg_trgm",
    "hstore",
    "ltree",
    "unaccent",
    "intarray",
    "btree_gin",
    "btree_gist",
    "fuzzystrmatch",
    "vector",
];
const WRITING: [&str; 6] = ["insert", "update", "delete", "merge", "truncate", "copy"];
/// Words after which `set` begins a statement of its own rather than the assignments of an UPDATE.
const BEFORE_A_STATEMENT: [&str; 6] = ["begin", "then", "else", "loop", ";", ""];

/// What changes inside one statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// Tables that the statement itself, its triggers, or what those call, may write.
    pub tables: BTreeSet<Name>,
    /// Why settings may change, or anything at all.
    pub settings: Option<String>,
}

/// What may change while rows of `table` are read or written, with `expression` among its policies.
pub(super) fn during(expression: &str, table: &Name, catalog: &Catalog) -> Changes {
    let mut reader = Reader::new(catalog);
    reader.text(expression, &|| "the policy".to_owned());
    reader.write(table);
    reader.finish()
}

/// Tables whose name stands in the body, in whichever schema.
pub(super) fn named_tables(function: &Function, catalog: &Catalog) -> BTreeSet<Name> {
    let words = words(&function.body).unwrap_or_default();
    let said: BTreeSet<&str> = words.iter().map(String::as_str).collect();
    let tables = catalog.tables.keys();
    tables
        .filter(|t| said.contains(t.name.as_str()))
        .cloned()
        .collect()
}

struct Reader<'a> {
    catalog: &'a Catalog,
    functions: BTreeMap<&'a str, Vec<&'a Function>>,
    tables: BTreeMap<&'a str, Vec<&'a Name>>,
    called: BTreeSet<(&'a Name, &'a str)>,
    read: BTreeSet<Name>,
    found: Changes,
}

impl<'a> Reader<'a> {
    fn new(catalog: &'a Catalog) -> Self {
        let mut reader = Self {
            catalog,
            functions: BTreeMap::new(),
            tables: BTreeMap::new(),
            called: BTreeSet::new(),
            read: BTreeSet::new(),
            found: Changes::default(),
        };
        for function in &catalog.functions {
            let named = reader.functions.entry(&function.name.name).or_default();
            named.push(function);
        }
        for name in catalog.tables.keys() {
            reader.tables.entry(&name.name).or_default().push(name);
        }
        reader
    }

    fn finish(self) -> Changes {
        self.found
    }

    fn doubt(&mut self, why: impl FnOnce() -> String) {
        if self.found.settings.is_none() {
            self.found.settings = Some(why());
        }
    }

    /// The table, what stores its rows, what cascades from it, and what its triggers do.
    fn write(&mut self, name: &Name) {
        let mut pending = vec![name.clone()];
        while let Some(name) = pending.pop() {
            if !self.found.tables.insert(name.clone()) {
                continue;
            }
            let Some(table) = self.catalog.table(&name) else {
                self.doubt(|| format!("{name} is not known"));
                continue;
            };
            if table.ruled != Some(false) {
                self.doubt(|| format!("a rule of {name} may do anything"));
            }
            for trigger in table.triggers.iter().filter(|t| t.enabled) {
                self.call_named(&trigger.function.name);
            }
            self.read(&name, table);
            pending.extend(table.partition_of.clone());
            pending.extend(table.parents.iter().cloned());
            let cascades = |c: char| !matches!(c, 'a' | 'r');
            for (other, of) in &self.catalog.tables {
                let moved = of.foreign_keys.iter().any(|k| {
                    k.references == name && (cascades(k.on_delete) || cascades(k.on_update))
                });
                let below = of.partition_of.as_ref() == Some(&name) || of.parents.contains(&name);
                if moved || below {
                    pending.push(other.clone());
                }
            }
        }
    }

    /// Its policies, or what a view stands for.
    fn read(&mut self, name: &Name, table: &Table) {
        if !self.read.insert(name.clone()) {
            return;
        }
        if matches!(table.kind, TableKind::View | TableKind::Foreign) {
            match &table.definition {
                Some(text) => self.text(text, &|| format!("the view {name}")),
                None => self.doubt(|| format!("what is behind {name} is not known")),
            }
        }
        for policy in &table.policies {
            self.policy(name, policy);
        }
        let defaults = table.columns.iter().filter_map(|c| c.default.as_ref());
        for text in defaults.chain(table.constraints.values()) {
            self.text(text, &|| format!("a default or constraint of {name}"));
        }
    }

    fn policy(&mut self, table: &Name, policy: &Policy) {
        for text in [&policy.using, &policy.check].into_iter().flatten() {
            self.text(text, &|| format!("policy {} on {table}", policy.name));
        }
    }

    fn call_named(&mut self, name: &str) {
        for function in self.functions.get(name).cloned().unwrap_or_default() {
            self.call(function);
        }
    }

    fn call(&mut self, function: &'a Function) {
        if !self.called.insert((&function.name, &function.arguments)) {
            return;
        }
        match function.language.as_str() {
            "sql" | "plpgsql" => {
                self.text(&function.body, &|| format!("function {}", function.name));
            }
            // What the server's own languages declare is taken at its word.
            "c" | "internal" if function.volatility != Volatility::Volatile => {}
            "internal" if QUIET.contains(&function.name.name.as_str()) => {}
            "c" if (function.extension.as_deref()).is_some_and(|e| HARMLESS.contains(&e)) => {}
            _ => self.doubt(|| {
                format!(
                    "function {} is not written in a language that dbtune reads",
                    function.name
                )
            }),
        }
    }

    /// Any SQL or PL/pgSQL.
    fn text(&mut self, text: &str, what: &dyn Fn() -> String) {
        let Some(words) = words(text) else {
            return self.doubt(|| format!("{} cannot be read", what()));
        };
        let mut named = BTreeSet::new();
        let mut writes = false;
        let mut before = "";
        for (i, word) in words.iter().enumerate() {
            let word = word.as_str();
            let next = words.get(i + 1).map_or("", String::as_str);
            match word {
                // `on conflict do nothing` is no DO.
                "do" if matches!(next, "nothing" | "update") => {}
                "set_config" | "reset" | "discard" | "execute" | "call" | "do" | "listen"
                | "load" | "query_to_xml" | "dblink" => {
                    self.doubt(|| format!("{} says {word}", what()));
                }
                "set" if BEFORE_A_STATEMENT.contains(&before) => {
                    self.doubt(|| format!("{} changes a setting", what()));
                }
                _ => {}
            }
            let builtin = self.catalog.builtins.get(word);
            if builtin == Some(&Volatility::Volatile)
                && !QUIET.contains(&word)
                && word != "set_config"
            {
                self.doubt(|| format!("{} calls {word}", what()));
            }
            writes |= WRITING.contains(&word);
            if let Some(tables) = self.tables.get(word) {
                named.extend(tables.iter().copied().cloned());
            }
            self.call_named(word);
            before = word;
        }
        for name in named {
            if writes {
                self.write(&name);
            } else if let Some(table) = self.catalog.table(&name) {
                self.read(&name, table);
            }
        }
    }
}

/// The words of a text, as the scanner folds them, and its semicolons; constants and comments left out.
fn words(text: &str) -> Option<Vec<String>> {
    use pg_query::protobuf::Token;
    // Of no token the library makes a slice that it may not make.
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    let tokens = pg_query::scan_tokens(text).ok()?;
    let mut found = Vec::new();
    for token in tokens {
        let (start, end) = (
            usize::try_from(token.start).ok()?,
            usize::try_from(token.end).ok()?,
        );
        let said = text.get(start..end)?;
        match token.token() {
            Token::SqlComment | Token::CComment | Token::Sconst | Token::Usconst => {}
            Token::Ascii59 => found.push(";".to_owned()),
            _ => {
                let quoted = said.strip_prefix('"').and_then(|s| s.strip_suffix('"'));
                match quoted {
                    Some(inside) => found.push(inside.replace("\"\"", "\"")),
                    None => found.push(said.to_lowercase()),
                }
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Trigger;

    fn catalog(body: &str) -> Catalog {
        let mut catalog = Catalog::default();
        for name in ["posts", "quota", "other"] {
            let table = Table {
                ruled: Some(false),
                ..Table::default()
            };
            catalog.tables.insert(Name::new("public", name), table);
        }
        let posts = catalog
            .tables
            .get_mut(&Name::new("public", "posts"))
            .unwrap();
        posts.triggers.push(Trigger {
            name: "t".into(),
            function: Name::new("public", "fired"),
            enabled: true,
            events: vec!["INSERT".into()],
        });
        catalog.functions.push(Function {
            name: Name::new("public", "fired"),
            language: "plpgsql".into(),
            body: body.into(),
            ..Function::default()
        });
        catalog
            .builtins
            .insert("set_config".into(), Volatility::Volatile);
        catalog
    }

    fn changes(body: &str) -> (Vec<String>, bool) {
        let found = during("true", &Name::new("public", "posts"), &catalog(body));
        let tables = found.tables.iter().map(|t| t.name.clone()).collect();
        (tables, found.settings.is_some())
    }

    #[test]
    fn triggers_write_what_they_name() {
        let only = vec!["posts".to_owned()];
        let body = "begin new.at := now(); return new; end";
        assert_eq!(changes(body), (only.clone(), false));
        let body = "begin perform 1 from quota; return new; end";
        assert_eq!(changes(body), (only.clone(), false));
        let body =
            "begin insert into other values (1) on conflict do update set n = 1; return new; end";
        assert_eq!(
            changes(body),
            (vec!["other".to_owned(), "posts".to_owned()], false)
        );
        let body = "begin update \"quota\" set n = n + 1; return new; end";
        assert_eq!(changes(body).0, ["posts", "quota"]);
        assert!(!changes(body).1);
        for body in [
            "begin perform set_config('a.b', '1', true); return new; end",
            "begin execute 'x'; return new; end",
            "begin if true then set local a.b = 1; end if; return new; end",
            "begin reset all; return new; end",
        ] {
            assert!(changes(body).1, "{body}");
        }
    }

    #[test]
    fn what_nobody_asked_for_may_be_anything() {
        let mut catalog = catalog("begin return new; end");
        let name = Name::new("public", "posts");
        assert_eq!(during("true", &name, &catalog).settings, None);
        catalog.tables.get_mut(&name).unwrap().ruled = None;
        assert!(during("true", &name, &catalog).settings.is_some());
    }
}
