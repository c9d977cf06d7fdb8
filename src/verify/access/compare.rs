use super::differ::{self, Difference, Pair, differences, pairs};
use super::reach::{Graph, seeds};
use super::{AccessChange, Definitions, Key, Kind, opens, words};
use crate::model::Name;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How an object differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Added,
    Removed,
    Altered,
    /// Has another name; perhaps it differs otherwise as well. Seen only between clones of one database.
    Renamed,
}

/// An object that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Its name after the change, or before it where it is gone.
    pub key: Key,
    /// Its name before the change, where that was another.
    pub was: Option<Key>,
    pub change: Change,
    /// What changed, in words, without a value.
    pub what: String,
    #[serde(skip)]
    pub(super) differences: Vec<Difference>,
}

/// What differs between two databases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    pub changed: Vec<Changed>,
    /// Tables that both sides have, by their names before, whose access can differ: something that it depends on
    /// changed. Of all others it is the same, for every row and everybody.
    pub touched: BTreeSet<Name>,
    /// Tables that the change makes.
    pub new: BTreeSet<Name>,
    /// Tables that it takes away.
    pub gone: BTreeSet<Name>,
    /// Tables with another name, before to after.
    pub renamed: BTreeMap<Name, Name>,
    /// What opens or closes rows. See [`Comparison::settle`].
    pub access: Vec<AccessChange>,
    /// All that decides about the tables touched, and all that changed: what a proof holds for.
    pub reach: BTreeSet<Key>,
    /// New tables without row-level security that others than the owner may read. Whether they open rows depends on whether
    /// there are any: ask [`super::occupied`] and tell [`Comparison::settle`].
    pub open: BTreeMap<Name, BTreeSet<String>>,
}

impl Comparison {
    /// Adds the new tables that are open and hold rows to what opens rows.
    pub fn settle(&mut self, occupied: &BTreeSet<Name>) {
        for (table, roles) in &self.open {
            if occupied.contains(table) {
                self.access.push(opens::copy(table, roles));
            }
        }
        self.open.clear();
    }
}

/// What differs between two sides. `clones` where both are clones of one database: objects are then told by their numbers, so
/// that a rename is one, and expressions by what the server keeps of them instead of the text that it prints.
pub fn compare(before: &Definitions, after: &Definitions, clones: bool) -> Comparison {
    let pairs = pairs(before, after, clones);
    let renamed = differ::renamed(&pairs);
    let changed: Vec<Changed> = pairs
        .iter()
        .filter_map(|pair| changed(pair, clones, &renamed))
        .collect();
    let tables = |side: fn(&Pair<'_>) -> bool| -> BTreeSet<Name> {
        let some = pairs.iter().filter(|p| side(p));
        some.filter_map(|p| p.before.or(p.after))
            .filter(|(key, _)| key.kind == Kind::Table)
            .map(|(key, _)| key.name.clone())
            .collect()
    };
    let both = tables(|p| p.before.is_some() && p.after.is_some());
    let mut found = Comparison {
        new: tables(|p| p.before.is_none()),
        gone: tables(|p| p.after.is_none()),
        renamed: renamed
            .iter()
            .map(|(b, a)| ((*b).clone(), (*a).clone()))
            .collect(),
        ..Comparison::default()
    };
    let graphs = [
        Graph::new(before, before, after),
        Graph::new(after, before, after),
    ];
    let [was, is] = &graphs;
    let old_names: BTreeMap<&Name, &Name> = renamed.iter().map(|(b, a)| (*a, *b)).collect();
    for (graph, seeds) in [
        (was, seeds(&changed, before, before)),
        (is, seeds(&changed, after, before)),
    ] {
        let tables = graph.reached(seeds).into_iter();
        for table in tables.filter(|key| key.kind == Kind::Table) {
            let name = *old_names.get(&table.name).unwrap_or(&&table.name);
            if both.contains(name) {
                found.touched.insert(name.clone());
            }
        }
    }
    for graph in &graphs {
        found
            .reach
            .extend(graph.below(found.touched.iter(), &found.renamed, &changed));
    }
    found.open = opens::open_tables(&found.new, after);
    found.access = opens::find(&changed, before, after, &graphs);
    found.changed = changed;
    found
}

fn changed(pair: &Pair<'_>, clones: bool, relations: &BTreeMap<&Name, &Name>) -> Option<Changed> {
    let (key, was, change, differences, mut what) = match (pair.before, pair.after) {
        (Some((old, before)), Some((new, after))) => {
            let mut differences = differences(before, after, clones);
            let mut what = Vec::new();
            if old.kind == Kind::Columns && clones {
                for (from, to) in differ::renamed_columns(before, after) {
                    what.push(format!("column {from} renamed to {to}"));
                }
            }
            if old.kind == Kind::Table && clones && before.id != after.id {
                what.push("made anew".to_owned());
            }
            let moved = old != new && !differ::follows(old, new, relations);
            if differences.is_empty() && what.is_empty() && !moved {
                return None;
            }
            let change = if moved {
                Change::Renamed
            } else {
                Change::Altered
            };
            // Renamed columns are said once; a new table of an old name has everything anew.
            let said = |d: &Difference| !renames(&what, d);
            let phrases: Vec<String> = differences
                .iter()
                .filter(|d| said(d))
                .map(|d| words::phrase(old.kind, d))
                .collect();
            what.extend(phrases);
            if what.first().is_some_and(|w| w == "made anew") {
                differences.push(Difference {
                    fact: "table".to_owned(),
                    before: None,
                    after: None,
                });
            }
            (
                new,
                (old != new).then(|| old.clone()),
                change,
                differences,
                what,
            )
        }
        (Some((old, _)), None) => (old, None, Change::Removed, Vec::new(), Vec::new()),
        (None, Some((new, _))) => (new, None, Change::Added, Vec::new(), Vec::new()),
        (None, None) => return None,
    };
    what.dedup();
    Some(Changed {
        key: key.clone(),
        what: words::sentence(key, was.as_ref(), change, &what),
        was,
        change,
        differences,
    })
}

/// Whether a difference of columns is one side of a rename that was said.
fn renames(what: &[String], difference: &Difference) -> bool {
    what.iter().any(|said| {
        said.split_once(" renamed to ").is_some_and(|(from, to)| {
            difference.fact == from || difference.fact.strip_prefix("column ") == Some(to)
        })
    })
}
