//! How much work there was, who is connected, and what keeps VACUUM from its own.

use super::Reader;
use super::decode::{get, letter, unsigned};
use crate::db::Result;
use crate::model::{Catalog, Checkpoints, Holder, HolderKind, Load, SessionGroup};

impl Reader<'_> {
    pub(super) async fn read_health(&self, catalog: &mut Catalog) -> Result<()> {
        let server = &mut catalog.server;
        let sql = include_str!("../queries/load.sql");
        if let Some(row) = self
            .rows("read the database's counters", sql)
            .await?
            .first()
        {
            server.config = get(row, "config")?;
            server.load = Load {
                commits: get(row, "commits")?,
                rollbacks: get(row, "rollbacks")?,
                blocks_hit: get(row, "blocks_hit")?,
                blocks_read: get(row, "blocks_read")?,
                temp_files: get(row, "temp_files")?,
                temp_bytes: get(row, "temp_bytes")?,
                deadlocks: get(row, "deadlocks")?,
                conflicts: get(row, "conflicts")?,
                xid_age: get(row, "xid_age")?,
                multixact_age: get(row, "multixact_age")?,
                connection_limit: get(row, "connection_limit")?,
            };
        }
        let sql = include_str!("../queries/checkpoints.sql");
        if let Some(row) = self.rows("read checkpoints", sql).await?.first() {
            server.checkpoints = Checkpoints {
                timed: get(row, "timed")?,
                requested: get(row, "requested")?,
                buffers_written: get(row, "buffers_written")?,
            };
        }
        let sql = include_str!("../queries/holders.sql");
        for row in self.rows("read what holds back VACUUM", sql).await? {
            server.holders.push(Holder {
                kind: match letter(&row, "kind")? {
                    's' => HolderKind::ReplicationSlot,
                    _ => HolderKind::PreparedTransaction,
                },
                name: get(&row, "name")?,
                xid_age: get(&row, "xid_age")?,
                age_s: get(&row, "age_s")?,
                active: get(&row, "active")?,
                kept_bytes: unsigned(&row, "kept_bytes")?,
                wal_status: get(&row, "wal_status")?,
            });
        }
        self.read_sessions(catalog).await
    }

    async fn read_sessions(&self, catalog: &mut Catalog) -> Result<()> {
        let sql = include_str!("../queries/sessions.sql");
        let sessions = &mut catalog.server.sessions;
        for row in self.rows("read sessions", sql).await? {
            sessions.hidden += get::<i64>(&row, "hidden")?;
            sessions.groups.push(SessionGroup {
                here: get(&row, "here")?,
                role: get(&row, "role")?,
                application: get(&row, "application")?,
                state: get(&row, "state")?,
                count: get(&row, "count")?,
                longest_state_s: get(&row, "longest_state_s")?,
                oldest_transaction_s: get(&row, "oldest_transaction_s")?,
                holding: get(&row, "holding")?,
            });
        }
        Ok(())
    }
}
