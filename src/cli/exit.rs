//! Exit codes, the same for every format.

use crate::model::Outcome;
use chrono::{DateTime, Utc};
use std::fmt;

/// Could not start or finish looking: usage, configuration, connection, privilege, missing baseline.
pub const CANNOT: u8 = 2;
/// Stopped half way through changing a database.
pub const HALF_WAY: u8 = 4;
/// Interrupted before changing anything (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;

/// An error that asks for another code than [`CANNOT`].
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Outcome> for u8 {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pass => 0,
            Outcome::Fail => 1,
            Outcome::Inconclusive => 3,
        }
    }
}

pub fn code_for(error: &anyhow::Error) -> u8 {
    error
        .chain()
        .find_map(|e| e.downcast_ref::<Failure>())
        .map_or(CANNOT, |f| f.code)
}

/// The one shape of an error in JSON.
pub fn failure_json(
    error: &anyhow::Error,
    now: DateTime<Utc>,
    request: uuid::Uuid,
) -> serde_json::Value {
    let sqlstate = error
        .chain()
        .find_map(|e| e.downcast_ref::<crate::db::Error>())
        .and_then(|e| e.sqlstate.clone());
    serde_json::json!({
        "error": format!("{error:#}"),
        "code": code_for(error),
        "details": { "sqlstate": sqlstate },
        "timestamp": now.to_rfc3339(),
        "requestId": request.to_string(),
    })
}
