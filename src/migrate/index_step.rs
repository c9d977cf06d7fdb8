//! A statement that runs outside a transaction. Whether an index is there is asked of the catalog, before and after.

use super::event::Event;
use super::plan::{Direction, Task};
use super::runner::{Runner, back_off, gives_way, is_lost};
use crate::db::{Error, IndexFacts, Result, state};
use crate::model::Name;
use crate::sql::quote;
use crate::sql::script::{Kind, Statement};
use std::time::{Duration, Instant};

const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Runner<'_> {
    /// Runs the one statement of `task`; the ledger is written by the caller.
    pub(super) async fn outside_transaction(&mut self, task: &Task) -> Result<()> {
        let Some(statement) = task.statements.first() else {
            return self.begin_step(task).await;
        };
        match &statement.kind {
            Kind::CreateIndexConcurrently {
                table,
                index: Some(index),
                if_not_exists,
            } => {
                self.build(task, statement, (table, index), *if_not_exists)
                    .await?;
                self.analyze(task).await;
                Ok(())
            }
            Kind::DropIndexConcurrently { index, if_exists } => {
                self.drop_concurrently(task, statement, index, *if_exists)
                    .await
            }
            Kind::ReindexConcurrently { name, is_table } => {
                self.reindex(task, statement, name, *is_table).await
            }
            _ => self.plainly(task, statement).await,
        }
    }

    /// Written down before it runs, so that a restart knows whose the remains are.
    pub(super) async fn begin_step(&mut self, task: &Task) -> Result<()> {
        let texts = (task.up.as_str(), task.down.as_deref());
        match task.direction {
            Direction::Up => {
                self.writer
                    .put_step(
                        task.version,
                        &task.slug,
                        texts,
                        &task.checksum,
                        state::APPLYING,
                    )
                    .await
            }
            Direction::Down => {
                self.writer
                    .mark_reverting(task.version, &task.slug, texts, &task.checksum)
                    .await
            }
        }
    }

    /// Takes the note of [`Runner::begin_step`] back, where the statement left nothing behind.
    pub(super) async fn forget_step(&mut self, task: &Task) -> Result<()> {
        match task.direction {
            Direction::Up => self.writer.forget_applying(task.version).await,
            Direction::Down => self.writer.unmark_reverting(task.version).await,
        }
    }

    async fn drop_concurrently(
        &mut self,
        task: &Task,
        statement: &Statement,
        index: &Name,
        if_exists: bool,
    ) -> Result<()> {
        let there = self.watch.index_named(index).await?;
        if there.is_none() && !task.resumed && !if_exists {
            // The server says best what is missing.
            return self.run_statement(statement).await;
        }
        self.begin_step(task).await?;
        let was_valid = there.is_some_and(|i| i.valid);
        let begun = Instant::now();
        for attempt in 1.. {
            let Some(now) = self.watch.index_named(index).await? else {
                return Ok(());
            };
            self.writer
                .limit_locks(self.options.build_timeout, false)
                .await?;
            let Err(error) = self.run_statement(statement).await else {
                continue;
            };
            if is_lost(&error) {
                return Err(error);
            }
            let untouched = self
                .watch
                .index_named(&now.name)
                .await?
                .is_some_and(|i| i.valid && was_valid);
            if !gives_way(&error) || begun.elapsed() > self.options.retry_for || self.interrupted()
            {
                if untouched {
                    self.forget_step(task).await?;
                }
                return Err(error);
            }
            self.pause(attempt, &error).await;
        }
        Ok(())
    }

    async fn reindex(
        &mut self,
        task: &Task,
        statement: &Statement,
        name: &Name,
        is_table: bool,
    ) -> Result<()> {
        let before: Vec<Name> = if task.resumed {
            Vec::new()
        } else {
            let there = self.leftovers(name, is_table).await?;
            there.into_iter().map(|i| i.name).collect()
        };
        for name in &before {
            self.note(format!(
                "index {name} is left over from an earlier REINDEX that was not dbtune's: drop index concurrently {};",
                quote::name(name)
            ));
        }
        self.begin_step(task).await?;
        let begun = Instant::now();
        for attempt in 1.. {
            for left in self.leftovers(name, is_table).await? {
                if !before.contains(&left.name) {
                    self.clean(&left.name).await?;
                }
            }
            self.writer
                .limit_locks(self.options.build_timeout, false)
                .await?;
            let Err(error) = self.run_statement(statement).await else {
                break;
            };
            if is_lost(&error) {
                return Err(error);
            }
            for left in self.leftovers(name, is_table).await? {
                if !before.contains(&left.name) {
                    self.clean(&left.name).await?;
                }
            }
            if !gives_way(&error) || begun.elapsed() > self.options.retry_for || self.interrupted()
            {
                self.forget_step(task).await?;
                return Err(error);
            }
            self.pause(attempt, &error).await;
        }
        Ok(())
    }

    /// Invalid indexes that a REINDEX CONCURRENTLY of `name` leaves behind.
    async fn leftovers(&mut self, name: &Name, is_table: bool) -> Result<Vec<IndexFacts>> {
        let all = self.watch.invalid_indexes().await?;
        let left = all.into_iter().filter(|i| {
            let suffixed = ["_ccnew", "_ccold"]
                .iter()
                .find_map(|suffix| i.name.name.rsplit_once(suffix));
            match suffixed {
                None => false,
                Some(_) if is_table => i.table.name == name.name,
                Some((base, _)) => name.name.starts_with(base),
            }
        });
        Ok(left.collect())
    }

    /// VACUUM and the like: nothing to look up afterwards, so a run that was cut short does it again.
    async fn plainly(&mut self, task: &Task, statement: &Statement) -> Result<()> {
        self.begin_step(task).await?;
        let begun = Instant::now();
        for attempt in 1.. {
            self.writer
                .limit_locks(self.options.lock_timeout, false)
                .await?;
            let Err(error) = self.run_statement(statement).await else {
                break;
            };
            if is_lost(&error) {
                return Err(error);
            }
            if !gives_way(&error) || begun.elapsed() > self.options.retry_for || self.interrupted()
            {
                if task.resumed {
                    return Err(error.advise(
                        "An earlier run was cut short in this statement, and it may have taken effect then. Look, and undo it if so.",
                    ));
                }
                self.forget_step(task).await?;
                return Err(error);
            }
            self.pause(attempt, &error).await;
        }
        Ok(())
    }

    pub(super) async fn pause(&mut self, attempt: u32, error: &Error) {
        let after = back_off(attempt, LONGEST_PAUSE);
        self.tell(Event::Retry {
            reason: &error.message,
            after,
        });
        self.sleep(after).await;
    }
}
