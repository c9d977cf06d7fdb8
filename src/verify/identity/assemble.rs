//! Sessions out of roles and values: named, without doubles, the most telling first.

use super::asks::{Asks, named};
use super::crowd::{Crowd, One};
use super::fill::{Filled, settings};
use super::rank::Draft;
use super::roles::Role;
use super::{Identity, Kind};
use crate::model::Persona;
use crate::sql::ties::Claim;
use std::collections::{BTreeMap, BTreeSet};

/// What the claims of one session hold.
type Values = BTreeMap<Claim, Filled>;

/// Everyone as every role.
pub(super) fn identities(asks: &Asks, roles: &[Role], crowds: &[Crowd]) -> Vec<Draft> {
    let mut all = Vec::new();
    for role in roles {
        let mut of = OfRole {
            asks,
            role,
            all: &mut all,
        };
        of.without_claims();
        for (at, crowd) in crowds.iter().enumerate() {
            of.everyone(crowd, at > 0);
        }
        of.crossed(crowds);
        of.constants(crowds);
    }
    all
}

pub(super) struct OfRole<'a> {
    pub(super) asks: &'a Asks,
    pub(super) role: &'a Role,
    all: &'a mut Vec<Draft>,
}

impl OfRole<'_> {
    pub(super) fn put(
        &mut self,
        rank: u8,
        kind: Kind,
        word: &str,
        about: &str,
        settings: BTreeMap<String, String>,
    ) {
        let role = &self.role.name;
        // An owner is looked at for FORCE and a change of owner, which everybody's claims would show alike.
        let enough = rank <= 1;
        if self.role.owner && !enough {
            return;
        }
        let (kind, rank) = if self.role.owner {
            (Kind::Owner, rank + 3)
        } else {
            (kind, rank)
        };
        let persona = Persona {
            name: format!("{}_{word}", plain(role)),
            role: role.clone(),
            settings,
        };
        self.all.push(Draft {
            rank,
            identity: Identity {
                persona,
                kind,
                about: format!("{about} as {role}"),
            },
        });
    }

    fn without_claims(&mut self) {
        let none = BTreeMap::new();
        self.put(
            0,
            Kind::NoClaims,
            "no_claims",
            "a session in which nothing was ever set",
            none,
        );
        let documents = self.asks.ties.documents();
        let read: BTreeSet<&String> = self.asks.needed.iter().map(|c| &c.setting).collect();
        // A switch is left alone even where it would be off.
        let switch = |setting: &String| {
            self.asks
                .switches
                .iter()
                .any(|c| c.setting == *setting && c.path.is_empty())
        };
        let read: Vec<&String> = read.into_iter().filter(|s| !switch(s)).collect();
        if read.is_empty() {
            return;
        }
        let all = |of: &dyn Fn(bool) -> &'static str| -> BTreeMap<String, String> {
            let each = read
                .iter()
                .map(|s| ((*s).clone(), of(documents.contains(s.as_str())).to_owned()));
            each.collect()
        };
        let empty = all(&|_| "");
        let object = all(&|document| if document { "{}" } else { "" });
        let malformed = all(&|document| if document { "{" } else { "no such value" });
        self.put(
            5,
            Kind::EmptyClaims,
            "empty_claims",
            "every setting is an empty text",
            empty,
        );
        self.put(
            5,
            Kind::EmptyObject,
            "empty_object",
            "every document is {}",
            object,
        );
        self.put(
            6,
            Kind::Malformed,
            "malformed",
            "nothing that can be read as a value",
            malformed,
        );
    }

    /// Whether policies for the role ask for the claim.
    pub(super) fn asks_for(&self, claim: &Claim) -> bool {
        self.role.claims.contains(claim)
    }

    fn everyone(&mut self, crowd: &Crowd, second: bool) {
        let asked = self.asks_for(&crowd.claim) || self.role.owner;
        let mut numbers: BTreeMap<Kind, usize> = BTreeMap::new();
        for one in &crowd.people {
            let kind = if asked { one.kind } else { Kind::OtherRole };
            let number = numbers.entry(one.kind).or_default();
            *number += 1;
            let mut word = word(one.kind).to_owned();
            if matches!(one.kind, Kind::Flagged | Kind::EveryUser) || *number > 1 {
                word = format!("{word}_{number}");
            }
            if second {
                word = format!("{word}_{}", crowd.claim.label());
            }
            let later = if asked { 0 } else { 3 } + u8::from(second);
            let about = format!("{} ({})", one.about, named(&crowd.claim));
            let settings = settings(self.asks, &self.role.name, &values(crowd, one));
            self.put(one.rank + later, kind, &word, &about, settings);
        }
    }

    /// Two claims of which one is somebody else's.
    fn crossed(&mut self, crowds: &[Crowd]) {
        let Some((first, rest)) = crowds.split_first() else {
            return;
        };
        let Some(one) = first.people.first() else {
            return;
        };
        for other in rest {
            let mut values = values(first, one);
            let own = values.get(&other.claim).map(|f| f.values.clone());
            let foreign = other.people.iter().find(|p| {
                p.kind != Kind::Stranger && !p.values.is_empty() && Some(&p.values) != own.as_ref()
            });
            if let Some(foreign) = foreign.filter(|_| self.asks_for(&other.claim)) {
                values.insert(other.claim.clone(), filled(other, foreign));
                let word = format!("crossed_{}", other.claim.label());
                let about = format!(
                    "{}, with somebody else's {}",
                    one.about,
                    named(&other.claim)
                );
                let settings = settings(self.asks, &self.role.name, &values);
                self.put(4, Kind::Crossed, &word, &about, settings);
            }
        }
    }
}

fn filled(crowd: &Crowd, one: &One) -> Filled {
    Filled {
        values: one.values.clone(),
        form: crowd.form.clone(),
        bare: crowd.bare,
    }
}

pub(super) fn values(crowd: &Crowd, one: &One) -> Values {
    let mut values = one.beside.clone();
    values.insert(crowd.claim.clone(), filled(crowd, one));
    values
}

pub(super) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Asked => "asked",
        Kind::NoClaims => "no_claims",
        Kind::Stranger => "stranger",
        Kind::Smallest => "smallest",
        Kind::Median => "median",
        Kind::Biggest => "biggest",
        Kind::EveryUser => "user",
        Kind::TwoMemberships => "two_memberships",
        Kind::OneMembership => "one_membership",
        Kind::NoMembership => "no_membership",
        Kind::Flagged => "flagged",
        Kind::FrequentOwner => "frequent_owner",
        Kind::Crossed => "crossed",
        Kind::Owner => "owner",
        Kind::RoleClaim => "role_claim",
        Kind::EmptyClaims => "empty_claims",
        Kind::EmptyObject => "empty_object",
        Kind::Malformed => "malformed",
        Kind::OtherRole => "other_role",
    }
}

/// As a part of a name.
pub(super) fn plain(text: &str) -> String {
    let one = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '_'
        }
    };
    text.chars().map(one).collect()
}
