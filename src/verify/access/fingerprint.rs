use super::{Definitions, Key, Object};
use crate::db::checksum;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A digest of the definition of each object of `reach` that is there, by its name in words.
///
/// The same for the same definition in a clone, on another day and on another server. Settings that a role has in one
/// database alone are left out: a clone has none of them.
pub fn fingerprints(definitions: &Definitions, reach: &BTreeSet<Key>) -> BTreeMap<String, String> {
    reach
        .iter()
        .filter_map(|key| {
            let object = definitions.objects.get(key)?;
            Some((key.to_string(), digest(key, object)))
        })
        .collect()
}

fn digest(key: &Key, object: &Object) -> String {
    let mut text = key.to_string();
    let lasting = |fact: &str| !fact.ends_with(" in this database");
    for (fact, value) in object.facts.iter().filter(|(fact, _)| lasting(fact)) {
        // Writing to a string cannot fail. The lengths keep apart what a separator would not.
        let _ = write!(text, "\n{} {} {fact} {value}", fact.len(), value.len());
    }
    hex(&text)
}

/// Half of a digest: enough to tell texts apart, and it keeps the file that people commit small.
pub(super) fn hex(text: &str) -> String {
    checksum(text)
        .iter()
        .take(24)
        .fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}
