//! What a run would do and what stands in its way, before it does anything.

use super::files::Folder;
use super::outcome::{Options, Stop};
use super::plan::{self, Task};
use super::run::look;
use super::runner::Runner;
use crate::db::{self, Blocker, Session, SizeFacts, Target, Writer};
use crate::model::{Gap, Name};
use crate::sql::lock::Lock;
use crate::sql::script::{Object, Statement};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// One statement of a run to come.
#[derive(Clone, Debug, PartialEq)]
pub struct PreviewStep {
    pub label: String,
    pub sql: String,
    pub transaction: bool,
    /// `None` where it locks nothing that was there before the run.
    pub lock: Option<Lock>,
    /// Estimated size of the index.
    pub bytes: Option<u64>,
    /// Estimated duration, by the table's size.
    pub time: Option<Duration>,
}

/// A run to come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preview {
    pub steps: Vec<PreviewStep>,
    /// Transactions that a concurrent build would wait for now.
    pub blockers: Vec<Blocker>,
    pub notes: Vec<String>,
    pub gaps: Vec<Gap>,
}

/// A transaction this old is worth naming.
const LONG: Duration = Duration::from_secs(5);
/// WAL held back by a slot that nobody reads, worth naming.
const MUCH_WAL: u64 = 1 << 30;

/// Plans what `apply` would do now; changes nothing.
///
/// # Errors
/// What would keep it from beginning.
pub async fn preview(target: &Target, folder: &Folder, options: &Options) -> Result<Preview, Stop> {
    let mut writer = Writer::connect(target, "apply (dry run)").await?;
    let ledger = look(&mut writer).await?;
    let tasks = plan::forward(folder, &ledger, options.forward).map_err(Stop::problems)?;
    let session = Session::connect(target, "apply (dry run)").await?;
    let mut preview = Preview::default();
    let mut new_tables = BTreeSet::new();
    for task in &tasks {
        if task.down.is_none() {
            preview.notes.push(format!(
                "{} has no down file: it cannot be taken back",
                task.label()
            ));
        }
        for statement in &task.statements {
            new_tables.extend(statement.creates_table.clone());
            let size = size_of(&session, statement).await?;
            preview.steps.push(PreviewStep {
                label: task.label(),
                sql: statement.sql.clone(),
                transaction: task.transaction,
                lock: statement
                    .lock
                    .clone()
                    .filter(|l| !new_tables.contains(&l.on)),
                bytes: size.map(index_bytes),
                time: size.map(build_time),
            });
        }
    }
    let needed: u64 = preview.steps.iter().filter_map(|s| s.bytes).sum();
    let concurrent = tasks.iter().any(|t| !t.transaction);
    let Surroundings {
        blockers,
        notes,
        gaps,
        shortage,
    } = surroundings(&session, needed, concurrent).await?;
    preview.blockers = blockers;
    preview.notes.extend(notes);
    preview.notes.extend(shortage);
    preview.gaps = gaps;
    if needed > 0 {
        let workers = session.setting("max_parallel_maintenance_workers").await?;
        let memory = session.setting("maintenance_work_mem").await?;
        preview.notes.push(format!(
            "index builds use max_parallel_maintenance_workers = {workers}, maintenance_work_mem = {memory}"
        ));
    }
    Ok(preview)
}

async fn size_of(session: &Session, statement: &Statement) -> db::Result<Option<SizeFacts>> {
    match &statement.makes {
        Some(Object::Index { table, .. }) => {
            session.size_facts(table, &statement.index_columns).await
        }
        _ => Ok(None),
    }
}

/// A btree's leaf pages at the default fill factor: an entry has 16 bytes around its key.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an estimate"
)]
fn index_bytes(size: SizeFacts) -> u64 {
    let entry = 16.0 + (size.key_width as f64 / 8.0).ceil() * 8.0;
    (size.rows * entry / 0.9).max(8192.0) as u64
}

/// Two passes over the table and a sort, at rates a modest disk and core reach.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn build_time(size: SizeFacts) -> Duration {
    let reading = size.table_bytes as f64 * 2.0 / 200e6;
    let sorting = size.rows / 1.5e6;
    Duration::from_secs_f64((reading + sorting).max(0.01))
}

/// What a run meets on the server.
#[derive(Debug, Default)]
struct Surroundings {
    blockers: Vec<Blocker>,
    notes: Vec<String>,
    gaps: Vec<Gap>,
    /// The disk cannot hold the new indexes.
    shortage: Option<String>,
}

