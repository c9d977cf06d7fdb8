//! What ties a session to rows: which settings and claims policies read, and which columns, constants and tables they
//! are compared with, through the functions that policies call.

mod claim;
mod compare;
mod scan;
#[cfg(test)]
pub(crate) mod tests;
mod value;

pub use claim::{CLAIMS, Claim};
pub use scan::scan;
pub use value::Form;

use crate::model::Name;
use std::collections::{BTreeMap, BTreeSet};

/// A column of a table.
pub type Place = (Name, String);

/// What is known of who sees what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// Columns that a claim is compared with by `=`.
    pub equal: BTreeMap<Claim, BTreeSet<Place>>,
    /// Columns whose value may be one of the list in a claim.
    pub listed: BTreeMap<(Claim, Form), BTreeSet<Place>>,
    /// Columns that stand on the other side of any other operator or beside it in a call.
    pub loose: BTreeMap<Claim, BTreeSet<Place>>,
    /// Literals that a claim is compared with by `=`.
    pub literals: BTreeMap<Claim, BTreeSet<String>>,
    /// Literals that a claim is compared with by any operator.
    pub constants: BTreeMap<Claim, BTreeSet<String>>,
    /// Literals of `literals` that stand beside another condition under AND: without them that one shows nothing.
    pub beside: BTreeSet<(Claim, String)>,
    /// Columns that are compared with each other by `=`, both ways round.
    pub joined: BTreeSet<(Place, Place)>,
    /// Columns that `current_user` or `session_user` is compared with.
    pub user: BTreeSet<Place>,
    /// Literals that it is compared with.
    pub user_names: BTreeSet<String>,
    /// Whether `session_user` is read, which `SET ROLE` does not change.
    pub session_user: bool,
    /// What is asked of a column without a look at the session.
    pub tests: BTreeSet<(Place, Test)>,
    /// Tables that sub-selects and bodies read.
    pub inner: BTreeSet<Name>,
    /// Columns of such tables that a claim is compared with: their rows say who belongs where, or what somebody may do.
    pub asked: BTreeSet<Place>,
    /// Claims that are read in any other way.
    pub read: BTreeSet<Claim>,
}

/// A condition on a column alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Test {
    /// A boolean column as a condition.
    True,
    Null,
    /// Compared with the time of day or with one computed from it.
    Clock,
    /// Operator and literal, the column on the left.
    Compare(String, String),
}

impl Ties {
    /// Every claim that must have a value; a document of which a field is read is not read as a whole.
    pub fn claims(&self) -> BTreeSet<Claim> {
        let listed = self.listed.keys().map(|(claim, _)| claim);
        let all = self.equal.keys().chain(self.loose.keys()).chain(listed);
        let all = all.chain(self.constants.keys()).chain(&self.read);
        let all: BTreeSet<Claim> = all.cloned().collect();
        all.iter()
            .filter(|c| !all.iter().any(|o| o.is_inside(c)))
            .cloned()
            .collect()
    }

    /// Settings that hold a document.
    pub fn documents(&self) -> BTreeSet<&str> {
        let listed = self.listed.keys().map(|(claim, _)| claim);
        let all = self.equal.keys().chain(self.loose.keys()).chain(listed);
        let all = all.chain(self.constants.keys()).chain(&self.read);
        all.filter(|c| !c.path.is_empty() || c.setting == CLAIMS)
            .map(|c| c.setting.as_str())
            .collect()
    }

    /// Joins what another look found to this one.
    pub fn add(&mut self, other: Self) {
        fn merge<K: Ord, V: Ord>(
            into: &mut BTreeMap<K, BTreeSet<V>>,
            from: BTreeMap<K, BTreeSet<V>>,
        ) {
            for (key, values) in from {
                into.entry(key).or_default().extend(values);
            }
        }
        merge(&mut self.equal, other.equal);
        merge(&mut self.listed, other.listed);
        merge(&mut self.loose, other.loose);
        merge(&mut self.literals, other.literals);
        merge(&mut self.constants, other.constants);
        self.beside.extend(other.beside);
        self.joined.extend(other.joined);
        self.user.extend(other.user);
        self.user_names.extend(other.user_names);
        self.session_user |= other.session_user;
        self.tests.extend(other.tests);
        self.inner.extend(other.inner);
        self.asked.extend(other.asked);
        self.read.extend(other.read);
    }
}
