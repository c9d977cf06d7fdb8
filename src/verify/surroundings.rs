//! What a policy asks of its surroundings: the database's name, the connection, the transaction, the clock.
//!
//! Two clones on one server have the same answers, so a comparison of them says nothing of the original's.

use super::pairing::Subject;
use crate::model::{Catalog, Name};
use crate::sql::words::words;
use std::collections::{BTreeMap, BTreeSet};

/// Asked at all, in what changed.
const PLACES: [&str; 13] = [
    "current_database",
    "current_catalog",
    "session_user",
    "inet_client_addr",
    "inet_client_port",
    "inet_server_addr",
    "inet_server_port",
    "pg_backend_pid",
    "pg_is_in_recovery",
    "transaction_read_only",
    "transaction_isolation",
    "current_schema",
    "current_schemas",
];
/// Asked on one side and not on the other.
const CLOCKS: [&str; 7] = [
    "now",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtimestamp",
    "clock_timestamp",
    "timezone",
];

/// For each table the word by which what changed about it asks its surroundings. `changed` are functions that changed.
pub(super) fn said(
    subjects: &[Subject],
    (before, after): (&Catalog, &Catalog),
    changed: &BTreeSet<Name>,
) -> BTreeMap<Name, &'static str> {
    let bodies = |catalog: &Catalog| -> Vec<String> {
        let functions = catalog.functions.iter();
        functions
            .filter(|f| changed.contains(&f.name))
            .map(|f| f.body.clone())
            .collect()
    };
    let (old_bodies, new_bodies) = (bodies(before), bodies(after));
    let mut found = BTreeMap::new();
    for subject in subjects {
        let (mut old, mut new) = (old_bodies.clone(), new_bodies.clone());
        for (texts, table, other) in [
            (&mut old, &subject.before, &subject.after),
            (&mut new, &subject.after, &subject.before),
        ] {
            let same = |name: &str| other.policies.iter().find(|p| p.name == name);
            for policy in &table.policies {
                if same(&policy.name)
                    .is_none_or(|o| (&o.using, &o.check) != (&policy.using, &policy.check))
                {
                    texts.extend(
                        [&policy.using, &policy.check]
                            .into_iter()
                            .flatten()
                            .cloned(),
                    );
                }
            }
        }
        if let Some(word) = differently(&old, &new) {
            found.insert(subject.before.name(), word);
        }
    }
    found
}

fn differently(old: &[String], new: &[String]) -> Option<&'static str> {
    let spoken = |texts: &[String]| -> BTreeSet<String> {
        let all = texts.iter().filter_map(|t| words(t)).flatten();
        // A setting's name stands in a string.
        let quoted = texts.iter().flat_map(|t| {
            PLACES
                .into_iter()
                .filter(|p| t.contains(&format!("'{p}'")))
                .map(str::to_owned)
        });
        all.chain(quoted).collect()
    };
    let (old, new) = (spoken(old), spoken(new));
    let place = PLACES
        .into_iter()
        .find(|p| old.contains(*p) || new.contains(*p));
    place.or_else(|| {
        CLOCKS
            .into_iter()
            .find(|c| old.contains(*c) != new.contains(*c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_always_and_clocks_where_they_came_or_went() {
        let texts = |t: &str| vec![t.to_owned()];
        let told = |old: &str, new: &str| differently(&texts(old), &texts(new));
        assert_eq!(
            told("true", "(current_database() ~ 'x')"),
            Some("current_database")
        );
        assert_eq!(told("true", "now() < '2030-01-01'"), Some("now"));
        assert_eq!(told("t > now()", "t > (now() - '1 day')"), None);
        assert_eq!(told("owner = uid()", "owner = (select uid())"), None);
    }
}
