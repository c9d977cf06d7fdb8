//! Before and after, measured in turns as the people who wait for the answer.

mod baseline;
mod comparison;
mod driver;
mod export;
mod measure;
mod pair;
mod picture;
mod quantile;
mod show;

pub use baseline::{Baseline, Environment, environment};
pub use comparison::{Gate, Measured, compare};
pub use export::{Scripts, k6_script, pgbench_scripts};
pub use measure::{Effort, measure_one, measure_pair};
pub use pair::Pair;
pub use quantile::{Blocks, quantile, ratio_interval};
pub use show::{Judged, judge, report, summary};
