//! What may be called by whom, and what that reads.

use super::{Definitions, Key, Kind, Object};
use crate::model::Name;
use std::collections::BTreeSet;

/// A function with its owner's rights that others may call by itself.
pub(super) fn is_callable(object: &Object) -> bool {
    object.fact("security") == "definer"
        && !["trigger", "event_trigger"].contains(&object.fact("result"))
        && object.granted("EXECUTE").next().is_some()
}

/// The tables that `key` reads or writes, through functions and views too; `None` where that may be any.
pub(super) fn tables_of(side: &Definitions, key: &Key) -> Option<BTreeSet<Name>> {
    let mut tables = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut left = vec![key];
    while let Some(key) = left.pop() {
        let Some(object) = side.objects.get(key).filter(|_| seen.insert(key)) else {
            continue;
        };
        if object.opaque {
            return None;
        }
        if key.kind == Kind::Table {
            tables.insert(key.name.clone());
            continue;
        }
        let below = object.mentions.iter();
        left.extend(below.filter(|k| k.kind.is_relation() || k.kind == Kind::Function));
    }
    Some(tables)
}

/// Functions that policies call, at whatever depth.
pub(super) fn in_policies(side: &Definitions) -> BTreeSet<&Key> {
    let mut found = BTreeSet::new();
    let policies = side.objects.iter().filter(|(k, _)| k.kind == Kind::Policy);
    let mut left: Vec<&Key> = policies.flat_map(|(_, o)| &o.mentions).collect();
    while let Some(key) = left.pop() {
        if key.kind == Kind::Function && found.insert(key) {
            let object = side.objects.get(key);
            left.extend(object.into_iter().flat_map(|o| &o.mentions));
        }
    }
    found
}
