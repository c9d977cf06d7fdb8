//! Plain data. No I/O, no waiting, no other module of this crate.

mod catalog;
mod change;
mod evaluated;
mod finding;
mod health;
mod migration;
mod name;
mod persona;
mod plan;
mod report;
mod run;
mod snapshot;
mod statement;
mod tax;
mod virtual_schema;
mod workload;

pub use catalog::*;
pub use change::*;
pub use evaluated::*;
pub use finding::*;
pub use health::*;
pub use migration::*;
pub use name::*;
pub use persona::*;
pub use plan::*;
pub use report::*;
pub use run::*;
pub use snapshot::*;
pub use statement::*;
pub use tax::*;
pub use workload::*;
