//! From a folder and a ledger to the steps to run, in order. Pure.

use super::check;
use super::files::{Entry, Folder};
use super::problem::Problem;
use crate::db::{Applied, Step, checksum, state};
use crate::sql::script::{Kind, Statement};
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
}

/// One migration to run, forwards or backwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub version: i64,
    pub slug: String,
    pub direction: Direction,
    /// Whether all of it runs in one transaction.
    pub transaction: bool,
    pub statements: Vec<Statement>,
    pub up: String,
    pub down: Option<String>,
    /// Of `up`.
    pub checksum: Vec<u8>,
    /// An earlier run ended in the middle of it.
    pub resumed: bool,
}

impl Task {
    pub fn label(&self) -> String {
        format!("{}_{}", self.version, self.slug)
    }

    /// Whether it attaches indexes of partitions, before which a run may build some that the file does not know of.
    pub(super) fn attaches(&self) -> bool {
        let attaches = |s: &Statement| matches!(s.kind, Kind::AttachIndex { .. });
        self.direction == Direction::Up && self.statements.iter().any(attaches)
    }

    /// The text that runs.
    pub fn text(&self) -> &str {
        match self.direction {
            Direction::Up => &self.up,
            Direction::Down => self.down.as_deref().unwrap_or_default(),
        }
    }
}

/// What both ledgers hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    pub applied: Vec<Applied>,
    pub steps: Vec<Step>,
}

impl Ledger {
    pub(super) fn applied(&self, version: i64) -> Option<&Applied> {
        self.applied.iter().find(|a| a.version == version)
    }

    pub(super) fn step(&self, version: i64) -> Option<&Step> {
        self.steps.iter().find(|s| s.version == version)
    }

    /// The step's own record, where it is of the text that the ledger says was applied.
    pub(super) fn true_step(&self, version: i64) -> Option<&Step> {
        let applied = self.applied(version);
        self.step(version)
            .filter(|s| applied.is_none_or(|a| a.checksum == s.checksum))
    }

    /// Steps of which a part may be in the database, and that do not count as applied.
    pub(super) fn half_applied(&self) -> impl Iterator<Item = &Step> {
        self.steps
            .iter()
            .filter(|s| s.state != state::APPLIED && self.applied(s.version).is_none())
    }

    /// Steps that were under way backwards when a run ended.
    pub(super) fn half_reverted(&self) -> impl Iterator<Item = &Step> {
        self.steps
            .iter()
            .filter(|s| s.state == state::REVERTING && self.applied(s.version).is_some())
    }

    pub(super) fn newest(&self) -> Option<i64> {
        self.applied.iter().map(|a| a.version).max()
    }
}

/// What `apply` lets pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// The last version to apply.
    pub to: Option<i64>,
    /// Applied versions may be missing from the folder.
    pub ignore_missing: bool,
    /// Versions older than the newest applied one may be applied.
    pub out_of_order: bool,
}

/// The pending migrations, checked.
///
/// # Errors
/// Every reason not to begin.
pub(super) fn forward(
    folder: &Folder,
    ledger: &Ledger,
    rules: Forward,
) -> Result<Vec<Task>, Vec<Problem>> {
    let mut problems = unfit(folder, ledger, rules);
    if let Some(to) = rules.to.filter(|to| folder.get(*to).is_none()) {
        problems.push(Problem::new(
            format!("--to {to}"),
            "no migration has this version",
        ));
    }
    let mut tasks = Vec::new();
    for entry in &folder.entries {
        let version = entry.migration.version;
        if ledger.applied(version).is_some() || rules.to.is_some_and(|to| version > to) {
            continue;
        }
        let resumed = ledger.half_applied().any(|s| s.version == version);
        match up(entry, resumed) {
            Ok(task) => tasks.push(task),
            Err(more) => problems.extend(more),
        }
    }
    if problems.is_empty() {
        Ok(tasks)
    } else {
        Err(problems)
    }
}

