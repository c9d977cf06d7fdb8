//! Tables, their columns and their keys.

use super::{Change, Changed, Class, Key, Kind, Object, Search, access};
use crate::model::Name;
use crate::verify::access::mention::body_says;
use std::collections::BTreeSet;

impl Search<'_> {
    pub(super) fn table(&mut self, one: &Changed) {
        let own = BTreeSet::from([one.key.name.clone()]);
        match one.change {
            Change::Removed => {}
            Change::Added => {
                let key = &one.key;
                let [_, object] = self.sides(one);
                let Some(object) = object else { return };
                let parents = object
                    .facts
                    .keys()
                    .filter_map(|f| f.strip_prefix("child of "));
                let old = |name: &str| {
                    self.before
                        .objects
                        .keys()
                        .any(|k| k.kind == Kind::Table && k.name.to_string() == name)
                };
                let roles: Vec<&str> = object.granted("").collect();
                let parts: Vec<&str> = parents.filter(|p| old(p)).collect();
                if let [parent, ..] = parts.as_slice()
                    && !self.after.guarded(key)
                    && !roles.is_empty()
                {
                    let roles: BTreeSet<&str> = roles.into_iter().collect();
                    let roles: Vec<&str> = roles.into_iter().collect();
                    let what = format!(
                        "{key} is new, a child of {parent} without row-level security, and open to {}",
                        roles.join(", ")
                    );
                    self.found.push(access(key, Class::Parent, what, own));
                }
            }
            Change::Altered | Change::Renamed => {
                self.grants_and_owner(one, &own);
                let is = |test: fn(&str) -> bool| one.differences.iter().any(|d| test(&d.fact));
                if is(|f| f == "row security" || f == "forced") {
                    self.note(one, Class::Policy, own.clone());
                }
                if is(|f| {
                    f.starts_with("child of ")
                        || f == "table"
                        || f == "kind"
                        || f == "foreign table"
                }) {
                    self.note(one, Class::Parent, own);
                }
            }
        }
    }

    /// A column's new default matters where a policy tests the column.
    pub(super) fn columns(&mut self, one: &Changed) {
        let defaults: Vec<&str> = one
            .differences
            .iter()
            .filter(|d| default_of(d.before.as_deref()) != default_of(d.after.as_deref()))
            .filter(|d| d.before.is_some() && d.after.is_some())
            .filter_map(|d| d.fact.strip_prefix("column "))
            .collect();
        let tested: Vec<&str> = defaults
            .into_iter()
            .filter(|column| self.tested(&one.key.name, column))
            .collect();
        if !tested.is_empty() {
            let table = Key::new(Kind::Table, one.key.name.clone());
            let what = format!(
                "{table}: the default of {} changed, which a policy tests",
                tested.join(", ")
            );
            self.found.push(access(
                &one.key,
                Class::Default,
                what,
                BTreeSet::from([one.key.name.clone()]),
            ));
        }
    }

    fn tested(&self, table: &Name, column: &str) -> bool {
        let sides = [self.before, self.after];
        sides.iter().any(|side| {
            let policies = side
                .objects
                .iter()
                .filter(|(k, _)| k.kind == Kind::Policy && k.name == *table);
            let mut texts = policies.flat_map(|(_, o)| [o.fact("USING"), o.fact("WITH CHECK")]);
            texts.any(|text| body_says(text, column))
        })
    }

    pub(super) fn constraint(&mut self, one: &Changed) {
        let [before, after] = self.sides(one);
        let follows =
            |o: Option<&Object>| o.map_or(String::new(), |o| o.fact("follows").to_owned());
        if follows(before) == follows(after) {
            return;
        }
        // Of a key over new columns no row that was there has a value.
        let columns = Key::new(Kind::Columns, one.key.name.clone());
        let old = self.before.objects.get(&columns);
        let over = before.or(after).map_or("", |o| o.fact("columns"));
        let all_old = over
            .split(", ")
            .all(|c| old.is_some_and(|o| o.facts.contains_key(&format!("column {c}"))));
        if all_old {
            self.note(one, Class::Cascade, BTreeSet::from([one.key.name.clone()]));
        }
    }
}

/// The part of a column's text that says what it is given.
fn default_of(column: Option<&str>) -> Option<&str> {
    let column = column?;
    let at = [" default ", " generated ", " identity "]
        .iter()
        .filter_map(|word| column.find(word))
        .min();
    at.and_then(|at| column.get(at..))
}
