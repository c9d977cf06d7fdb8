//! From catalog and workload to proposals: which indexes and which form of each policy, decided by plan and, where a
//! clone can be made, by running every query as its persona.

mod advise;
mod candidates;
mod columns;
mod desk;
mod earn;
mod lab;
mod left;
mod lookups;
mod policies;
mod reading;
mod repair;
mod report;
mod select;
mod timing;
mod trial;
mod weigh;

pub use advise::{Advice, Options, advise};
pub use candidates::SMALL_TABLE_ROWS;
pub use lab::{Lab, Pretence, Timing, Work};
pub use left::{Left, left_alone};
pub use report::evidence;
