//! What a comparison found.

use super::effective::Clause;
use crate::model::{Gap, Name, Outcome};
use serde::{Deserialize, Serialize};

/// One identity, one table, one clause, on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    pub identity: String,
    pub table: Name,
    pub clause: Clause,
    /// Rows of the table that are admitted; `None` where that is not known.
    pub before: Option<u64>,
    pub after: Option<u64>,
    pub verdict: Verdict,
}

/// Whether it is the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Same,
    Differs(Difference),
    /// The role gained or lost the privilege itself: columns before and after.
    Privilege {
        before: usize,
        after: usize,
    },
    /// Nothing but this SQLSTATE on both sides, from the same rows; other identities show that the clause admits rows.
    SameError(String),
    /// Neither the same nor different, and why.
    NotShown(String),
}

/// Rows that are admitted after the change and were not before (wider), and the other way round (narrower).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Rows that are there.
    pub wider: u64,
    pub narrower: u64,
    /// Kinds of rows that may come to be.
    pub wider_possible: u64,
    pub narrower_possible: u64,
    /// Rows and kinds of rows of which one side raises an error.
    pub raised: u64,
    /// Rows that only one side has: the change itself writes them.
    pub written: u64,
}

impl Difference {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether no row is admitted that was not, and none refused that was admitted.
    pub fn is_error_only(&self) -> bool {
        let rows = Self { raised: 0, ..*self };
        self.raised > 0 && rows.is_none()
    }
}

impl Cell {
    pub fn differs(&self) -> bool {
        matches!(
            self.verdict,
            Verdict::Differs(_) | Verdict::Privilege { .. }
        )
    }

    pub fn not_shown(&self) -> bool {
        matches!(self.verdict, Verdict::NotShown(_))
    }
}

/// Something else than a policy's expression that opens or closes rows, and changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    pub object: String,
    /// What changed, in words.
    pub what: String,
    /// The reason in the configuration for which it is allowed.
    pub allowed: Option<String>,
}

/// An identity that was looked through, without what tells who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    pub name: String,
    pub role: String,
    pub about: String,
}

/// A table that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    pub table: Name,
    pub rows: u64,
    /// Kinds of rows that were made up.
    pub made_up: usize,
    /// Small worlds in which both sides were the same; `None` where there was no need for them.
    pub worlds: Option<usize>,
}

/// The whole of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    pub cells: Vec<Cell>,
    pub opened: Vec<Opened>,
    /// Tables whose access the change can reach.
    pub tables: Vec<Looked>,
    /// Guarded tables that it cannot reach.
    pub untouched: usize,
    pub identities: Vec<Who>,
    /// Counter-examples, as SQL that anyone can run on a copy of the schema.
    pub examples: Vec<(Name, String)>,
    /// What changed that access depends on, in words.
    pub changes: Vec<String>,
    /// Wrong changes made on purpose: how many, and how many went unnoticed.
    pub controls: usize,
    pub missed: Vec<String>,
    /// Statements that were run to check what expressions told.
    pub statements: usize,
    pub gaps: Vec<Gap>,
}

impl Findings {
    pub fn outcome(&self) -> Outcome {
        let open = self.opened.iter().any(|o| o.allowed.is_none());
        if open || self.cells.iter().any(Cell::differs) || !self.examples.is_empty() {
            Outcome::Fail
        } else if self.cells.iter().any(Cell::not_shown)
            || !self.missed.is_empty()
            || !self.tables.is_empty() && self.cells.is_empty()
        {
            Outcome::Inconclusive
        } else {
            Outcome::Pass
        }
    }
}
