//! Claims that hold what policies name, and values beside that.

use super::Kind;
use super::asks::named;
use super::assemble::{OfRole, plain, values, word};
use super::crowd::Crowd;
use super::fill::{Filled, settings};
use crate::sql::ties::Claim;
use std::collections::{BTreeMap, BTreeSet};

impl OfRole<'_> {
    /// Each constant that a claim is compared with, one that sorts below all of them and one above.
    pub(super) fn constants(&mut self, crowds: &[Crowd]) {
        let tied = |claim: &Claim| crowds.iter().any(|c| c.claim == *claim);
        for (claim, constants) in &self.asks.ties.constants {
            if self.asks.switches.contains(claim) || !self.asks.needed.contains(claim) {
                continue;
            }
            let asked = self.asks_for(claim);
            let edges = edges(constants);
            let edges = edges.iter().map(|(edge, text)| (Some(*edge), text));
            let all = constants.iter().map(|text| (None, text)).chain(edges);
            let default = self.asks.defaults.get(claim);
            if default.is_some() {
                let word = format!("without_{}", claim.label());
                self.constant(
                    claim,
                    &Filled::nothing(),
                    crowds,
                    true,
                    (4, &word, "is missing"),
                );
            }
            for (number, (edge, text)) in all.enumerate() {
                // Everybody holds the default.
                let held = default == Some(text) && !crowds.is_empty();
                if held || tied(claim) && edge.is_some() {
                    continue;
                }
                let label = claim.label();
                let (word, what) = match edge {
                    None => (
                        format!("{label}_{}", plain(text)),
                        format!("holds {text}, which policies name"),
                    ),
                    Some(edge) => (
                        format!("{label}_{edge}"),
                        format!("sorts {edge} what policies name"),
                    ),
                };
                let word = if word.len() > LONGEST {
                    format!("{label}_{}", number + 1)
                } else {
                    word
                };
                let later = u8::from(!asked) * 2 + u8::from(edge.is_some());
                let rank = 4 + later;
                let filled = Filled::text(text);
                self.constant(claim, &filled, crowds, edge.is_none(), (rank, &word, &what));
            }
        }
    }

    fn constant(
        &mut self,
        claim: &Claim,
        filled: &Filled,
        crowds: &[Crowd],
        named: bool,
        (rank, word, what): (u8, &str, &str),
    ) {
        let about = format!("{} {what}", self::named(claim));
        let crowd = crowds.iter().find(|c| c.claim != *claim);
        let people = crowd.map(|c| &c.people);
        let pick = |kind: Kind| people.into_iter().flatten().find(|p| p.kind == kind);
        let stranger = pick(Kind::Stranger).filter(|_| named);
        let chosen = [pick(Kind::Biggest), stranger];
        let mut used = false;
        for (later, one) in chosen.into_iter().enumerate() {
            let (Some(one), Some(crowd)) = (one, crowd) else {
                continue;
            };
            used = true;
            let mut values = values(crowd, one);
            values.insert(claim.clone(), filled.clone());
            let who = self::word(one.kind);
            let settings = settings(self.asks, &self.role.name, &values);
            let word = format!("{word}_{who}");
            let rank = rank + u8::from(later > 0);
            self.put(
                rank,
                Kind::RoleClaim,
                &word,
                &format!("{about}, {}", one.about),
                settings,
            );
        }
        if !used {
            let values = BTreeMap::from([(claim.clone(), filled.clone())]);
            let settings = settings(self.asks, &self.role.name, &values);
            self.put(rank.min(2), Kind::RoleClaim, word, &about, settings);
        }
    }
}

/// Longer constants are numbered instead.
const LONGEST: usize = 40;

/// A part of the first sorts below all of them in every collation; the last with something behind it above.
fn edges(constants: &BTreeSet<String>) -> Vec<(&'static str, String)> {
    let numbers: Vec<i64> = constants.iter().filter_map(|c| c.parse().ok()).collect();
    if let (Some(least), Some(most)) = (numbers.iter().min(), numbers.iter().max())
        && numbers.len() == constants.len()
    {
        return vec![
            ("below", least.saturating_sub(1).to_string()),
            ("above", most.saturating_add(1).to_string()),
        ];
    }
    if constants
        .iter()
        .all(|c| matches!(c.as_str(), "true" | "false" | "t" | "f"))
    {
        let other = if constants.contains("true") {
            "false"
        } else {
            "true"
        };
        return vec![("beside", other.to_owned())];
    }
    let mut found = Vec::new();
    if let Some(first) = constants.first() {
        let mut shorter: String = first.clone();
        shorter.pop();
        if !shorter.is_empty() {
            found.push(("below", shorter));
        }
    }
    if let Some(last) = constants.last() {
        found.push(("above", format!("{last}z")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_sort_outside() {
        let of = |all: &[&str]| edges(&all.iter().map(|t| (*t).to_owned()).collect());
        assert_eq!(
            of(&["admin", "nurse"]),
            [("below", "admi".to_owned()), ("above", "nursez".to_owned())]
        );
        assert_eq!(
            of(&["3"]),
            [("below", "2".to_owned()), ("above", "4".to_owned())]
        );
        assert_eq!(of(&["true"]), [("beside", "false".to_owned())]);
    }
}
