//! What the server evaluates as whoever writes a row, beside the expressions of the table itself.

use super::Name;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A sequence that a column's default draws from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    pub name: Name,
    pub owner: String,
    /// Roles (or `public`) that may draw: USAGE or UPDATE.
    pub users: Vec<String>,
}

/// A domain with constraints of its own or below it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// The domain that this one is over, as `format_type` prints it.
    pub base: Option<String>,
    /// CHECK constraints as `pg_get_constraintdef` prints them, by name.
    pub checks: BTreeMap<String, String>,
}

/// Buckets of a store of files, as Supabase keeps them in `storage.buckets`. No name but of those that a policy names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buckets {
    /// How many are public.
    pub public: i64,
    /// Public ones that a policy on `storage.objects` names.
    pub named: BTreeSet<String>,
}
