//! What a change reaches: from an object to whatever refers to it, up to the tables.

use super::compare::{Change, Changed};
use super::differ::setting_has_a_say;
use super::mention::body_says;
use super::{Definitions, Key, Kind, OWNER, Object};
use crate::model::Name;
use std::collections::{BTreeMap, BTreeSet};

/// What of an object differs, as far as those who refer to it care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum How {
    /// Anything.
    Whole,
    /// Only what is seen of a table by those whom its policies hold.
    Guard,
    /// Only what may be written to a table: of no matter to those who read it.
    Writes,
}

/// One side's objects, and who refers to each.
pub(super) struct Graph<'a> {
    pub(super) side: &'a Definitions,
    readers: BTreeMap<&'a Key, BTreeSet<&'a Key>>,
    opaque: BTreeSet<&'a Key>,
    /// Names that something has on the side before: what is new and has none of them no body can speak of.
    old_names: BTreeSet<&'a str>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(
        side: &'a Definitions,
        before: &'a Definitions,
        after: &'a Definitions,
    ) -> Self {
        let mut readers: BTreeMap<&Key, BTreeSet<&Key>> = BTreeMap::new();
        for (key, object) in &side.objects {
            for mentioned in &object.mentions {
                readers.entry(mentioned).or_default().insert(key);
            }
        }
        let opaque = side.objects.iter().filter(|(_, o)| o.opaque);
        // A renamed object keeps its number, and what spoke of it no longer does.
        let names = before.objects.keys().chain(
            after
                .objects
                .keys()
                .filter(|key| before.objects.contains_key(key)),
        );
        Self {
            side,
            readers,
            opaque: opaque.map(|(key, _)| key).collect(),
            old_names: names.map(|key| key.name.name.as_str()).collect(),
        }
    }

    /// Everything that a difference in `seeds` can make a difference to, themselves among it.
    pub(super) fn reached(&self, seeds: Vec<(Key, How)>) -> BTreeSet<Key> {
        let mut seen: BTreeSet<(Key, How)> = BTreeSet::new();
        let mut left = seeds;
        while let Some((key, how)) = left.pop() {
            if seen.contains(&(key.clone(), How::Whole)) || !seen.insert((key.clone(), how)) {
                continue;
            }
            if how == How::Writes {
                continue;
            }
            for reader in self.readers(&key) {
                if how == How::Guard && self.bypasses(reader, &key) {
                    continue;
                }
                let how = match key.kind {
                    Kind::Policy => How::Guard,
                    Kind::Constraint | Kind::Index | Kind::Trigger | Kind::Rule
                        if reader.kind.is_relation() =>
                    {
                        How::Writes
                    }
                    _ => How::Whole,
                };
                left.push((reader.clone(), how));
            }
        }
        seen.into_iter().map(|(key, _)| key).collect()
    }

    /// The same without going on from tables: what runs `key` itself.
    pub(super) fn runs(&self, key: &Key) -> BTreeSet<Key> {
        let mut seen = BTreeSet::new();
        let mut left = vec![key.clone()];
        while let Some(key) = left.pop() {
            if !seen.insert(key.clone()) || key.kind == Kind::Table {
                continue;
            }
            left.extend(self.readers(&key).cloned());
        }
        seen
    }

    /// Who refers to `key`, those who may refer to anything among them.
    pub(super) fn readers(&self, key: &Key) -> impl Iterator<Item = &'a Key> + use<'a, '_> {
        let can_be_said = key.kind.is_relation() || matches!(key.kind, Kind::Function | Kind::Type);
        let anything = can_be_said && self.old_names.contains(key.name.name.as_str());
        let opaque = self.opaque.iter().filter(move |_| anything);
        let known = self.readers.get(key).into_iter().flatten();
        known.chain(opaque).copied()
    }

    /// Whether `reader` sees the table with rights that its policies do not hold, so that they are of no matter to it.
    fn bypasses(&self, reader: &Key, table: &Key) -> bool {
        let (Some(object), Some(of)) =
            (self.side.objects.get(reader), self.side.objects.get(table))
        else {
            return false;
        };
        let own_rights = match reader.kind {
            Kind::Function => object.fact("security") == "definer",
            Kind::View => object.fact("option security_invoker") != "true",
            Kind::MaterializedView => true,
            _ => false,
        };
        let owner = object.fact("owner");
        own_rights
            && (self.side.unbound(owner)
                || (owner == of.fact("owner") && of.fact("forced") != "on"))
    }

    /// Everything that `tables`, by their names before, depend on here, and what changed.
    pub(super) fn below<'n>(
        &self,
        tables: impl Iterator<Item = &'n Name>,
        renamed: &BTreeMap<Name, Name>,
        changed: &[Changed],
    ) -> BTreeSet<Key> {
        let mut left: Vec<&Key> = Vec::new();
        for name in tables {
            let names = [Some(name), renamed.get(name)];
            let found = names
                .into_iter()
                .flatten()
                .filter_map(|n| self.side.relation(n));
            left.extend(found.map(|(key, _)| key));
        }
        let keys = changed.iter().flat_map(|c| [Some(&c.key), c.was.as_ref()]);
        let known = keys
            .flatten()
            .filter_map(|key| self.side.objects.get_key_value(key));
        left.extend(known.map(|(key, _)| key));
        let database = Key::new(Kind::Database, Name::new("", ""));
        left.extend(self.side.objects.get_key_value(&database).map(|o| o.0));
        let mut seen: BTreeSet<&Key> = BTreeSet::new();
        while let Some(key) = left.pop() {
            let Some((key, object)) = self.side.objects.get_key_value(key) else {
                continue;
            };
            if seen.insert(key) {
                if object.opaque {
                    // It may depend on whatever rows are read through.
                    left.extend(self.side.objects.keys().filter(|k| k.kind == Kind::Table));
                }
                left.extend(&object.mentions);
            }
        }
        seen.into_iter().cloned().collect()
    }
}

