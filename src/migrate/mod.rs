//! Versioned migrations in sqlx's format: read, planned, applied and taken back without stopping writers.
//!
//! [`apply`] and [`rollback`] are one loop run in two directions. What was done is in two ledgers: sqlx's own table, so
//! that sqlx-cli and its `migrate!` macro go on working, and `dbtune.steps`, which holds the text of each step and is
//! written before and after it. A restart looks at the catalog, not at what was believed.

mod back;
mod build;
mod check;
mod event;
mod files;
mod gain;
mod git;
mod index_step;
mod judge;
mod layout;
mod outcome;
mod partitions;
mod plan;
mod preflight;
mod problem;
mod proof;
mod reach;
mod render;
mod run;
mod runner;
mod statistics;
mod status;
mod transaction;

pub use crate::db::{OWN_SCHEMA, SQLX_TABLE};
pub use back::Back;
pub use event::{Event, Interrupt, Interrupter};
pub use files::{Entry, Folder, next_version, write, write_as};
pub use gain::{Gain, Judgement, Rise, Verdict};
pub use git::{Commit, NoCommit};
pub use layout::Layout;
pub use outcome::{Done, Options, Outcome, Reason, Stop};
pub use plan::{Direction, Forward, Task};
pub use preflight::{Preview, PreviewStep, preview};
pub use problem::Problem;
pub use proof::{Found, Known, Proof, Shown, Unproven, asking, marked, may_ask};
pub use reach::{Goal, Reached, reach};
pub use render::render;
pub use run::{apply, rollback, rollback_plan};
pub use status::{Line, State, Status, status};
