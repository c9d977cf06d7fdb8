//! Which changes of access were asked for by name.

use super::AccessChange;
use crate::config::AllowedAccess;
use crate::model::Gap;
use chrono::NaiveDate;

/// Changes of access, by whether the configuration allows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Nobody asked for these: what is decidable has to be shown equal, the rest fails the run.
    pub open: Vec<AccessChange>,
    /// With the reason given.
    pub allowed: Vec<(AccessChange, String)>,
    /// Entries of the configuration that have expired or cover nothing.
    pub unused: Vec<Gap>,
}

/// Compares what changed with what is allowed on the day `today`.
pub fn judge(changes: &[AccessChange], allowed: &[AllowedAccess], today: NaiveDate) -> Judged {
    let mut judged = Judged::default();
    for change in changes {
        let entry = allowed.iter().find(|a| a.holds(today) && covers(a, change));
        match entry {
            Some(entry) => judged.allowed.push((change.clone(), entry.reason.clone())),
            None => judged.open.push(change.clone()),
        }
    }
    for entry in allowed {
        let covered = changes.iter().filter(|c| covers(entry, c)).count();
        let why = match (entry.holds(today), entry.expires, covered) {
            (true, _, 0) => "it covers no change of access".to_owned(),
            (false, Some(last), n) if n > 0 => {
                format!("it expired on {last}, so {n} changes that it covers count again")
            }
            _ => continue,
        };
        judged.unused.push(Gap {
            what: format!("access allowed on {}", entry.object),
            why,
            remedy: Some("Remove it from the configuration, or correct it.".to_owned()),
        });
    }
    judged
}

fn covers(entry: &AllowedAccess, change: &AccessChange) -> bool {
    let key = &change.object;
    let name = key.name.to_string();
    entry.covers(&[&name, &format!("{name}/{}", key.part), &key.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Name;
    use crate::verify::access::{Class, Key, Kind};

    #[test]
    fn only_what_is_named_and_in_time_is_allowed() {
        let change = |part: &str| AccessChange {
            object: Key::part(Kind::Trigger, Name::new("public", "docs"), part),
            class: Class::Trigger,
            what: String::new(),
            tables: std::collections::BTreeSet::new(),
            decidable: false,
        };
        let entry = |object: &str, expires: Option<&str>| AllowedAccess {
            object: object.to_owned(),
            reason: "wanted".to_owned(),
            expires: expires.map(|e| e.parse().unwrap()),
        };
        let today = "2030-01-02".parse().unwrap();
        let changes = [change("g"), change("h")];
        for (object, expires, open, unused) in [
            ("public.docs", None, 0, 0),
            ("public.docs/g", Some("2030-01-02"), 1, 0),
            ("trigger g on public.docs", None, 1, 0),
            ("public.docs/g", Some("2030-01-01"), 2, 1),
            ("other.*", None, 2, 1),
        ] {
            let judged = judge(&changes, &[entry(object, expires)], today);
            assert_eq!(
                (judged.open.len(), judged.unused.len()),
                (open, unused),
                "{object}"
            );
            assert_eq!(judged.allowed.len(), 2 - open, "{object}");
        }
    }
}