/// `needed` is the size of the indexes to come, in bytes; `concurrent` says whether any is built concurrently.
async fn surroundings(
    session: &Session,
    needed: u64,
    concurrent: bool,
) -> db::Result<Surroundings> {
    let mut met = Surroundings::default();
    if session.in_recovery().await? {
        met.notes.push(
            "the server is a replica: apply would refuse; give the primary's address in --db"
                .to_owned(),
        );
        return Ok(met);
    }
    if concurrent {
        met.blockers = session.long_transactions(LONG).await?;
    }
    if needed > 0 {
        match session.free_disk().await {
            Some(free) => match Room::judge(free, needed) {
                Room::Enough => {}
                Room::Tight(words) => met.notes.push(words),
                Room::Short(words) => met.shortage = Some(words),
            },
            None => met.gaps.push(Gap {
                what: "free disk space".to_owned(),
                why: "it cannot be read from here".to_owned(),
                remedy: Some(format!(
                    "See that the server has {} MB to spare.",
                    (needed >> 20) * 3 + 1
                )),
            }),
        }
    }
    for slot in session.replication_slots().await? {
        if !slot.active && slot.retained_bytes > MUCH_WAL {
            met.notes.push(format!(
                "replication slot {} is read by nobody and keeps {} MB of WAL; an index build adds to it",
                slot.name,
                slot.retained_bytes >> 20
            ));
        }
    }
    for index in session.invalid_indexes().await? {
        met.notes.push(format!(
            "index {} on {} is invalid: maintained, never used",
            index.name, index.table
        ));
    }
    Ok(met)
}

/// Whether a disk holds new indexes: the index, as much again in WAL, and the sort's temporary files.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    Enough,
    Tight(String),
    Short(String),
}

impl Room {
    fn judge(free: u64, needed: u64) -> Self {
        let words = format!(
            "the data directory's disk has {} MB free; the new indexes may take {} MB, and as much again in WAL and in temporary files",
            free >> 20,
            needed >> 20
        );
        if free < needed {
            Self::Short(words)
        } else if free < needed.saturating_mul(3) {
            Self::Tight(words)
        } else {
            Self::Enough
        }
    }
}

impl Runner<'_> {
    /// Looks round before the first task: notes what stands in the way, refuses where the disk cannot hold the indexes.
    pub(super) async fn survey(&mut self, tasks: &[Task]) -> db::Result<()> {
        let mut needed: u64 = 0;
        for statement in tasks.iter().flat_map(|t| &t.statements) {
            let size = size_of(&self.watch, statement).await?;
            needed = needed.saturating_add(size.map_or(0, index_bytes));
        }
        let concurrent = tasks.iter().any(|t| !t.transaction);
        let met = surroundings(&self.watch, needed, concurrent).await?;
        if let Some(shortage) = met.shortage {
            if !self.options.ignore_disk {
                return Err(db::Error::new("begin", shortage).advise(
                    "Make room, apply a part with --to VERSION, or pass --ignore-disk if the indexes go elsewhere.",
                ));
            }
            self.note(shortage);
        }
        for blocker in &met.blockers {
            self.note(format!(
                "a concurrent build waits for transactions older than it: {blocker}; end it: select pg_terminate_backend({});",
                blocker.pid
            ));
        }
        for note in met.notes {
            self.note(note);
        }
        Ok(())
    }

    /// Waits until no replica is further behind than allowed.
    pub(super) async fn wait_for_replicas(&mut self) -> db::Result<()> {
        let Some(limit) = self.options.max_replica_lag else {
            return Ok(());
        };
        let begun = Instant::now();
        let mut told = false;
        while let Some(lag) = self.watch.replica_lag().await?.filter(|lag| *lag > limit) {
            if begun.elapsed() > self.options.retry_for || self.interrupted() {
                return Err(db::Error::new(
                    "go on",
                    format!("a replica is {} s behind", lag.as_secs()),
                )
                .advise("Let it catch up, or raise --max-replica-lag."));
            }
            if !told {
                self.note(format!(
                    "a replica is {} s behind; waiting for it",
                    lag.as_secs()
                ));
                told = true;
            }
            self.sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }
}

impl PreviewStep {
    /// The table it locks, if any.
    pub fn table(&self) -> Option<&Name> {
        self.lock.as_ref().map(|l| &l.on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_cannot_hold_the_indexes_is_told_from_one_that_is_nearly_full() {
        let megabytes = |n: u64| n << 20;
        assert_eq!(Room::judge(megabytes(300), megabytes(100)), Room::Enough);
        assert!(matches!(
            Room::judge(megabytes(200), megabytes(100)),
            Room::Tight(_)
        ));
        let Room::Short(words) = Room::judge(megabytes(99), megabytes(100)) else {
            panic!("99 MB cannot hold 100");
        };
        assert!(words.contains("99 MB free"), "{words}");
    }
}
