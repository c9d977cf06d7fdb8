//! Which expression PostgreSQL applies: permissive policies joined by OR, restrictive ones by AND.
//!
//! As `rowsecurity.c` does it, see PostgreSQL documentation, "CREATE POLICY", table "Policies Applied by Command Type".

use super::side::{Guarded, Policy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is asked of a row. Every statement asks one or several of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clause {
    /// May it be seen?
    Select,
    /// May it be inserted?
    Insert,
    /// May it be chosen for an UPDATE or locked for one?
    Update,
    /// May it be what an UPDATE leaves?
    UpdateCheck,
    /// May it be deleted?
    Delete,
}

pub(super) const CLAUSES: [Clause; 5] = [
    Clause::Select,
    Clause::Insert,
    Clause::Update,
    Clause::UpdateCheck,
    Clause::Delete,
];

impl Clause {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::UpdateCheck => "update to",
            Self::Delete => "delete",
        }
    }

    /// Whether it is asked of rows that do not exist yet, so that a constraint may refuse them as well.
    pub(super) fn of_new_rows(self) -> bool {
        matches!(self, Self::Insert | Self::UpdateCheck)
    }

    pub(super) fn covered_by(self, policy: &Policy) -> bool {
        let command = match self {
            Self::Select => 'r',
            Self::Insert => 'a',
            Self::Update | Self::UpdateCheck => 'w',
            Self::Delete => 'd',
        };
        policy.command == '*' || policy.command == command
    }

    /// The expression of `policy` that answers; a policy without a check checks by its USING.
    pub(super) fn of(self, policy: &Policy) -> Option<&str> {
        let using = policy.using.as_deref();
        if self.of_new_rows() {
            policy.check.as_deref().or(using)
        } else {
            using
        }
    }
}

/// What decides on a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effective {
    /// No policy is asked.
    All,
    /// No permissive policy applies.
    Nothing,
    Tested(String),
}

impl Effective {
    pub(super) fn sql(&self) -> &str {
        match self {
            Self::All => "true",
            Self::Nothing => "false",
            Self::Tested(sql) => sql,
        }
    }
}

/// For a role that holds `roles` (itself among them) and is exempt from policies where `exempt`.
pub(super) fn effective(
    table: &Guarded,
    clause: Clause,
    roles: &BTreeSet<u32>,
    exempt: bool,
) -> Effective {
    if !table.rls || exempt {
        return Effective::All;
    }
    let applicable = applicable(table, clause, roles);
    // The server asks permissive policies in the reverse order of their names.
    let permissive: Vec<String> = applicable
        .iter()
        .rev()
        .filter(|p| p.permissive)
        .filter_map(|p| Some(format!("({})", clause.of(p)?)))
        .collect();
    if permissive.is_empty() {
        return Effective::Nothing;
    }
    let mut all: Vec<String> = applicable
        .iter()
        .filter(|p| !p.permissive)
        .filter_map(|p| Some(format!("({})", clause.of(p)?)))
        .collect();
    all.push(format!("({})", permissive.join(" or ")));
    Effective::Tested(all.join(" and "))
}

/// The policies that are asked, by name.
pub(super) fn applicable<'a>(
    table: &'a Guarded,
    clause: Clause,
    roles: &BTreeSet<u32>,
) -> Vec<&'a Policy> {
    let mut found: Vec<&Policy> = table
        .policies
        .iter()
        .filter(|p| clause.covered_by(p) && clause.of(p).is_some())
        .filter(|p| p.roles.contains(&0) || p.roles.iter().any(|r| roles.contains(r)))
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}
