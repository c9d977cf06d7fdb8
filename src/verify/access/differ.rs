//! Which object of one side is which of the other, and what of it differs.

use super::{Definitions, Key, Kind, Object};
use std::collections::{BTreeMap, BTreeSet};

/// An object on the sides that have it.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) before: Option<(&'a Key, &'a Object)>,
    pub(super) after: Option<(&'a Key, &'a Object)>,
}

/// One fact that differs. `None` where the side has none of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) fact: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

/// Pairs by number first where numbers mean the same on both sides, then by name.
pub(super) fn pairs<'a>(
    before: &'a Definitions,
    after: &'a Definitions,
    clones: bool,
) -> Vec<Pair<'a>> {
    let numbered: BTreeMap<(u32, u32), &Key> = if clones {
        after.objects.iter().map(|(k, o)| (o.id, k)).collect()
    } else {
        BTreeMap::new()
    };
    let mut taken: BTreeSet<&Key> = BTreeSet::new();
    let mut of: BTreeMap<&Key, &Key> = BTreeMap::new();
    for (key, object) in &before.objects {
        if let Some(found) = numbered.get(&object.id)
            && found.kind == key.kind
        {
            taken.insert(found);
            of.insert(key, found);
        }
    }
    for key in before.objects.keys() {
        if !of.contains_key(key)
            && let Some((found, _)) = after.objects.get_key_value(key)
            && taken.insert(found)
        {
            of.insert(key, found);
        }
    }
    let both = before.objects.iter().map(|(key, object)| Pair {
        before: Some((key, object)),
        after: of.get(key).and_then(|k| after.objects.get_key_value(*k)),
    });
    let added = after.objects.iter().filter(|(key, _)| !taken.contains(key));
    both.chain(added.map(|side| Pair {
        before: None,
        after: Some(side),
    }))
    .collect()
}

/// What of an object differs, by fact.
pub(super) fn differences(before: &Object, after: &Object, clones: bool) -> Vec<Difference> {
    let facts: BTreeSet<&String> = before.facts.keys().chain(after.facts.keys()).collect();
    let (owner, heir) = (before.fact("owner"), after.fact("owner"));
    // Grants to the owner are written as such, whoever that is, so a new one's are no longer written with its name.
    let inherited = |fact: &str| {
        let to = fact
            .strip_prefix("grant ")
            .and_then(|g| g.split_once(" to "));
        owner != heir && to.is_some_and(|(_, to)| to == owner || to == heir)
    };
    // A clone has no settings that a role has in one database.
    let lost = |fact: &str| clones && fact.ends_with(" in this database");
    let mut found = Vec::new();
    for fact in facts.into_iter().filter(|f| !inherited(f) && !lost(f)) {
        let (was, is) = (before.facts.get(fact), after.facts.get(fact));
        let (old, new) = (before.trees.get(fact), after.trees.get(fact));
        // What the server keeps says more than the text that it prints of it, which follows names.
        let same = match (old, new) {
            (Some(old), Some(new)) if clones => old == new,
            _ => was == is,
        };
        if !same {
            found.push(Difference {
                fact: fact.clone(),
                before: was.cloned(),
                after: is.cloned(),
            });
        }
    }
    found
}

/// The columns that have another name but are the same, by their numbers: old name to new.
pub(super) fn renamed_columns<'a>(
    before: &'a Object,
    after: &'a Object,
) -> BTreeMap<&'a str, &'a str> {
    let numbers = |object: &'a Object| -> BTreeMap<&'a str, &'a str> {
        let columns = object.trees.iter();
        columns
            .filter_map(|(fact, tree)| {
                Some((tree.split_once(':')?.0, fact.strip_prefix("column ")?))
            })
            .collect()
    };
    let new = numbers(after);
    numbers(before)
        .into_iter()
        .filter_map(|(number, old)| Some((old, *new.get(number)?)))
        .filter(|(old, new)| old != new)
        .collect()
}

/// Whether a name differs only because the relation or schema that carries it was renamed.
pub(super) fn follows(
    before: &Key,
    after: &Key,
    relations: &BTreeMap<&crate::model::Name, &crate::model::Name>,
) -> bool {
    before.kind.is_part()
        && before.part == after.part
        && relations.get(&before.name) == Some(&&after.name)
}

/// Relations that have another name after.
pub(super) fn renamed<'a>(
    pairs: &[Pair<'a>],
) -> BTreeMap<&'a crate::model::Name, &'a crate::model::Name> {
    let both = pairs.iter().filter_map(|p| Some((p.before?.0, p.after?.0)));
    both.filter(|(b, a)| b.kind.is_relation() && b.name != a.name)
        .map(|(b, a)| (&b.name, &a.name))
        .collect()
}

/// Whether a fact is a setting that decides which rows a session sees.
pub(super) fn setting_has_a_say(fact: &str) -> bool {
    let name = fact.strip_prefix("setting ");
    name.and_then(|name| name.split(' ').next())
        .is_some_and(crate::sql::setting::decides)
}

/// Whether rows of other relations are seen through it.
pub(super) fn is_view(kind: Kind) -> bool {
    matches!(kind, Kind::View | Kind::MaterializedView)
}
