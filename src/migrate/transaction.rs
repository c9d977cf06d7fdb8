//! A migration in one transaction, with its entries in both ledgers.

use super::event::Event;
use super::plan::{Direction, Task};
use super::runner::{Runner, back_off, gives_way, is_lost};
use crate::db::{Result, state};
use crate::sql::script::{Object, Statement};
use std::time::{Duration, Instant};

/// Something made, as the server wrote it down when it was made: what `status` compares with.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Made {
    #[serde(flatten)]
    pub(super) object: Object,
    pub(super) definition: String,
}

impl Runner<'_> {
    /// All of it or nothing. Gives way to other sessions and tries again.
    pub(super) async fn in_transaction(&mut self, table: &str, task: &Task) -> Result<()> {
        let begun = Instant::now();
        let longest = if self.options.now {
            Duration::from_millis(200)
        } else {
            Duration::from_secs(5)
        };
        for attempt in 1.. {
            let Err(error) = self.once(table, task).await else {
                break;
            };
            if !is_lost(&error) {
                self.writer.execute("roll back", "rollback").await?;
            }
            if !gives_way(&error) || begun.elapsed() > self.options.retry_for || self.interrupted()
            {
                return Err(error);
            }
            let after = back_off(attempt, longest);
            self.tell(Event::Retry {
                reason: &error.message,
                after,
            });
            self.sleep(after).await;
            if self.interrupted() {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn once(&mut self, table: &str, task: &Task) -> Result<()> {
        self.writer.execute("begin a transaction", "begin").await?;
        let begun = Instant::now();
        let budget = self.options.lock_timeout;
        for statement in &task.statements {
            // What the first statement locked stays locked while the next one waits, so they share one budget.
            let left = budget.saturating_sub(begun.elapsed()).max(budget / 10);
            self.writer.limit_locks(left, true).await?;
            self.run_statement(statement).await?;
        }
        self.record(table, task).await?;
        self.writer.execute("commit", "commit").await
    }

    pub(super) async fn run_statement(&mut self, statement: &Statement) -> Result<()> {
        self.tell(Event::Statement {
            sql: &statement.sql,
        });
        let doing = format!("run the statement in line {}", statement.line);
        self.execute(&doing, &statement.sql).await
    }

    /// Both ledgers say what is true once the open transaction commits.
    pub(super) async fn record(&mut self, table: &str, task: &Task) -> Result<()> {
        // Whatever role the migration ended as, the ledger is the runner's.
        self.writer
            .execute("write the ledger", "reset role")
            .await?;
        if task.direction == Direction::Down {
            return self.writer.record_reverted(table, task.version).await;
        }
        // Names are looked up as the session does it, not as the migration may have left its search path.
        self.writer
            .execute("look up what was made", "set local search_path to default")
            .await?;
        let made = self.made(task).await?;
        let texts = (task.up.as_str(), task.down.as_deref());
        if task.transaction {
            self.writer
                .put_step(
                    task.version,
                    &task.slug,
                    texts,
                    &task.checksum,
                    state::APPLYING,
                )
                .await?;
        }
        self.writer
            .record_applied(table, task.version, &task.slug, &task.checksum, &made)
            .await
    }

    async fn made(&mut self, task: &Task) -> Result<String> {
        let mut made = Vec::new();
        for object in task.statements.iter().filter_map(|s| s.makes.as_ref()) {
            if let Some(definition) = self.writer.definition(object).await? {
                made.push(Made {
                    object: object.clone(),
                    definition,
                });
            }
        }
        Ok(serde_json::to_string(&made).unwrap_or_else(|_| "[]".to_owned()))
    }

    /// The same as a transaction of its own, after a step that ran outside of one.
    pub(super) async fn record_alone(&mut self, table: &str, task: &Task) -> Result<()> {
        let doing = "write the ledger";
        self.writer.execute(doing, "begin").await?;
        let recorded = match self.record(table, task).await {
            Ok(()) => self.writer.execute(doing, "commit").await,
            Err(error) => Err(error),
        };
        if let Err(error) = &recorded
            && !is_lost(error)
        {
            self.writer.execute(doing, "rollback").await?;
        }
        recorded
    }
}
