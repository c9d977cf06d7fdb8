//! What is said of one row.

use crate::model::{Name, Outcome};
use crate::verify::effective::Clause;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    pub identity: String,
    pub role: String,
    pub table: Name,
    /// As it was typed.
    pub key: String,
    /// One for each clause, the first for SELECT.
    pub clauses: Vec<Told>,
    /// Whether a SELECT by this key, as the identity, finds the row; `None` where the identity may not name the key's columns.
    pub server: Option<bool>,
}

/// One clause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub clause: Clause,
    pub ground: Ground,
    /// Those that are asked.
    pub policies: Vec<Policy>,
    /// Those of the command that are for other roles, or say nothing here.
    pub aside: Vec<String>,
    /// `None` where an error or something unreadable hides it.
    pub admitted: Option<bool>,
}

/// What it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    NoPrivilege,
    /// No permissive policy applies.
    Nobody,
    Policies,
    Exempt,
    Open,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub name: String,
    pub permissive: bool,
    pub says: Part,
}

/// An expression, and the parts that it is joined of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub text: String,
    pub says: Says,
    /// By AND; else by OR.
    pub all: bool,
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    True,
    False,
    Null,
    /// SQLSTATE.
    Raises(String),
    Unknown(String),
}

impl Part {
    pub(super) fn unknown(text: &str, why: &str) -> Self {
        Self {
            text: text.to_owned(),
            says: Says::Unknown(why.to_owned()),
            all: false,
            parts: Vec::new(),
        }
    }

    /// What the parts say together.
    pub(super) fn sum(&self) -> Option<Says> {
        let (ends, goes_on) = if self.all {
            (Says::False, Says::True)
        } else {
            (Says::True, Says::False)
        };
        let mut sum = goes_on;
        for part in &self.parts {
            match &part.says {
                says if *says == ends => return Some(ends),
                Says::Raises(_) | Says::Unknown(_) => return None,
                Says::Null => sum = Says::Null,
                Says::True | Says::False => {}
            }
        }
        Some(sum)
    }
}

impl Told {
    /// A permissive policy must be true, and every restrictive one.
    pub(super) fn sum(&self) -> Option<bool> {
        let of = |permissive: bool| {
            self.policies
                .iter()
                .filter(move |p| p.permissive == permissive)
        };
        let open = |says: &Says| matches!(says, Says::Raises(_) | Says::Unknown(_));
        if of(false).any(|p| matches!(p.says.says, Says::False | Says::Null)) {
            return Some(false);
        }
        if self.policies.iter().any(|p| open(&p.says.says)) {
            return None;
        }
        Some(of(true).any(|p| p.says.says == Says::True))
    }
}

impl Why {
    /// Whether the row is seen: what the server says, where it can be asked.
    pub fn seen(&self) -> Option<bool> {
        self.server
            .or_else(|| self.clauses.first().and_then(|c| c.admitted))
    }

    pub fn outcome(&self) -> Outcome {
        match self.seen() {
            Some(true) => Outcome::Pass,
            Some(false) => Outcome::Fail,
            None => Outcome::Inconclusive,
        }
    }

    /// Whether the policies' texts say otherwise than the server.
    pub fn is_contradicted(&self) -> bool {
        let told = self.clauses.first().and_then(|c| c.admitted);
        matches!((told, self.server), (Some(told), Some(server)) if told != server)
    }
}
