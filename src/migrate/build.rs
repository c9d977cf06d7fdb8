//! Builds an index concurrently, over and over until it is there whole; what a failed build left is dropped first.

use super::event::Event;
use super::plan::Task;
use super::runner::{Runner, back_off, gives_way, is_lost};
use crate::db::{Error, IndexFacts, Result, migration_lock};
use crate::model::Name;
use crate::sql::ddl::{self, Build};
use crate::sql::quote;
use crate::sql::script::Statement;
use std::time::{Duration, Instant};

/// How long a stopped run goes on cleaning up.
const LAST_EFFORT: Duration = Duration::from_secs(10);

/// Why an index is not there, and what is.
pub(super) enum Unbuilt {
    Nothing(Error),
    /// An unfinished index may be there.
    Remains(Error),
}

impl From<Error> for Unbuilt {
    fn from(error: Error) -> Self {
        Self::Remains(error)
    }
}

impl Runner<'_> {
    pub(super) async fn build(
        &mut self,
        task: &Task,
        statement: &Statement,
        (table, index): (&Name, &str),
        if_not_exists: bool,
    ) -> Result<()> {
        if !task.resumed {
            match self.watch.index_on(table, index).await? {
                None => {}
                Some(there) if there.valid && if_not_exists => {
                    self.note(format!(
                        "{}: index {} was there already and was left as it is",
                        task.label(),
                        there.name
                    ));
                    return self.begin_step(task).await;
                }
                Some(there) => return Err(not_ours(task, &there)),
            }
            self.begin_step(task).await?;
        }
        match self.raise(statement, (table, index)).await {
            Ok(()) => Ok(()),
            Err(Unbuilt::Nothing(error)) => {
                self.forget_step(task).await?;
                Err(error)
            }
            Err(Unbuilt::Remains(error)) => Err(error),
        }
    }

    /// Until the index is there and valid. Only for an index that is written down as this runner's own: an unfinished
    /// one of that name is dropped.
    pub(super) async fn raise(
        &mut self,
        statement: &Statement,
        (table, index): (&Name, &str),
    ) -> Result<(), Unbuilt> {
        let begun = Instant::now();
        for attempt in 1.. {
            match self.watch.index_on(table, index).await? {
                Some(there) if there.valid => return Ok(()),
                // The step was written down before the index appeared: it is what an earlier attempt left behind.
                Some(there) => self.clean(&there.name).await?,
                None => {}
            }
            if self.interrupted() {
                return Err(Unbuilt::Nothing(stopped()));
            }
            self.writer
                .limit_locks(self.options.build_timeout, false)
                .await?;
            let Err(error) = self.run_statement(statement).await else {
                continue;
            };
            if is_lost(&error) {
                return Err(Unbuilt::Remains(error));
            }
            if error.is("42P07") {
                return Err(Unbuilt::Nothing(error.advise(
                    "Somebody else made an index of this name at the same moment. Look at it, drop it or rename yours.",
                )));
            }
            if let Some(there) = self.watch.index_on(table, index).await? {
                self.clean(&there.name).await?;
            }
            let deadlocked = self.deadlocked(&error).await;
            if deadlocked.is_some()
                || !gives_way(&error)
                || begun.elapsed() > self.options.retry_for
                || self.interrupted()
            {
                let error = deadlocked.unwrap_or_else(|| explain(error, index));
                return Err(Unbuilt::Nothing(error));
            }
            self.pause(attempt, &error).await;
        }
        Ok(())
    }

    /// Drops an index that is not whole, until it is gone. A drop that gave way leaves it half dropped.
    pub(super) async fn clean(&mut self, index: &Name) -> Result<()> {
        self.tell(Event::Cleaning(index));
        let sql = ddl::drop_index(index, Build::Concurrently);
        let begun = Instant::now();
        for attempt in 1.. {
            let stopping = self.interrupted();
            let (patience, limit) = if stopping {
                (LAST_EFFORT, LAST_EFFORT.min(self.options.build_timeout))
            } else {
                (self.options.retry_for, self.options.build_timeout)
            };
            self.writer.limit_locks(limit, false).await?;
            let doing = format!("drop the unfinished index {index}");
            let Err(error) = self.execute_regardless(&doing, &sql).await else {
                break;
            };
            // A cancel meant for the statement before may arrive late.
            let again = gives_way(&error) || error.is("57014");
            if !again || begun.elapsed() > patience {
                return Err(
                    error.advise(format!("{};", ddl::drop_index(index, Build::Concurrently)))
                );
            }
            let after = back_off(attempt, Duration::from_secs(1));
            self.tell(Event::Retry {
                reason: &error.message,
                after,
            });
            tokio::time::sleep(after).await;
        }
        Ok(())
    }

    /// Another tool that waits for the migration lock inside the server holds a snapshot; the build waits for the
    /// snapshot, and would at every further try.
    async fn deadlocked(&mut self, error: &Error) -> Option<Error> {
        if !error.is("40P01") {
            return None;
        }
        let id = migration_lock(self.writer.database());
        let waiters = self.watch.lock_waiters(id).await.unwrap_or_default();
        let waiter = waiters.first()?;
        let mut error = error.clone();
        error.message = format!(
            "{waiter} waits for the migration lock and holds a snapshot that the build waits for"
        );
        Some(error.advise(format!(
            "It is another migration tool, which waits inside the server. End it (select pg_cancel_backend({});), then run this again.",
            waiter.pid
        )))
    }
}

fn stopped() -> Error {
    Error::new("go on", "told to stop")
}

fn not_ours(task: &Task, there: &IndexFacts) -> Error {
    let name = quote::name(&there.name);
    let doing = format!("begin {}", task.label());
    if there.valid {
        Error::new(doing, format!("index {} is there already", there.name)).advise(format!(
            "If it is what you want, write `if not exists` or rename it; else: drop index concurrently {name};"
        ))
    } else {
        Error::new(
            doing,
            format!(
                "index {} is there and invalid, and dbtune did not make it: IF NOT EXISTS would take it for done",
                there.name
            ),
        )
        .advise(format!("See that nobody builds it now, then: drop index concurrently {name};"))
    }
}

fn explain(error: Error, index: &str) -> Error {
    if error.is("23505") {
        return error.advise(format!(
            "The table holds duplicates, so unique index \"{index}\" cannot be. Find them with GROUP BY … HAVING count(*) > 1, mend them and apply again; the unfinished index was dropped."
        ));
    }
    error
}