fn up(entry: &Entry, resumed: bool) -> Result<Task, Vec<Problem>> {
    let migration = &entry.migration;
    let mut problems = Vec::new();
    let statements = check::statements(&entry.up_file, &migration.up).unwrap_or_else(|more| {
        problems.extend(more.into_iter().map(|problem| Problem {
            line: problem.line.map(|line| entry.up_line(line)),
            ..problem
        }));
        Vec::new()
    });
    // A rollback at three in the morning is no time to find out.
    if let Some(Err(more)) = migration
        .down
        .as_ref()
        .map(|d| check::statements(&entry.down_file, d))
    {
        problems.extend(more);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Task {
        version: migration.version,
        slug: migration.slug.clone(),
        direction: Direction::Up,
        transaction: !migration.up.no_transaction,
        statements,
        up: migration.up.sql.clone(),
        down: migration.down.as_ref().map(|d| d.sql.clone()),
        checksum: checksum(&migration.up.sql),
        resumed,
    })
}

/// What in folder and ledger contradicts each other.
fn unfit(folder: &Folder, ledger: &Ledger, rules: Forward) -> Vec<Problem> {
    let mut problems = Vec::new();
    for applied in &ledger.applied {
        let version = applied.version;
        if !applied.success {
            problems.push(Problem::new(
                format!("version {version}"),
                "is marked as failed in _sqlx_migrations: look what it left behind, then delete its row or set success = true",
            ));
        }
        match folder.get(version) {
            None if rules.ignore_missing => {}
            None => problems.push(Problem::new(
                format!("version {version} ({})", applied.description),
                "is applied but missing from the folder: restore its files, or pass --ignore-missing if they live elsewhere",
            )),
            Some(entry) => problems.extend(edited(entry, &applied.checksum)),
        }
    }
    for step in ledger.half_reverted() {
        problems.push(Problem::new(
            format!("version {}", step.version),
            "was being taken back when a run ended: finish that first with `dbtune rollback`",
        ));
    }
    for step in ledger.half_applied() {
        let same = folder
            .get(step.version)
            .is_some_and(|e| checksum(&e.migration.up.sql) == step.checksum);
        if !same {
            problems.push(Problem::new(
                format!("version {}", step.version),
                "was being applied when a run ended, and its file is not the same any more: take the rest of it back with `dbtune rollback`, then apply again",
            ));
        }
    }
    if let Some(newest) = ledger.newest().filter(|_| !rules.out_of_order) {
        let torn = torn(folder, ledger);
        for entry in &folder.entries {
            let version = entry.migration.version;
            let half_done = ledger.half_applied().any(|s| s.version == version);
            if version > newest || ledger.applied(version).is_some() || half_done {
                continue;
            }
            let group = group_of(&entry.migration.up.sql);
            let message = if group.is_some_and(|g| torn.contains(&g)) {
                "was taken back, and files it belongs to were not: finish that first with `dbtune rollback`".to_owned()
            } else {
                format!(
                    "is older than version {newest}, which is applied: give it a later version, or pass --out-of-order to apply it all the same"
                )
            };
            problems.push(Problem::new(entry.up_file.clone(), message));
        }
    }
    problems
}

/// Why `entry` is not what was applied, if it is not.
pub(super) fn edited(entry: &Entry, recorded: &[u8]) -> Option<Problem> {
    let text = &entry.migration.up.sql;
    if checksum(text) == recorded {
        return None;
    }
    let message = if check::only_line_ends_differ(text, recorded) {
        "has other line ends than when it was applied: check it out as it was (git config core.autocrlf input, or `*.sql text eol=lf` in .gitattributes)"
    } else {
        "was edited after it was applied: restore the text that was applied (git checkout, or `select up from dbtune.steps`), and write the change as a new migration"
    };
    Some(Problem::new(entry.up_file.clone(), message))
}

/// The first version of the files that belong together, where a comment says so.
pub(super) fn group_of(text: &str) -> Option<i64> {
    text.lines()
        .find_map(|line| line.strip_prefix(GROUP))
        .and_then(|version| version.trim().parse().ok())
}

/// Starts the comment that names a group.
pub(super) const GROUP: &str = "-- dbtune: part of ";

