//! The loop: forwards and backwards over the planned tasks, until done, stopped or failed.

use super::back::{self, Back};
use super::event::Event;
use super::files::Folder;
use super::gain::Verdict;
use super::judge::Trial;
use super::outcome::{Done, Options, Outcome, Reason, Stop};
use super::plan::{self, Direction, Ledger, Task};
use super::runner::{Progress, Runner, is_lost};
use crate::db::{self, AuditLine, Error, SQLX_TABLE, Target, Writer};
use crate::model::Script;
use crate::sql::ddl::{self, Build};
use crate::sql::script::Kind;
use std::time::{Duration, Instant};

/// Applies what is pending in `folder`, oldest first.
///
/// # Errors
/// [`Stop`] says what was done before, and what is half done.
pub async fn apply(
    target: &Target,
    folder: &Folder,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Outcome, Stop> {
    let mut runner = Runner::open(target, "apply", options, progress).await?;
    lock(&mut runner).await?;
    let table = runner.writer.prepare_ledger().await?;
    let ledger = read(&mut runner.writer, Some(&table)).await?;
    let tasks = plan::forward(folder, &ledger, options.forward).map_err(Stop::problems)?;
    for task in tasks.iter().filter(|t| t.down.is_none()) {
        let text = format!("{} has no down file: it cannot be taken back", task.label());
        runner.note(text);
    }
    runner.survey(&tasks).await?;
    let mut trial = Trial::begin(options.gain.as_ref(), &runner.watch, folder, &tasks).await;
    let mut done = Vec::new();
    let ran = run(&mut runner, &table, &tasks, &mut done, trial.as_mut()).await;
    let judged = match (ran, trial) {
        (Err(stop), _) => Err(stop),
        (Ok(()), None) => Ok(Vec::new()),
        (Ok(()), Some(trial)) => trial.judge(&mut runner, &table, folder, &mut done).await,
    };
    end(runner, done, judged).await
}

/// Takes back what was applied, newest first. `folder` may be empty: the ledger holds the texts.
///
/// # Errors
/// [`Stop`] says what was done before, and what is half done.
pub async fn rollback(
    target: &Target,
    folder: &Folder,
    back: Back,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Outcome, Stop> {
    let mut runner = Runner::open(target, "rollback", options, progress).await?;
    lock(&mut runner).await?;
    let Some(table) = runner.writer.sqlx_table().await? else {
        return Ok(Outcome::default());
    };
    // Where it may not make its own tables it works with sqlx's alone.
    if let Err(error) = runner.writer.prepare_ledger().await {
        if is_lost(&error) {
            return Err(error.into());
        }
        runner.note(format!("no audit trail is kept: {error}"));
    }
    let ledger = read(&mut runner.writer, Some(&table)).await?;
    let mut tasks = back::backward(folder, &ledger, back).map_err(Stop::problems)?;
    if options.now {
        for task in &mut tasks {
            at_once(task);
        }
    }
    let mut done = Vec::new();
    let ran = run(&mut runner, &table, &tasks, &mut done, None).await;
    end(runner, done, ran.map(|()| Vec::new())).await
}

/// What [`rollback`] would take back, newest first; changes nothing.
///
/// # Errors
/// What would keep it from beginning.
pub async fn rollback_plan(
    target: &Target,
    folder: &Folder,
    back: Back,
) -> Result<Vec<Task>, Stop> {
    let mut writer = Writer::connect(target, "rollback").await?;
    let ledger = look(&mut writer).await?;
    back::backward(folder, &ledger, back).map_err(Stop::problems)
}

async fn lock(runner: &mut Runner<'_>) -> Result<(), Stop> {
    match runner.lock().await {
        Ok(()) => Ok(()),
        Err(error) => match runner.options.interrupt.code() {
            Some(code) => Err(Stop {
                reason: Reason::Interrupted(code),
                ..Stop::from(error)
            }),
            None => Err(error.into()),
        },
    }
}

/// Both ledgers in a read-only transaction; empty where there are none.
pub(super) async fn look(writer: &mut Writer) -> db::Result<Ledger> {
    let doing = "read the ledger";
    writer
        .execute(doing, "begin isolation level repeatable read read only")
        .await?;
    let table = writer.sqlx_table().await?;
    let ledger = read(writer, table.as_deref()).await?;
    writer.execute(doing, "rollback").await?;
    Ok(ledger)
}

pub(super) async fn read(writer: &mut Writer, table: Option<&str>) -> db::Result<Ledger> {
    let denied = |error: Error| {
        if error.is("42501") {
            error.advise(format!("grant select on {SQLX_TABLE}, and usage on schema dbtune with select on its tables, to the role dbtune connects as."))
        } else {
            error
        }
    };
    Ok(Ledger {
        applied: match table {
            Some(table) => writer.applied(table).await.map_err(denied)?,
            None => Vec::new(),
        },
        steps: if writer.has_steps().await? {
            writer.steps().await.map_err(denied)?
        } else {
            Vec::new()
        },
    })
}

/// Turns concurrent drops into plain ones inside the transaction: quickest, with a short and bounded lock.
fn at_once(task: &mut Task) {
    for statement in &mut task.statements {
        if let Kind::DropIndexConcurrently { index, .. } = &statement.kind {
            statement.sql = ddl::drop_index(index, Build::Plain);
            statement.kind = Kind::Other;
        }
    }
    let fits = |s: &crate::sql::script::Statement| !s.kind.needs_no_transaction();
    task.transaction = task.transaction || task.statements.iter().all(fits);
}

/// Runs `tasks` in order and notes in `done` what it did.
pub(super) async fn run(
    runner: &mut Runner<'_>,
    table: &str,
    tasks: &[Task],
    done: &mut Vec<Done>,
    mut trial: Option<&mut Trial>,
) -> Result<(), Stop> {
    let total = tasks.len();
    for (number, task) in (1..).zip(tasks) {
        let stopped = runner.options.interrupt.code();
        let ended = match stopped {
            Some(_) => Err((Error::new("go on", "told to stop"), false)),
            None => one(runner, table, task, (number, total)).await,
        };
        match ended {
            Ok(took) => done.push(Done {
                label: task.label(),
                direction: task.direction,
                took,
            }),
            Err((error, half_way)) => {
                return Err(stop(runner, task, done.clone(), error, half_way));
            }
        }
        if let Some(trial) = &mut trial {
            trial.step(&runner.watch, task).await;
        }
    }
    Ok(())
}

/// Gives the lock back, whatever came of the run.
async fn end(
    mut runner: Runner<'_>,
    done: Vec<Done>,
    ended: Result<Vec<Verdict>, Stop>,
) -> Result<Outcome, Stop> {
    let unlocked = runner.writer.unlock().await;
    let verdicts = ended?;
    unlocked?;
    let notes = std::mem::take(&mut runner.notes);
    // Nothing hangs on a polite goodbye.
    let _ = runner.writer.close().await;
    Ok(Outcome {
        done,
        verdicts,
        notes,
    })
}

fn stop(runner: &Runner<'_>, task: &Task, done: Vec<Done>, error: Error, half_way: bool) -> Stop {
    let command = match task.direction {
        Direction::Up => "dbtune apply",
        Direction::Down => "dbtune rollback",
    };
    let back = if task.direction == Direction::Up {
        " (or `dbtune rollback` to take it back)"
    } else {
        ""
    };
    Stop {
        reason: match runner.options.interrupt.code() {
            Some(code) => Reason::Interrupted(code),
            None => Reason::Failed {
                label: Some(task.label()),
                error,
            },
        },
        next: (half_way || !done.is_empty()).then(|| format!("{command}{back}")),
        done,
        half_way: half_way.then(|| task.label()),
    }
}

/// Runs one task and writes it into both ledgers. The error says whether a part of it stayed.
async fn one(
    runner: &mut Runner<'_>,
    table: &str,
    task: &Task,
    (number, total): (usize, usize),
) -> Result<Duration, (Error, bool)> {
    runner.wait_for_replicas().await.map_err(|e| (e, false))?;
    let label = task.label();
    runner.tell(Event::Begun {
        label: &label,
        direction: task.direction,
        number,
        total,
    });
    let begun = Instant::now();
    settle(runner).await.map_err(|e| (e, false))?;
    audit(runner, task, "started", None, None)
        .await
        .map_err(|e| (e, false))?;
    let ended = work(runner, table, task).await;
    let took = begun.elapsed();
    if let Err(error) = ended {
        let half_way = is_half_way(runner, task).await;
        let cancelled = runner.interrupted();
        let outcome = if cancelled { "cancelled" } else { "failed" };
        // The first failure is the one to tell.
        let _ = audit(runner, task, outcome, error.sqlstate.as_deref(), Some(took)).await;
        return Err((error, half_way));
    }
    finish(runner, table, task, took)
        .await
        .map_err(|e| (e, false))?;
    if task.transaction {
        runner.analyze(task).await;
    }
    runner.tell(Event::Done {
        label: &label,
        took,
    });
    Ok(took)
}

/// The task itself and its entries in the ledgers.
async fn work(runner: &mut Runner<'_>, table: &str, task: &Task) -> db::Result<()> {
    if task.transaction {
        let completed = runner.completed(task).await?;
        return runner
            .in_transaction(table, completed.as_ref().unwrap_or(task))
            .await;
    }
    runner.outside_transaction(task).await?;
    runner.record_alone(table, task).await
}

async fn settle(runner: &mut Runner<'_>) -> db::Result<()> {
    let limit = runner.options.lock_timeout;
    runner.writer.settle(limit).await
}

async fn finish(
    runner: &mut Runner<'_>,
    table: &str,
    task: &Task,
    took: Duration,
) -> db::Result<()> {
    settle(runner).await?;
    if task.direction == Direction::Up {
        let nanos = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
        runner
            .writer
            .record_duration(table, task.version, nanos)
            .await?;
    }
    audit(runner, task, "done", None, Some(took)).await
}

/// Asks the ledger; where the session is gone, a step outside a transaction may have left something.
async fn is_half_way(runner: &mut Runner<'_>, task: &Task) -> bool {
    match runner.writer.steps().await {
        Ok(steps) => steps
            .iter()
            .any(|s| s.version == task.version && s.state != db::state::APPLIED),
        Err(_) => !task.transaction || task.attaches(),
    }
}

async fn audit(
    runner: &mut Runner<'_>,
    task: &Task,
    outcome: &str,
    sqlstate: Option<&str>,
    took: Option<Duration>,
) -> db::Result<()> {
    let text = Script::new(task.text());
    let digest = hex(&db::checksum(&text.sql));
    let action = match task.direction {
        Direction::Up => "apply",
        Direction::Down => "rollback",
    };
    runner
        .writer
        .audit(&AuditLine {
            action,
            version: task.version,
            slug: &task.slug,
            digest: &digest,
            outcome,
            sqlstate,
            milliseconds: took.map(|t| i64::try_from(t.as_millis()).unwrap_or(i64::MAX)),
        })
        .await
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}
