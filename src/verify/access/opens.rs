//! Which changes open or close rows, and which of them policies alone decide.

mod code;
mod tables;

use super::compare::{Change, Changed};
use super::differ::setting_has_a_say;
use super::functions::in_policies;
use super::reach::Graph;
use super::{Definitions, Key, Kind, Object};
use crate::model::Name;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// By which way a change opens or closes rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Policies, their roles, what they call and compare with, row-level security on or off, FORCE. Decided by evaluating the
    /// effective expressions of both sides for each identity, provided that an identity without policies (the owner without
    /// FORCE) counts as one that is shown everything.
    Policy,
    /// Grants on tables, columns and schemas. Decided by comparing each identity's privileges on both sides.
    Privilege,
    /// The owner of a table or schema: also who may change all of this.
    Owner,
    /// A table became, or no longer is, a part of another: its rows are shown through that one.
    Parent,
    /// A view or a materialised view.
    View,
    /// A function with its owner's rights that others may call.
    Callable,
    /// The same, new, and called by a policy: what a rewrite brings along.
    Companion,
    /// What happens on writing.
    Trigger,
    Rule,
    /// What a column that policies test is given when an INSERT leaves it out.
    Default,
    /// Rows go or change with rows of another table, whatever the policies say.
    Cascade,
    /// Attributes and memberships. All databases of a server share them, so two clones on one server cannot show them.
    Role,
    Setting,
    DefaultPrivileges,
    Publication,
    /// A new table without row-level security that holds rows.
    Copy,
}

impl Class {
    /// Whether policies and privileges on both sides decide it.
    pub fn is_decidable(self) -> bool {
        matches!(self, Self::Policy | Self::Privilege)
    }
}

/// A change that opens or closes rows, or may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessChange {
    pub object: Key,
    pub class: Class,
    /// In words, without a value.
    pub what: String,
    /// Tables whose rows it is about, by their names on the side that has the object; none where it may be any.
    pub tables: BTreeSet<Name>,
    /// Whether [`Class::is_decidable`]; if not, it has to be allowed by name.
    pub decidable: bool,
}

fn access(
    object: &Key,
    class: Class,
    what: impl Into<String>,
    tables: BTreeSet<Name>,
) -> AccessChange {
    AccessChange {
        object: object.clone(),
        class,
        what: what.into(),
        tables,
        decidable: class.is_decidable(),
    }
}

/// A new table that is open and holds rows.
pub(super) fn copy(table: &Name, roles: &BTreeSet<String>) -> AccessChange {
    let key = Key::new(Kind::Table, table.clone());
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    let what = format!(
        "{key} is new, holds rows and is open to {}",
        roles.join(", ")
    );
    access(&key, Class::Copy, what, BTreeSet::from([table.clone()]))
}

/// New tables without row-level security, and who may read them apart from the owner and those whom no policy holds.
pub(super) fn open_tables(
    new: &BTreeSet<Name>,
    after: &Definitions,
) -> BTreeMap<Name, BTreeSet<String>> {
    let mut found = BTreeMap::new();
    for name in new {
        let key = Key::new(Kind::Table, name.clone());
        let Some(object) = after.objects.get(&key).filter(|_| !after.guarded(&key)) else {
            continue;
        };
        let roles: BTreeSet<String> = object
            .granted("SELECT")
            .filter(|role| *role != object.fact("owner") && !after.unbound(role))
            .map(str::to_owned)
            .collect();
        if !roles.is_empty() {
            found.insert(name.clone(), roles);
        }
    }
    found
}

/// What all searches for one change share.
struct Search<'a> {
    before: &'a Definitions,
    after: &'a Definitions,
    graphs: &'a [Graph<'a>; 2],
    /// What changed itself.
    own: BTreeSet<&'a Key>,
    policy_functions: [BTreeSet<&'a Key>; 2],
    found: Vec<AccessChange>,
}