/// Groups that are applied in part.
pub(super) fn torn(folder: &Folder, ledger: &Ledger) -> BTreeSet<i64> {
    let (mut there, mut missing) = (BTreeSet::new(), BTreeSet::new());
    for entry in &folder.entries {
        if let Some(group) = group_of(&entry.migration.up.sql) {
            let applied = ledger.applied(entry.migration.version).is_some();
            let side = if applied { &mut there } else { &mut missing };
            side.insert(group);
        }
    }
    &there & &missing
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Migration, Script};
    use chrono::DateTime;

    pub(in super::super) fn folder(versions: &[i64]) -> Folder {
        let migrations = versions.iter().map(|version| Migration {
            version: *version,
            slug: format!("m{version}"),
            up: Script::new(up_text(*version)),
            down: Some(Script::new(format!("drop table t{version};"))),
        });
        Folder::from(migrations.collect::<Vec<_>>())
    }

    fn up_text(version: i64) -> String {
        format!("create table t{version} (a int);")
    }

    pub(in super::super) fn ledger(versions: &[i64], steps: &[(i64, &str)]) -> Ledger {
        let applied = versions.iter().map(|version| Applied {
            version: *version,
            description: format!("m{version}"),
            installed_on: DateTime::UNIX_EPOCH,
            success: true,
            checksum: checksum(&up_text(*version)),
            execution_time: 1,
        });
        let steps = steps.iter().map(|(version, state)| Step {
            version: *version,
            slug: format!("m{version}"),
            up: up_text(*version),
            down: Some("select 'from the ledger'".to_owned()),
            checksum: checksum(&up_text(*version)),
            state: (*state).to_owned(),
            started_at: DateTime::UNIX_EPOCH,
            finished_at: None,
            by: String::new(),
            tool: String::new(),
            made: "[]".to_owned(),
            watched_for: 0,
        });
        Ledger {
            applied: applied.collect(),
            steps: steps.collect(),
        }
    }

    pub(in super::super) fn versions(tasks: &Result<Vec<Task>, Vec<Problem>>) -> Vec<i64> {
        tasks.as_ref().unwrap().iter().map(|t| t.version).collect()
    }

    #[test]
    fn forward_takes_what_is_pending_in_order() {
        let rules = Forward::default();
        let tasks = forward(&folder(&[3, 1, 2]), &ledger(&[1], &[]), rules);
        assert_eq!(versions(&tasks), [2, 3]);
        let to = Forward {
            to: Some(2),
            ..rules
        };
        let tasks = forward(&folder(&[3, 1, 2]), &ledger(&[1], &[]), to);
        assert_eq!(versions(&tasks), [2]);
    }

    #[test]
    fn contradictions_are_refused_one_by_one() {
        let refused = |folder: &Folder, ledger: &Ledger, rules| {
            let problems = forward(folder, ledger, rules).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            problems[0].to_string()
        };
        let rules = Forward::default();
        let text = refused(&folder(&[2]), &ledger(&[1], &[]), rules);
        assert!(text.contains("missing from the folder"), "{text}");
        let text = refused(&folder(&[1, 2]), &ledger(&[2], &[]), rules);
        assert!(text.contains("older than version 2"), "{text}");
        let mut failed = ledger(&[1], &[]);
        failed.applied[0].success = false;
        let text = refused(&folder(&[1]), &failed, rules);
        assert!(text.contains("failed"), "{text}");
        let reverting = ledger(&[1], &[(1, state::REVERTING)]);
        let text = refused(&folder(&[1]), &reverting, rules);
        assert!(text.contains("dbtune rollback"), "{text}");
        let mut other = ledger(&[], &[(1, state::APPLYING)]);
        other.steps[0].checksum = vec![0];
        let text = refused(&folder(&[1]), &other, rules);
        assert!(text.contains("not the same any more"), "{text}");
    }

    #[test]
    fn a_half_done_step_is_resumed_whatever_came_after_it() {
        let half = ledger(&[2], &[(1, state::APPLYING)]);
        let tasks = forward(&folder(&[1, 2]), &half, Forward::default()).unwrap();
        assert!(tasks.len() == 1 && tasks[0].resumed);
    }
}
