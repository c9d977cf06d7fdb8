//! Proves that a change keeps who sees and who may write which rows.
//!
//! A policy's decision depends on the columns that it reads and on the session. So what every identity may do is decided by
//! evaluating what PostgreSQL itself would apply, before and after the change, as that role, over the distinct tuples of those
//! columns: exact, without reading a million rows a million times. Rows that do not exist yet are made up. Small worlds ask the
//! same of tiny instances of the schema, by statement.

pub mod access;
mod agreement;
mod beside;
mod cells;
mod changes;
mod control;
mod decide;
mod effective;
mod evidence;
mod faithful;
mod found;
pub mod identity;
mod imagined;
pub mod matrix;
mod pairing;
mod parents;
pub mod pgtap;
mod pool;
mod reach;
mod rights;
mod run;
mod show;
mod side;
mod sources;
mod statement;
mod surroundings;
mod tuples;
pub mod why;
mod witness;
pub mod worlds;

pub use changes::{Allowed, Evidence};
pub use effective::Clause;
pub use found::{Cell, Difference, Findings, Looked, Opened, Verdict, Who};
pub use run::{Options, verify};
pub use show::report;