pub(super) fn find(
    changed: &[Changed],
    before: &Definitions,
    after: &Definitions,
    graphs: &[Graph<'_>; 2],
) -> Vec<AccessChange> {
    let mut search = Search {
        before,
        after,
        graphs,
        own: changed
            .iter()
            .flat_map(|c| [Some(&c.key), c.was.as_ref()])
            .flatten()
            .collect(),
        policy_functions: [in_policies(before), in_policies(after)],
        found: Vec::new(),
    };
    for one in changed {
        search.look(one);
    }
    search.found
}

impl Search<'_> {
    fn look(&mut self, one: &Changed) {
        let own = BTreeSet::from([one.key.name.clone()]);
        match one.key.kind {
            Kind::Policy if self.on_old_relation(one) && says(one) => {
                self.note(one, Class::Policy, own);
            }
            Kind::Trigger if self.on_old_relation(one) && says(one) => {
                self.note(one, Class::Trigger, own);
            }
            Kind::Rule if self.on_old_relation(one) && says(one) => {
                self.note(one, Class::Rule, own);
            }
            Kind::Constraint if self.on_old_relation(one) => self.constraint(one),
            Kind::Table => self.table(one),
            Kind::Columns => self.columns(one),
            Kind::View | Kind::MaterializedView => self.view(one),
            Kind::Function => self.function(one),
            Kind::Type | Kind::Collation | Kind::Operator | Kind::OperatorClass | Kind::Cast => {
                self.runners(one);
            }
            Kind::Schema if one.change == Change::Altered => {
                let schema = &one.key.name.name;
                let tables = self.before.objects.keys().filter(|k| k.kind == Kind::Table);
                let tables = tables
                    .map(|k| k.name.clone())
                    .filter(|n| n.schema == *schema);
                self.grants_and_owner(one, &tables.collect());
            }
            Kind::Role => self.role(one),
            Kind::Database if one.differences.iter().any(|d| setting_has_a_say(&d.fact)) => {
                self.note(one, Class::Setting, BTreeSet::new());
            }
            Kind::DefaultPrivileges => self.note(one, Class::DefaultPrivileges, BTreeSet::new()),
            Kind::Publication => self.note(one, Class::Publication, BTreeSet::new()),
            _ => {}
        }
    }

    fn note(&mut self, one: &Changed, class: Class, tables: BTreeSet<Name>) {
        self.found
            .push(access(&one.key, class, one.what.as_str(), tables));
    }

    /// A part of something that both sides have.
    fn on_old_relation(&self, one: &Changed) -> bool {
        let old = one.was.as_ref().unwrap_or(&one.key);
        self.before.relation(&old.name).is_some() && self.after.relation(&one.key.name).is_some()
    }

    fn sides(&self, one: &Changed) -> [Option<&Object>; 2] {
        let old = one.was.as_ref().unwrap_or(&one.key);
        let before = self
            .before
            .objects
            .get(old)
            .filter(|_| one.change != Change::Added);
        [before, self.after.objects.get(&one.key)]
    }

    fn grants_and_owner(&mut self, one: &Changed, tables: &BTreeSet<Name>) {
        let is = |test: fn(&str) -> bool| one.differences.iter().any(|d| test(&d.fact));
        if is(|f| f.starts_with("grant ")) {
            self.note(one, Class::Privilege, tables.clone());
        }
        if is(|f| f == "owner") {
            self.note(one, Class::Owner, tables.clone());
        }
    }

    fn role(&mut self, one: &Changed) {
        let [_, after] = self.sides(one);
        let power = |f: &str| {
            f.starts_with("member of ")
                || [
                    "SUPERUSER",
                    "BYPASSRLS",
                    "INHERIT",
                    "CREATEROLE",
                    "REPLICATION",
                ]
                .contains(&f)
        };
        let has_power = |o: &Object| {
            o.facts.iter().any(|(f, v)| {
                f.starts_with("member of ") || power(f) && f != "INHERIT" && v == "true"
            })
        };
        let differs = |test: &dyn Fn(&str) -> bool| one.differences.iter().any(|d| test(&d.fact));
        let gained = one.change == Change::Added && after.is_some_and(has_power);
        if gained || differs(&power) {
            self.note(one, Class::Role, BTreeSet::new());
        } else if differs(&setting_has_a_say) {
            self.note(one, Class::Setting, BTreeSet::new());
        }
    }
}

/// Anything but another name: the order of names decides nothing.
fn says(one: &Changed) -> bool {
    one.change != Change::Renamed || !one.differences.is_empty()
}