/// Where a search for what is reached begins on `side`.
pub(super) fn seeds(
    changed: &[Changed],
    side: &Definitions,
    before: &Definitions,
) -> Vec<(Key, How)> {
    let mut found = Vec::new();
    for one in changed {
        let keys = [Some(&one.key), one.was.as_ref()].into_iter().flatten();
        for key in keys.filter(|key| side.objects.contains_key(key)) {
            seed(one, key, side, &mut found);
        }
        // A new name can be what an old body meant to say.
        let tables = one.key.kind == Kind::Columns && one.change == Change::Altered;
        if tables && only_new_columns(one) {
            found.extend(speakers(one, side, before));
        }
    }
    found
}

fn seed(one: &Changed, key: &Key, side: &Definitions, found: &mut Vec<(Key, How)>) {
    let facts = || one.differences.iter().map(|d| d.fact.as_str());
    let everywhere = |found: &mut Vec<(Key, How)>| {
        let tables = side.objects.keys().filter(|k| side.guarded(k));
        found.extend(tables.map(|k| (k.clone(), How::Whole)));
    };
    match key.kind {
        Kind::Table if one.change == Change::Altered => {
            let guard = |fact: &str| {
                fact == "row security" || fact.starts_with("grant ") && !fact.ends_with(OWNER)
            };
            let how = if facts().all(guard) {
                How::Guard
            } else {
                How::Whole
            };
            found.push((key.clone(), how));
            found.extend(
                facts()
                    .filter_map(|f| parent(f, side))
                    .map(|k| (k, How::Whole)),
            );
        }
        Kind::Table => {
            let parents = side
                .objects
                .get(key)
                .into_iter()
                .flat_map(|o| o.facts.keys());
            found.extend(
                parents
                    .filter_map(|f| parent(f, side))
                    .map(|k| (k, How::Whole)),
            );
            found.push((key.clone(), How::Whole));
        }
        Kind::Columns if one.change == Change::Altered && only_new_columns(one) => {
            let table = side.relation(&key.name).map(|r| r.0.clone());
            found.extend(table.map(|k| (k, How::Writes)));
        }
        Kind::Role if one.change == Change::Altered => {
            let attribute = |f: &str| ["SUPERUSER", "BYPASSRLS", "INHERIT"].contains(&f);
            if facts().any(attribute) {
                everywhere(found);
            }
            if facts().any(|f| attribute(f) || setting_has_a_say(f)) {
                found.push((key.clone(), How::Whole));
            }
            // What it may do by itself is as it was; what it may do as a member is not.
            let groups = facts().filter_map(|f| f.strip_prefix("member of "));
            let groups = groups.map(|g| Key::new(Kind::Role, Name::new("", g)));
            found.extend(groups.map(|group| (group, How::Whole)));
        }
        Kind::Database => {
            if facts().any(setting_has_a_say) {
                everywhere(found);
            }
        }
        Kind::Schema if facts().all(|f| f.starts_with("grant CREATE ")) => {}
        Kind::Cast | Kind::OperatorClass => everywhere(found),
        Kind::Extension if one.change != Change::Added => everywhere(found),
        Kind::Extension | Kind::DefaultPrivileges | Kind::Publication | Kind::EventTrigger => {}
        _ => found.push((key.clone(), How::Whole)),
    }
}

fn parent(fact: &str, side: &Definitions) -> Option<Key> {
    let name = fact.strip_prefix("child of ")?;
    let tables = side.objects.keys().filter(|k| k.kind == Kind::Table);
    tables
        .filter(|k| format!("{}.{}", k.name.schema, k.name.name) == name)
        .max()
        .cloned()
}

fn only_new_columns(one: &Changed) -> bool {
    one.differences.iter().all(|d| d.before.is_none())
}

/// Functions whose bodies speak of a column that is new.
fn speakers(one: &Changed, side: &Definitions, before: &Definitions) -> Vec<(Key, How)> {
    let columns: Vec<&str> = one
        .differences
        .iter()
        .filter_map(|d| d.fact.strip_prefix("column "))
        .collect();
    let table = before.relation(&one.key.name).map(|r| r.0);
    let reads =
        |object: &Object| object.opaque || table.is_some_and(|t| object.mentions.contains(t));
    side.objects
        .iter()
        .filter(|(key, object)| key.kind == Kind::Function && reads(object))
        .filter(|(_, o)| {
            columns
                .iter()
                .any(|c| o.opaque || body_says(o.fact("body"), c))
        })
        .map(|(key, _)| (key.clone(), How::Whole))
        .collect()
}
