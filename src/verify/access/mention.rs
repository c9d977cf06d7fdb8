//! Who refers to whom: as the server knows it, and as the texts of bodies may.

use super::{Definitions, Key, Kind};
use crate::sql::words::{quoted, words};
use std::collections::{BTreeMap, BTreeSet};

/// Functions of the server and its extensions that run SQL given as text.
const RUN_TEXT: [&str; 14] = [
    "query_to_xml",
    "query_to_xmlschema",
    "query_to_xml_and_xmlschema",
    "cursor_to_xml",
    "table_to_xml",
    "schema_to_xml",
    "database_to_xml",
    "dblink",
    "dblink_exec",
    "dblink_open",
    "crosstab",
    "connectby",
    "ts_stat",
    "ts_rewrite",
];

pub(super) struct Mentions<'a> {
    definitions: &'a mut Definitions,
}

impl<'a> Mentions<'a> {
    pub(super) fn new(definitions: &'a mut Definitions) -> Self {
        Self { definitions }
    }

    /// Fills in what each object mentions. `edges` are class and number of an object and of what it depends on.
    pub(super) fn add(&mut self, ids: &BTreeMap<(u32, u32), Key>, edges: &[(u32, u32, u32, u32)]) {
        for (class, number, to_class, to_number) in edges {
            let from = ids.get(&(*class, *number));
            let to = ids.get(&(*to_class, *to_number));
            if let (Some(from), Some(to)) = (from, to)
                && says_something(from, to)
            {
                self.mention(from, to.clone());
            }
        }
        self.add_parts();
        self.add_spoken();
    }

    fn mention(&mut self, from: &Key, to: Key) {
        if let Some(object) = self.definitions.objects.get_mut(from) {
            object.mentions.insert(to);
        }
    }

    /// What a relation lets happen depends on its policies, triggers and so on.
    fn add_parts(&mut self) {
        let parts: Vec<Key> = self.definitions.objects.keys().cloned().collect();
        for part in parts.into_iter().filter(|k| k.kind.is_part()) {
            let owner = self.definitions.relation(&part.name).map(|r| r.0.clone());
            if let Some(owner) = owner {
                self.mention(&owner, part);
            }
        }
    }

    /// A superset of what bodies refer to: every word of theirs that is the name of something.
    fn add_spoken(&mut self) {
        let mut named: BTreeMap<String, Vec<Key>> = BTreeMap::new();
        for key in self.definitions.objects.keys() {
            let can_be_said = key.kind.is_relation()
                || matches!(key.kind, Kind::Function | Kind::Type | Kind::Operator);
            if can_be_said {
                let name = key.name.name.clone();
                named.entry(name).or_default().push(key.clone());
            }
        }
        for (key, object) in &mut self.definitions.objects {
            let (said, opaque) = spoken(key, &object.facts);
            object.opaque = opaque;
            let keys = said.iter().filter_map(|word| named.get(word)).flatten();
            object.mentions.extend(
                keys.filter(|k| *k != key && says_something(key, k))
                    .cloned(),
            );
        }
    }
}

/// A part's reference to its own relation says nothing, and neither do a child's to its parent (each asks its own policies) or
/// a key's to another table (its checks ask no policy).
fn says_something(from: &Key, to: &Key) -> bool {
    let asks_none = matches!(
        from.kind,
        Kind::Table | Kind::Constraint | Kind::Index | Kind::Columns
    );
    from != to && !from.belongs_to(to) && !(asks_none && to.kind.is_relation())
}

/// The words of an object's texts, and whether it may refer to what it does not say.
fn spoken(key: &Key, facts: &BTreeMap<String, String>) -> (BTreeSet<String>, bool) {
    let fact = |name: &str| facts.get(name).map_or("", String::as_str);
    match key.kind {
        Kind::Function if fact("kind") == "a" => (BTreeSet::new(), false),
        Kind::Function => {
            let language = fact("language");
            let body = fact("body");
            let (Some(said), Some(strings)) = (words(body), quoted(body)) else {
                return (BTreeSet::new(), true);
            };
            let dynamic = language == "plpgsql" && said.contains("execute")
                || RUN_TEXT.iter().any(|name| said.contains(*name));
            let opaque = dynamic || !["sql", "plpgsql"].contains(&language);
            (said.into_iter().chain(strings).collect(), opaque)
        }
        // The server knows what an expression refers to, but for what it names in strings.
        Kind::Policy => {
            let texts = [fact("USING"), fact("WITH CHECK")];
            let strings = texts.iter().filter_map(|text| quoted(text));
            (strings.flatten().collect(), false)
        }
        _ => (BTreeSet::new(), false),
    }
}

/// Whether the body of a function has this word; `true` where it cannot be told.
pub(super) fn body_says(body: &str, word: &str) -> bool {
    match (words(body), quoted(body)) {
        (Some(said), Some(strings)) => said.contains(word) || strings.contains(word),
        _ => true,
    }
}
