//! Before and after, measured in turns as the people who wait for the answer.

mod baseline;
mod bell;
mod change;
mod client;
mod clones;
mod closed_loop;
mod cold;
mod comparison;
mod driver;
mod environment;
mod export;
mod gate;
mod goal;
mod histogram;
mod inference;
mod latencies;
mod machine;
mod measure;
mod open_loop;
mod order;
mod picture;
mod processor;
mod quantile;
mod resample;
mod saturate;
mod schedule;
mod show;
#[cfg(test)]
mod simulation;
mod track;
mod under_load;

pub use baseline::{Asked, Baseline, Recorded, Recordings, paired, recordings};
pub use clones::{Clones, settle};
pub use comparison::{Measured, compare, compare_all};
pub use environment::{Difference, Environment, environment};
pub use export::{Scripts, k6_script, pgbench_scripts};
pub use gate::Gate;
pub use histogram::hdr_histogram;
pub use latencies::taken;
pub use measure::{Effort, measure_one_under, measure_pair, measure_pair_under};
pub use open_loop::{Pace, patience};
pub use quantile::{Blocks, quantile, ratio_interval};
pub use saturate::{Shape, saturate};
pub use show::{Judged, judge, report, summary};
pub use under_load::{other_load, tell_load};
