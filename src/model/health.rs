//! What the server counts of a database and of itself: how much work there was, never whose rows.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Cumulative counters since [`super::Server::stats_since`], of one table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Activity {
    pub seq_scans: i64,
    pub seq_rows: i64,
    pub idx_scans: i64,
    pub inserted: i64,
    pub updated: i64,
    pub hot_updated: i64,
    pub deleted: i64,
    pub live: i64,
    pub dead: i64,
    pub last_vacuum: Option<DateTime<Utc>>,
    pub last_analyze: Option<DateTime<Utc>>,
    /// The latest by autovacuum itself.
    pub last_autovacuum: Option<DateTime<Utc>>,
    pub modified_since_analyze: i64,
    pub inserted_since_vacuum: i64,
    /// Blocks of the heap found in shared buffers, and asked of the operating system.
    pub heap_hit: i64,
    pub heap_read: i64,
    /// The same of all indexes together.
    pub index_hit: i64,
    pub index_read: i64,
    /// `age(relfrozenxid)`; 0 for what holds no rows.
    pub xid_age: i64,
    pub multixact_age: i64,
}

/// `pg_stat_database` of this database since [`super::Server::stats_since`], and the age of its oldest transaction ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    pub commits: i64,
    pub rollbacks: i64,
    /// Blocks found in shared buffers, and asked of the operating system.
    pub blocks_hit: i64,
    pub blocks_read: i64,
    pub temp_files: i64,
    pub temp_bytes: i64,
    pub deadlocks: i64,
    /// Queries cancelled on a standby because of what the primary removed.
    pub conflicts: i64,
    /// `age(datfrozenxid)` and `mxid_age(datminmxid)`.
    pub xid_age: i64,
    pub multixact_age: i64,
    /// `pg_database.datconnlimit`: -1 without a limit.
    pub connection_limit: i32,
}

/// `pg_stat_bgwriter`, since 17 `pg_stat_checkpointer`: of the whole server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checkpoints {
    /// Begun because the time had come.
    pub timed: i64,
    /// Begun because the write-ahead log was full, or because somebody asked.
    pub requested: i64,
    pub buffers_written: i64,
}

/// Client sessions of the whole server, other than dbtune's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sessions {
    pub groups: Vec<SessionGroup>,
    /// How many there are of which the connecting role may not see what they do.
    pub hidden: i64,
}

/// Sessions with the same database, role, application and state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionGroup {
    /// Whether they are connected to this database.
    pub here: bool,
    pub role: String,
    pub application: String,
    /// `active`, `idle`, `idle in transaction` …; empty where it may not be seen.
    pub state: String,
    pub count: i64,
    /// Seconds since the longest of them came into this state.
    pub longest_state_s: f64,
    /// Seconds since the oldest of their open transactions began; 0 where none is open.
    pub oldest_transaction_s: f64,
    /// How many hold a snapshot or a transaction id, so that VACUUM must keep what they may still see.
    pub holding: i64,
}

/// What outlives sessions and keeps VACUUM from removing dead rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    pub kind: HolderKind,
    /// The slot's name, or the prepared transaction's identifier.
    pub name: String,
    /// Age of its oldest transaction id, in transactions.
    pub xid_age: i64,
    /// Seconds since it was prepared; 0 for a slot.
    pub age_s: f64,
    /// Whether a session uses it now.
    pub active: bool,
    /// Write-ahead log that a slot keeps.
    pub kept_bytes: u64,
    /// `pg_replication_slots.wal_status`: reserved, extended, unreserved, lost; empty where it has none.
    pub wal_status: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderKind {
    #[default]
    PreparedTransaction,
    ReplicationSlot,
}

impl Sessions {
    /// Every client session that is known of.
    pub fn total(&self) -> i64 {
        self.groups.iter().map(|g| g.count).sum()
    }
}
