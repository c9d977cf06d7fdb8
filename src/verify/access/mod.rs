//! What decides who sees and writes rows, what of it differs between two databases, and what a difference reaches.
//!
//! [`read`] takes every object that has a say from the catalog, [`compare`] finds what changed in words, the tables whose
//! access can differ for it ([`Comparison::touched`]), and each change that opens or closes rows ([`AccessChange`]).
//! [`fingerprints`] says which definitions a proof holds for.

mod allowed;
mod catalog;
mod compare;
mod differ;
mod fingerprint;
mod functions;
mod key;
mod known;
mod mention;
mod opens;
mod reach;
mod rows;
mod words;

#[cfg(test)]
mod tests;

pub use allowed::{Judged, judge};
pub use catalog::{read, read_within};
pub use compare::{Change, Changed, Comparison, compare};
pub use fingerprint::fingerprints;
pub use key::{Key, Kind};
pub use known::known;
pub use opens::{AccessChange, Class};
pub use rows::{changed_rows, data_fingerprint, occupied, reached_by_rows};

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Every object of a database that decides who sees or writes rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definitions {
    /// `server_version_num`.
    pub server_version: u32,
    pub objects: BTreeMap<Key, Object>,
}

/// One object: what is known of it, and what it refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Class and number in the server's catalog: the same in clones of one database, of no meaning elsewhere.
    pub id: (u32, u32),
    /// What is known of it, by subject. The same on every server that holds the same definition.
    pub facts: BTreeMap<String, String>,
    /// Digests of what the server keeps for some of the facts, with the numbers of the objects referred to: two texts can
    /// be the same where the operators are not. Compared only between clones of one database.
    pub trees: BTreeMap<String, String>,
    /// What its outcome depends on.
    pub mentions: BTreeSet<Key>,
    /// It may refer to anything: dynamic SQL, or a language that is not understood.
    pub opaque: bool,
}

impl Object {
    /// One of its facts; empty where it has none of that name.
    pub(crate) fn fact(&self, name: &str) -> &str {
        self.facts.get(name).map_or("", String::as_str)
    }

    /// Who holds a privilege on it, its owner left out; `PUBLIC` among them.
    pub(crate) fn granted<'a>(
        &'a self,
        privilege: &'a str,
    ) -> impl Iterator<Item = &'a str> + use<'a> {
        self.facts.keys().filter_map(move |fact| {
            let (what, to) = fact.strip_prefix("grant ")?.split_once(" to ")?;
            let plain = what.split(' ').next().unwrap_or(what);
            (to != OWNER && (privilege.is_empty() || plain == privilege)).then_some(to)
        })
    }
}

/// How grants name the owner, whoever that is.
const OWNER: &str = "(owner)";

impl Definitions {
    /// The table, view or materialised view of this name.
    pub(crate) fn relation(&self, name: &crate::model::Name) -> Option<(&Key, &Object)> {
        [Kind::Table, Kind::View, Kind::MaterializedView]
            .into_iter()
            .find_map(|kind| self.objects.get_key_value(&Key::new(kind, name.clone())))
    }

    /// Whether row-level security is on.
    pub(crate) fn guarded(&self, table: &Key) -> bool {
        self.objects
            .get(table)
            .is_some_and(|o| o.fact("row security") == "on")
    }

    /// Whether no policy holds the role.
    pub(crate) fn unbound(&self, role: &str) -> bool {
        let key = Key::new(Kind::Role, crate::model::Name::new("", role));
        self.objects
            .get(&key)
            .is_some_and(|o| o.fact("SUPERUSER") == "true" || o.fact("BYPASSRLS") == "true")
    }
}
