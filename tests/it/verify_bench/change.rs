//! A change of who may read or write what, and which of many are taken.

use std::collections::BTreeMap;

/// What the one who wrote the change says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// Whatever the truth turns out to be.
    Mutation,
    /// The same rows for everybody, by construction.
    Equal,
}

#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) kind: &'static str,
    pub(super) sql: String,
    /// Names of what it touches; none means that it may touch anything.
    pub(super) about: Vec<String>,
    /// Reads of one value that may show it, beside what is read of every relation.
    pub(super) reads: Vec<String>,
    /// Takes back what it does to the whole server, as the superuser.
    pub(super) undo: Option<String>,
    pub(super) meant: Meant,
}

impl Change {
    pub(super) fn new(kind: &'static str, about: &str, sql: String) -> Self {
        let meant = if kind.starts_with("equal") {
            Meant::Equal
        } else {
            Meant::Mutation
        };
        Self {
            kind,
            sql,
            about: vec![about.to_owned()],
            reads: Vec::new(),
            undo: None,
            meant,
        }
    }

    pub(super) fn read_by(mut self, sql: String) -> Self {
        self.reads.push(sql);
        self
    }
}

/// `most` of `all`, four mutations for each change that is equal by construction.
pub(super) fn choose(all: Vec<Change>, most: usize) -> Vec<Change> {
    let (equal, mutations): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|c| c.meant == Meant::Equal);
    let fifth = most / 5;
    let mut chosen = of_each_kind(mutations, most - fifth);
    chosen.extend(of_each_kind(equal, fifth));
    chosen
}

/// As many of each kind as there is room for, in an order that depends on nothing but their text.
pub(super) fn of_each_kind(all: Vec<Change>, most: usize) -> Vec<Change> {
    let mut kinds: BTreeMap<&'static str, Vec<Change>> = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for change in all {
        if seen.insert(change.sql.clone()) {
            kinds.entry(change.kind).or_default().push(change);
        }
    }
    for changes in kinds.values_mut() {
        changes.sort_by_cached_key(|c| super::mixed(&c.sql));
    }
    let mut chosen = Vec::new();
    for round in 0.. {
        let before = chosen.len();
        for changes in kinds.values() {
            chosen.extend(changes.get(round).cloned());
        }
        if chosen.len() == before || chosen.len() >= most {
            break;
        }
    }
    chosen.truncate(most);
    chosen
}
