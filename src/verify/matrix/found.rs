//! What a matrix holds: names, counts and digests, and no value of any row or claim.

use crate::model::{Gap, Name};
use crate::verify::effective::Clause;
use serde::{Deserialize, Serialize};

/// Of what is written; a file of another one is not read.
pub(super) const VERSION: u32 = 1;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matrix {
    pub version: u32,
    pub identities: Vec<Person>,
    /// Those that at least one identity may touch.
    pub tables: Vec<TableLine>,
    /// In the order of identities, tables and clauses. What an identity lacks the privilege for is not among them.
    pub cells: Vec<Access>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
}

/// An identity, without what tells who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub name: String,
    pub role: String,
    pub about: String,
    /// Nobody's, or a stranger's: what opens to it opens to the world.
    pub outside: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableLine {
    pub table: Name,
    pub rows: u64,
    /// Of the keys of all rows.
    pub digest: String,
    /// Columns of the primary key; none where whole rows are digested.
    pub key: Vec<String>,
    /// Whether row-level security is on.
    pub guarded: bool,
    /// Distinct rows that its policies can tell apart.
    pub tuples: u64,
    /// Kinds of rows that were made up, and a digest of what they are.
    pub made_up: usize,
    pub pool: String,
}

/// What one identity may do with one table by one clause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    pub identity: String,
    pub table: Name,
    pub clause: Clause,
    pub by: By,
    /// The columns that are granted, where not all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Rows that are there and are admitted; `None` where policies are asked of rows to come alone.
    pub rows: Option<u64>,
    /// Of their keys.
    pub digest: Option<String>,
    /// Made-up rows; `None` where every row is admitted, or none.
    pub kinds: Option<Kinds>,
    /// Permissive policies, and how many of the admitted rows each admits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub admits: Vec<Share>,
    /// Restrictive ones, and how many rows each takes away that a permissive one admits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub takes: Vec<Share>,
    /// SQLSTATE with which a statement over all rows ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<String>,
    /// Why it could not be decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// Of the text of what decides, and of the functions and policies that it reaches.
    pub definition: String,
}

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Row-level security is on, and no permissive policy applies.
    Nobody,
    Policies,
    /// The owner, a superuser, or a role with BYPASSRLS, whether there are policies or not.
    Exempt,
    /// There is no row-level security.
    Open,
}

/// Rows that do not exist yet and could come to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds {
    pub admitted: u64,
    pub all: u64,
    /// Of those that are admitted.
    pub digest: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub policy: String,
    /// `None` where an error hides it, or it is asked of rows to come alone.
    pub rows: Option<u64>,
    pub kinds: Option<u64>,
}

impl Access {
    pub(super) fn key(&self) -> (&str, &Name, Clause) {
        (&self.identity, &self.table, self.clause)
    }
}

/// A matrix out of what was written as JSON.
///
/// # Errors
/// In words, where it is none, or of another version.
pub fn saved(text: &str) -> Result<Matrix, Unreadable> {
    let wrong = |e: serde_json::Error| Unreadable(e.to_string());
    let mut json: serde_json::Value = serde_json::from_str(text).map_err(wrong)?;
    let Some(inside) = json.pointer_mut("/data/matrix") else {
        return Err(Unreadable("there is no data.matrix in it".to_owned()));
    };
    let matrix: Matrix = serde_json::from_value(inside.take()).map_err(wrong)?;
    if matrix.version != VERSION {
        return Err(Unreadable(format!(
            "it is of version {}, and this is version {VERSION}",
            matrix.version
        )));
    }
    Ok(matrix)
}

/// The text is no matrix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);
