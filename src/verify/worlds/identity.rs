//! Who looks: roles that policies name, with each setting that they read unset, empty, its own value or another's. Of
//! personas only the role and the names of their settings are taken, never a value.

use super::dice::Dice;
use super::kind::family_of_cast;
use super::pool::{Favourites, Pools};
use crate::model::Persona;
use crate::sql::said::{Reading, Said};
use std::collections::{BTreeMap, BTreeSet};

/// One identity of one world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) role: String,
    /// In the order they are set.
    pub(super) settings: Vec<(String, String)>,
    /// Every setting that the policies read has a value of its kind.
    pub(super) whole: bool,
}

/// Identities that may share a connection: what one of them leaves unset, none has ever set there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pattern {
    pub(super) set: BTreeSet<String>,
    /// Of a hundred worlds.
    pub(super) share: usize,
}

/// The patterns of settings that are set and unset.
pub(super) fn patterns(said: &Said, personas: &[Persona]) -> Vec<Pattern> {
    let all: BTreeSet<String> = said.settings.keys().cloned().collect();
    let mut rest: BTreeSet<BTreeSet<String>> = BTreeSet::new();
    if !all.is_empty() {
        rest.insert(BTreeSet::new());
    }
    if (2..=6).contains(&all.len()) {
        for left in &all {
            rest.insert(all.iter().filter(|s| *s != left).cloned().collect());
        }
    }
    for persona in personas {
        let set = persona.settings.keys().filter(|s| all.contains(*s));
        rest.insert(set.cloned().collect());
    }
    rest.remove(&all);
    let share = if rest.is_empty() {
        0
    } else {
        (24 / rest.len()).clamp(3, 8)
    };
    let main = Pattern {
        set: all,
        share: 100_usize.saturating_sub(share * rest.len()).max(40),
    };
    let others = rest.into_iter().map(|set| Pattern { set, share });
    std::iter::once(main).chain(others).collect()
}

/// Draws identities.
pub(super) struct Draws<'a> {
    pub(super) said: &'a Said,
    pub(super) pools: &'a Pools,
    pub(super) roles: &'a [String],
}

impl Draws<'_> {
    pub(super) fn identity(
        &self,
        pattern: &Pattern,
        favourites: &Favourites,
        dice: &mut Dice,
    ) -> Identity {
        let role = dice.pick(self.roles).cloned().unwrap_or_default();
        let mut settings = Vec::new();
        let known: &BTreeMap<String, Reading> = &self.said.settings;
        for (name, reading) in known.iter().filter(|(n, _)| pattern.set.contains(*n)) {
            let value = match dice.below(100) {
                0..8 => String::new(),
                8..12 if reading.document => "{}".to_owned(),
                _ if reading.document || self.is_document(name) => {
                    self.pools.document(favourites, dice)
                }
                _ => {
                    let family = family_of_cast(reading.cast.as_deref());
                    self.pools.untyped(&family, name, favourites, dice)
                }
            };
            settings.push((name.clone(), value));
        }
        Identity {
            whole: settings.len() == known.len()
                && settings.iter().all(|(_, v)| !v.is_empty() && v != "{}"),
            role,
            settings,
        }
    }

    fn is_document(&self, name: &str) -> bool {
        let words = &self.said.words;
        let json = words.contains("json") || words.contains("jsonb");
        json && name.ends_with("claims")
    }
}

/// Whether the texts ask who the current role is.
pub(super) fn asks_for_role(said: &Said) -> bool {
    ["current_user", "session_user", "current_role", "user"]
        .iter()
        .any(|w| said.words.contains(*w))
}
