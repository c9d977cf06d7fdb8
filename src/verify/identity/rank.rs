//! The most telling sessions first, and none twice.

use super::asks::{Asks, named};
use super::assemble::word;
use super::{Identity, Kind};
use crate::model::{Gap, Persona};
use crate::sql::ties::Claim;
use std::collections::{BTreeMap, BTreeSet};

/// An identity before it has its place.
pub(super) struct Draft {
    /// How soon it is wanted: 0 first.
    pub(super) rank: u8,
    pub(super) identity: Identity,
}

/// Claims that policies read and no session holds.
pub(super) fn unfilled(asks: &Asks, all: &[Draft]) -> Vec<Gap> {
    let holds = |claim: &Claim| {
        all.iter().any(|draft| {
            let settings = &draft.identity.persona.settings;
            if matches!(
                draft.identity.kind,
                Kind::EmptyClaims | Kind::EmptyObject | Kind::Malformed
            ) {
                return false;
            }
            let Some(text) = settings.get(&claim.setting) else {
                return false;
            };
            let document = serde_json::from_str::<serde_json::Value>(text).ok();
            let mut value = document.as_ref();
            for key in &claim.path {
                value = value.and_then(|v| v.get(key));
            }
            claim.path.is_empty() || value.is_some()
        })
    };
    asks.needed
        .iter()
        .filter(|claim| !asks.switches.contains(claim) && !holds(claim))
        .map(|claim| Gap {
            what: named(claim),
            why: "policies read it, and nothing says where its values are: no identity holds it"
                .to_owned(),
            remedy: Some("name a persona with it in the workload".to_owned()),
        })
        .collect()
}

/// The asked ones and at most `most` others, without doubles, each with a name of its own.
pub(super) fn ranked(
    asked: &[Persona],
    mut drafts: Vec<Draft>,
    most: usize,
    gaps: &mut Vec<Gap>,
) -> Vec<Identity> {
    let asked = asked.iter().map(|persona| Identity {
        about: format!("asked for, as {}", persona.role),
        kind: Kind::Asked,
        persona: persona.clone(),
    });
    let mut all: Vec<Identity> = asked.collect();
    let own = all.len();
    drafts.sort_by_key(|d| d.rank);
    all.extend(drafts.into_iter().map(|d| d.identity));
    let mut seen = BTreeSet::new();
    let mut at = 0;
    all.retain(|identity| {
        let persona = &identity.persona;
        at += 1;
        seen.insert((persona.role.clone(), persona.settings.clone())) || at <= own
    });
    let left: Vec<Identity> = all.split_off(all.len().min(own + most));
    let mut names = BTreeSet::new();
    for identity in &mut all {
        let name = identity.persona.name.clone();
        let mut number = 1;
        while !names.insert(identity.persona.name.clone()) {
            number += 1;
            identity.persona.name = format!("{name}_{number}");
        }
    }
    if !left.is_empty() {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for identity in &left {
            *kinds.entry(word(identity.kind)).or_default() += 1;
        }
        let kinds: Vec<String> = kinds.iter().map(|(k, n)| format!("{n} {k}")).collect();
        gaps.push(Gap {
            what: format!("{} more identities", left.len()),
            why: format!(
                "no more than {most} were asked for beside those named; left out: {}",
                kinds.join(", ")
            ),
            remedy: None,
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asked_first_then_by_rank_without_doubles() {
        let draft = |rank, name: &str, value: &str, kind| Draft {
            rank,
            identity: Identity {
                persona: Persona {
                    name: name.to_owned(),
                    role: "app".to_owned(),
                    settings: BTreeMap::from([("a.b".to_owned(), value.to_owned())]),
                },
                kind,
                about: String::new(),
            },
        };
        let asked = draft(0, "app_x", "1", Kind::Asked).identity.persona;
        let found = vec![
            draft(5, "app_late", "9", Kind::EmptyClaims),
            draft(1, "app_same", "1", Kind::Biggest),
            draft(1, "app_x", "2", Kind::Smallest),
        ];
        let mut gaps = Vec::new();
        let all = ranked(&[asked], found, 1, &mut gaps);
        let names: Vec<_> = all.iter().map(|i| i.persona.name.as_str()).collect();
        assert_eq!(names, ["app_x", "app_x_2"]);
        assert!(
            gaps[0].why.ends_with("left out: 1 empty_claims"),
            "{gaps:?}"
        );
    }
}
