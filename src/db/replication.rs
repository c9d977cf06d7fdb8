//! What a big write means for replicas and for the disk.

use super::probe::{get, unsigned};
use super::{Error, Result, Session};
use std::time::Duration;

/// A replication slot that holds WAL back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    pub name: String,
    pub active: bool,
    pub retained_bytes: u64,
}

impl Session {
    pub async fn replication_slots(&self) -> Result<Vec<Slot>> {
        let rows = self
            .client()
            .query(
                "select slot_name::text, active,
                   coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::int8
                 from pg_replication_slots where restart_lsn is not null order by 1",
                &[],
            )
            .await
            .map_err(|e| Error::pg("look at the replication slots", &e))?;
        rows.iter()
            .map(|row| {
                Ok(Slot {
                    name: get(row, 0)?,
                    active: get(row, 1)?,
                    retained_bytes: unsigned(get(row, 2)?),
                })
            })
            .collect()
    }

    /// How far the slowest replica is behind; `None` where there is none, or none that this role may see.
    pub async fn replica_lag(&self) -> Result<Option<Duration>> {
        let row = self
            .client()
            .query_one(
                "select (extract(epoch from max(replay_lag)) * 1000)::int8 from pg_stat_replication",
                &[],
            )
            .await
            .map_err(|e| Error::pg("look at the replicas", &e))?;
        let lag: Option<i64> = get(&row, 0)?;
        Ok(lag.map(|ms| Duration::from_millis(unsigned(ms))))
    }

    /// Bytes free on the data directory's file system; `None` where it is another machine's or cannot be read.
    pub async fn free_disk(&self) -> Option<u64> {
        if !self.target().host.starts_with('/') {
            return None;
        }
        let row = self
            .client()
            .query_one("select current_setting('data_directory')", &[])
            .await
            .ok()?;
        let directory: String = get(&row, 0).ok()?;
        let stat = nix::sys::statvfs::statvfs(directory.as_str()).ok()?;
        Some(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    /// A setting as `SHOW` prints it.
    pub async fn setting(&self, name: &str) -> Result<String> {
        let row = self
            .client()
            .query_one("select current_setting($1)", &[&name])
            .await
            .map_err(|e| Error::pg(format!("read the setting {name}"), &e))?;
        get(&row, 0)
    }
}
