//! The statistics of an index's expression, which only an ANALYZE after its making gathers.

use super::plan::Task;
use super::runner::{Runner, gives_way};
use crate::db::Result;
use crate::model::Name;
use crate::sql::quote;
use std::collections::BTreeSet;

const ATTEMPTS: u32 = 4;

impl Runner<'_> {
    /// Gathers the statistics that an expression index lacks. They can come later, so a failure is a note.
    pub(super) async fn analyze(&mut self, task: &Task) {
        let tables: BTreeSet<&Name> = task
            .statements
            .iter()
            .filter_map(|s| s.analyze.as_ref())
            .collect();
        for table in tables {
            let sql = format!("analyze {}", quote::name(table));
            if let Err(error) = self.patiently(&sql).await {
                self.note(format!("{error}; run it later: {sql};"));
            }
        }
    }

    async fn patiently(&mut self, sql: &str) -> Result<()> {
        let limit = self.options.lock_timeout;
        for attempt in 1.. {
            self.writer.limit_locks(limit, false).await?;
            let Err(error) = self
                .execute("gather statistics of an expression", sql)
                .await
            else {
                break;
            };
            if attempt == ATTEMPTS || !gives_way(&error) || self.interrupted() {
                return Err(error);
            }
            self.pause(attempt, &error).await;
        }
        Ok(())
    }
}
