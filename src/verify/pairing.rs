//! Which table of one side is which of the other.

use super::side::{Column, Guarded, Side};
use crate::model::Name;
use std::collections::{BTreeMap, BTreeSet};

/// A table that both sides have.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// Places it in the order of subjects, and names what dbtune makes for it on the clones.
    pub(super) number: usize,
    pub(super) before: Guarded,
    pub(super) after: Guarded,
    /// Columns that its policies read on either side, those that both sides have first.
    pub(super) columns: Vec<Pair>,
}

/// One column, as each side has it.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) before: Option<Column>,
    pub(super) after: Option<Column>,
}

impl Pair {
    /// Of the side before or after.
    pub(super) fn on(&self, after: bool) -> Option<&Column> {
        if after {
            self.after.as_ref()
        } else {
            self.before.as_ref()
        }
    }

    pub(super) fn shared(&self) -> bool {
        self.before.is_some() && self.after.is_some()
    }
}

impl Subject {
    pub(super) fn name(&self) -> Name {
        self.before.name()
    }

    pub(super) fn on(&self, after: bool) -> &Guarded {
        if after { &self.after } else { &self.before }
    }
}

/// How columns are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Clones of one database share oids and column numbers, so that what was renamed is found.
    Number,
    Name,
}

/// The tables of one side, each being both of its own.
pub(super) fn single(side: &Side) -> Vec<Subject> {
    pair(side, side, &BTreeMap::new(), By::Number)
}

/// The tables that both sides have, by name. `renamed` leads from names before to names after.
pub(super) fn pair(
    before: &Side,
    after: &Side,
    renamed: &BTreeMap<Name, Name>,
    by: By,
) -> Vec<Subject> {
    let mut subjects = Vec::new();
    let named: BTreeMap<Name, u32> = after.tables.values().map(|t| (t.name(), t.oid)).collect();
    for b in before.tables.values() {
        let name = b.name();
        let there = named.get(renamed.get(&name).unwrap_or(&name));
        let Some(a) = there.and_then(|oid| after.tables.get(oid)) else {
            continue;
        };
        subjects.push(Subject {
            number: 0,
            columns: columns(b, a, by),
            before: b.clone(),
            after: a.clone(),
        });
    }
    subjects.sort_by_key(Subject::name);
    for (number, subject) in subjects.iter_mut().enumerate() {
        subject.number = number;
    }
    subjects
}

/// System columns are left out: they are read from the table itself.
fn columns(before: &Guarded, after: &Guarded, by: By) -> Vec<Pair> {
    let read = |table: &Guarded| -> BTreeSet<i16> {
        let all = table.policies.iter().flat_map(|p| p.reads.iter().copied());
        all.filter(|number| *number > 0).collect()
    };
    let counterpart = |column: &Column, there: &Guarded| match by {
        By::Number => there.column(column.number).cloned(),
        By::Name => there
            .columns
            .iter()
            .find(|c| c.name == column.name)
            .cloned(),
    };
    let mut pairs: Vec<Pair> = Vec::new();
    for column in read(before).iter().filter_map(|n| before.column(*n)) {
        pairs.push(Pair {
            before: Some(column.clone()),
            after: counterpart(column, after),
        });
    }
    for column in read(after).iter().filter_map(|n| after.column(*n)) {
        let known = |p: &Pair| p.after.as_ref().is_some_and(|c| c.number == column.number);
        if !pairs.iter().any(known) {
            pairs.push(Pair {
                before: counterpart(column, before),
                after: Some(column.clone()),
            });
        }
    }
    pairs.sort_by_key(|p| !p.shared());
    pairs
}
