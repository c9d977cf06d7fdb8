use super::Name;
use serde::{Deserialize, Serialize};

/// What the planner makes of reading a whole table as a role that its policies apply to, and without them.
///
/// Costs are in the planner's units, without parallel workers; nothing was run. No claims are set, so that what a policy
/// asks of them is NULL or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tax {
    pub table: Name,
    pub role: String,
    pub cost: f64,
    pub cost_without: f64,
    /// Relations read by sub-plans that run for the rows, or are hashed for them.
    pub sub_plans: Vec<Name>,
}
