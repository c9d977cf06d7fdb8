//! The access matrix: what each identity may do with the rows of each table, and which policy decides, on one database.
//!
//! Decided as a comparison decides: by the expression that PostgreSQL itself would apply, over distinct and made-up rows.

mod against;
mod count;
mod definition;
mod differ;
mod found;
mod gather;
mod heat;
mod lines;
mod people;
mod questions;
mod show;
mod weave;

pub use against::{Change, Compared, Direction, compare};
pub use found::{Access, By, Kinds, Matrix, Person, Share, TableLine, Unreadable, saved};
pub use gather::{Options, matrix};
pub use people::{Somebody, everybody, people};
pub use show::report;
