//! Old and new on many tiny instances of the schema: today's rows may not show a difference that tomorrow's do.
//!
//! Each world holds a few rows of few values in the tables that the policies of one table read, and one identity. Both sides
//! run the same statements in it, as that identity with its policies at work, and everything is rolled back. Only for
//! databases that are thrown away: their tables are emptied in the transaction.

mod compare;
mod dice;
mod generate;
mod identity;
mod kind;
mod pool;
mod probe;
mod reach;
mod role;
mod search;
mod shape;
mod show;
mod shrink;
mod side;

pub use compare::Way;
pub use side::Sides;

use crate::db::Result;
use crate::model::{Catalog, Name, Persona};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How thorough a search is.
#[derive(Clone, Copy, Debug)]
pub struct WorldOptions {
    /// How many worlds are compared.
    pub worlds: usize,
    /// What one table may take; less than all worlds show nothing.
    pub budget: Duration,
    /// The same seed makes the same worlds.
    pub seed: u64,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self {
            worlds: 700,
            budget: Duration::from_mins(1),
            seed: 11,
        }
    }
}

/// What came of a search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No world told the sides apart, and in some the old side let rows pass and kept rows back.
    Same {
        worlds: usize,
    },
    Different(Box<CounterExample>),
    /// Why the worlds prove nothing.
    NotShown(String),
}

/// The smallest world found in which the sides differ. No value in it comes from a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterExample {
    pub table: Name,
    /// What kind of statement differs, for people.
    pub statement: String,
    pub role: String,
    pub way: Way,
    /// Which world it was, from 1.
    pub world: usize,
    /// Rows in it.
    pub rows: usize,
    /// What the statement came to, for people.
    pub before: String,
    pub after: String,
    /// A script for a copy of the schema.
    pub sql: String,
}

/// Compares what the policies of `table` let pass on both sides, world by world.
///
/// `catalogs` are those of before and after. `identities` lend their roles and the names of their settings. `note` is told
/// how many worlds are done, of how many. Errors are those of connections; what a statement refuses is a [`Verdict::NotShown`].
pub async fn search(
    sides: Sides<'_>,
    catalogs: (&Catalog, &Catalog),
    table: &Name,
    identities: &[Persona],
    options: WorldOptions,
    note: &mut dyn FnMut(usize, usize),
) -> Result<Verdict> {
    let searching = search::search(sides, catalogs, table, identities, options, note);
    // What is kept between two worlds is large for whoever waits for it.
    Box::pin(searching).await
}
