use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What `pg_stat_statements` knows of this database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statements {
    pub since: Option<DateTime<Utc>>,
    /// Statements thrown out because the table was full (`pg_stat_statements_info.dealloc`, since 14).
    pub evicted: Option<i64>,
    pub statements: Vec<Statement>,
}

/// One entry, in the units of PostgreSQL 13 and later whatever the server's version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    pub query_id: i64,
    /// The text without its constants; `None` where hidden (`<insufficient privilege>`), evicted or past reading.
    pub text: Option<String>,
    /// The role after `SET ROLE`.
    pub role: String,
    pub calls: i64,
    pub total_ms: f64,
    pub mean_ms: f64,
    pub min_ms: f64,
    pub max_ms: f64,
    pub stddev_ms: f64,
    pub plan_ms: f64,
    pub rows: i64,
    pub shared_hit: i64,
    pub shared_read: i64,
    pub temp_blocks: i64,
    /// Those of the temporary blocks that were written.
    #[serde(default)]
    pub temp_written: i64,
    pub wal_bytes: i64,
    /// How often it was planned; 0 where `pg_stat_statements.track_planning` is off.
    #[serde(default)]
    pub plans: i64,
    /// Since when this statement counts, from 17; before, all count since [`Statements::since`].
    #[serde(default)]
    pub since: Option<DateTime<Utc>>,
    /// False for a statement inside a function (`track = all`); true where the version does not say.
    pub top_level: bool,
}
