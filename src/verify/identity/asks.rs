//! What the policies of both sides ask of a session.

use crate::model::{Catalog, Gap, Name, Policy, Table};
use crate::sql::ties::{Claim, Form, Place, Ties, scan};
use std::collections::{BTreeMap, BTreeSet};

/// What is asked, of both sides together.
pub(super) struct Asks {
    pub(super) ties: Ties,
    /// Claims that a session must hold.
    pub(super) needed: BTreeSet<Claim>,
    /// Claims whose values stand in columns, the one that most columns are compared with first.
    pub(super) subjects: Vec<Subject>,
    /// For each role that a policy applies to: the claims that such policies read.
    pub(super) by_role: BTreeMap<String, BTreeSet<Claim>>,
    /// Literals that a claim needs for anything to be seen.
    pub(super) defaults: BTreeMap<Claim, String>,
    /// Claims that switch policies off.
    pub(super) switches: BTreeSet<Claim>,
    /// Claims that hold the name of the role.
    pub(super) role_claims: BTreeSet<Claim>,
    /// Columns that hold the same things: compared with each other, or tied by a foreign key.
    pub(super) same: BTreeMap<Place, usize>,
    /// Tables as they are before the change.
    pub(super) tables: BTreeMap<Name, Table>,
}

/// A claim that names somebody or something of which a table holds rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) claim: Claim,
    pub(super) form: Option<Form>,
    /// Columns that exist before the change.
    pub(super) places: BTreeSet<Place>,
    /// Compared by something other than `=`.
    pub(super) loose: bool,
}

/// Words in the name of a setting that switches policies off.
const SWITCHES: &[&str] = &[
    "bypass",
    "skip",
    "disable",
    "ignore",
    "override",
    "superuser",
    "rls",
    "no_check",
];

impl Asks {
    pub(super) fn of((before, after): (&Catalog, &Catalog)) -> Self {
        let mut ties = Ties::default();
        let mut required = Ties::default();
        let mut by_role: BTreeMap<String, BTreeSet<Claim>> = BTreeMap::new();
        for catalog in [before, after] {
            for (name, table) in &catalog.tables {
                for policy in &table.policies {
                    let found = scan(texts(name, policy), catalog);
                    for role in &policy.roles {
                        let claims = by_role.entry(role.clone()).or_default();
                        claims.extend(found.claims());
                    }
                    if !policy.permissive {
                        required.add(found.clone());
                    }
                    ties.add(found);
                }
            }
        }
        let needed = ties.claims();
        let switches: BTreeSet<Claim> = needed.iter().filter(|c| is_switch(c)).cloned().collect();
        let subjects = subjects(&ties, &needed, &switches, before);
        let role_claims = role_claims(&ties, &needed, [before, after]);
        let mut defaults = BTreeMap::new();
        let restrictive = required.literals.iter();
        let restrictive = restrictive.flat_map(|(c, all)| all.iter().map(move |l| (c, l)));
        let beside = ties.beside.iter().map(|(c, l)| (c, l));
        for (claim, literal) in restrictive.chain(beside) {
            let filled = subjects.iter().any(|s| s.claim == *claim);
            if !filled && !switches.contains(claim) && !role_claims.contains(claim) {
                let default = defaults.entry(claim.clone());
                default.or_insert_with(|| literal.clone());
            }
        }
        Self {
            same: same(&ties, before),
            ties,
            needed,
            subjects,
            by_role,
            defaults,
            switches,
            role_claims,
            tables: before.tables.clone(),
        }
    }

    /// Tables whose rows are read to find values.
    pub(super) fn tables(&self) -> BTreeSet<Name> {
        let places = self.subjects.iter().flat_map(|s| &s.places);
        let joined = self.ties.joined.iter().flat_map(|(a, b)| [a, b]);
        let all = places.chain(joined).chain(&self.ties.user);
        let all = all.chain(self.ties.tests.iter().map(|(place, _)| place));
        let mut names: BTreeSet<Name> = all.map(|(table, _)| table.clone()).collect();
        let roots: Vec<Name> = names
            .iter()
            .filter_map(|n| self.tables.get(n))
            .flat_map(|t| t.foreign_keys.iter().map(|f| f.references.clone()))
            .collect();
        names.extend(roots);
        names.retain(|n| self.tables.contains_key(n));
        names
    }

    pub(super) fn rows(&self, table: &Name) -> f64 {
        self.tables.get(table).map_or(0.0, Table::row_estimate)
    }

