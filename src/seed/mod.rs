//! Deterministic data: a specification of tables, sizes and generators turned into rows, and the rows into a
//! database.
//!
//! Every cell is computed from seed, table, column and row number alone. So the same specification gives the same
//! bytes on every machine, a table added to it changes no other, and a child finds its parent's values without
//! anything being remembered: `location_id: {copy: {from: patient_id, column: location_id}}` computes the patient's.
//!
//! [`Spec::parse`] reads a file, [`run`] loads it.

mod cell;
mod compile;
mod derive;
mod error;
mod fit;
mod json;
mod load;
mod order;
mod plan;
mod random;
mod skew;
mod spec;
mod template;
mod words;

pub use derive::{Derived, derive, derive_from};
pub use error::Error;
pub use load::{Existing, Loaded, Options, Progress, Summary, run};
pub use plan::Plan;
pub use spec::*;