    /// Whether two columns hold the same things.
    pub(super) fn alike(&self, one: &Place, other: &Place) -> bool {
        one == other
            || self
                .same
                .get(one)
                .is_some_and(|class| self.same.get(other) == Some(class))
    }

    /// What no session can be given.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        if self.ties.session_user {
            gaps.push(Gap {
                what: "policies that read session_user".to_owned(),
                why: "SET ROLE does not change it: every identity has that of the connection"
                    .to_owned(),
                remedy: None,
            });
        }
        for claim in &self.switches {
            gaps.push(Gap {
                what: named(claim),
                why: "it looks like a switch that turns policies off: no identity sets it"
                    .to_owned(),
                remedy: Some("name a persona with this setting in the workload".to_owned()),
            });
        }
        gaps
    }
}

/// As a reader knows it.
pub(super) fn named(claim: &Claim) -> String {
    if claim.path.is_empty() {
        format!("setting {}", claim.setting)
    } else {
        format!("claim {} in {}", claim.path.join("."), claim.setting)
    }
}

fn texts<'a>(name: &'a Name, policy: &'a Policy) -> impl Iterator<Item = (&'a Name, &'a str)> {
    let both = [policy.using.as_deref(), policy.check.as_deref()];
    both.into_iter().flatten().map(move |text| (name, text))
}

fn is_switch(claim: &Claim) -> bool {
    let name = claim.path.last().unwrap_or(&claim.setting);
    let words = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
    SWITCHES.iter().any(|word| words.contains(word))
}

fn subjects(
    ties: &Ties,
    needed: &BTreeSet<Claim>,
    switches: &BTreeSet<Claim>,
    before: &Catalog,
) -> Vec<Subject> {
    let here = |places: &BTreeSet<Place>| -> BTreeSet<Place> {
        let known = |(table, column): &&Place| {
            let table = before.table(table);
            table.is_some_and(|t| t.column(column).is_some())
        };
        places.iter().filter(known).cloned().collect()
    };
    let mut found = Vec::new();
    for claim in needed.iter().filter(|c| !switches.contains(c)) {
        let list = ties.listed.iter().find(|((c, _), _)| c == claim);
        let (form, places, loose) = match (ties.equal.get(claim), list, ties.loose.get(claim)) {
            (Some(places), _, _) => (None, here(places), false),
            (None, Some(((_, form), places)), _) => (Some(form.clone()), here(places), false),
            (None, None, Some(places)) => (None, here(places), true),
            (None, None, None) => continue,
        };
        if !places.is_empty() {
            found.push(Subject {
                claim: claim.clone(),
                form,
                places,
                loose,
            });
        }
    }
    found.sort_by_key(|s| (s.loose, std::cmp::Reverse(s.places.len())));
    found
}

/// `role` of a token, and what is compared with names of roles.
fn role_claims(ties: &Ties, needed: &BTreeSet<Claim>, sides: [&Catalog; 2]) -> BTreeSet<Claim> {
    let is_role = |text: &String| sides.iter().any(|c| c.roles.contains_key(text));
    let holds = |claim: &&Claim| {
        let constants = ties.constants.get(claim);
        claim.path == ["role"] || constants.is_some_and(|all| all.iter().any(is_role))
    };
    let free = |claim: &&Claim| !ties.equal.contains_key(claim);
    needed.iter().filter(free).filter(holds).cloned().collect()
}

/// Numbers the sets of columns that hold the same things.
fn same(ties: &Ties, before: &Catalog) -> BTreeMap<Place, usize> {
    let mut pairs: Vec<(Place, Place)> = ties.joined.iter().cloned().collect();
    for places in ties.equal.values() {
        let first = places.first();
        pairs.extend(
            places
                .iter()
                .filter_map(|p| Some((first?.clone(), p.clone()))),
        );
    }
    for (name, table) in &before.tables {
        for key in &table.foreign_keys {
            if let ([column], [referenced]) =
                (key.columns.as_slice(), key.referenced_columns.as_slice())
            {
                let root = (key.references.clone(), referenced.clone());
                pairs.push(((name.clone(), column.clone()), root));
            }
        }
    }
    let mut class: BTreeMap<Place, usize> = BTreeMap::new();
    for (number, (a, b)) in pairs.into_iter().enumerate() {
        let (of_a, of_b) = (class.get(&a).copied(), class.get(&b).copied());
        let kept = of_a.or(of_b).unwrap_or(number);
        for old in [of_a, of_b].into_iter().flatten() {
            class
                .values_mut()
                .filter(|c| **c == old)
                .for_each(|c| *c = kept);
        }
        class.insert(a, kept);
        class.insert(b, kept);
    }
    class
}
