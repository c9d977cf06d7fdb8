//! From a ledger to what takes it back. Pure.

use super::check;
use super::files::Folder;
use super::plan::{Direction, Ledger, Task, group_of, torn};
use super::problem::Problem;
use crate::db::{checksum, state};
use crate::model::Script;
use std::collections::{BTreeMap, BTreeSet};

/// How far back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Back {
    /// The newest so many.
    Steps(usize),
    /// Everything newer than this version, which stays.
    To(i64),
    All,
}

/// The migrations to take back, newest first. Files that belong together count as one and go together.
///
/// # Errors
/// Every reason not to begin.
pub(super) fn backward(
    folder: &Folder,
    ledger: &Ledger,
    back: Back,
) -> Result<Vec<Task>, Vec<Problem>> {
    let mut versions: BTreeSet<i64> = ledger.applied.iter().map(|a| a.version).collect();
    versions.extend(ledger.half_applied().map(|s| s.version));
    let mut groups: BTreeMap<i64, i64> = BTreeMap::new();
    for version in &versions {
        let text = ledger
            .true_step(*version)
            .map(|s| s.up.as_str())
            .or_else(|| folder.get(*version).map(|e| e.migration.up.sql.as_str()));
        groups.insert(*version, text.and_then(group_of).unwrap_or(*version));
    }
    let mut chosen: Vec<i64> = Vec::new();
    let mut taken: BTreeSet<i64> = BTreeSet::new();
    // What a run left half taken back comes first, wherever it stands.
    let mut begun = torn(folder, ledger);
    begun.extend(
        ledger
            .half_reverted()
            .filter_map(|s| groups.get(&s.version)),
    );
    let is_begun = |v: &&i64| groups.get(*v).is_some_and(|g| begun.contains(g));
    let (first, rest): (Vec<&i64>, Vec<&i64>) = versions.iter().rev().partition(is_begun);
    for version in first.into_iter().chain(rest) {
        let group = groups.get(version).copied().unwrap_or(*version);
        let wanted = match back {
            Back::All => true,
            Back::To(to) => *version > to,
            Back::Steps(steps) => taken.contains(&group) || taken.len() < steps,
        };
        if wanted {
            taken.insert(group);
            chosen.push(*version);
        }
    }
    let mut problems = Vec::new();
    if let Back::To(to) = back
        && !versions.contains(&to)
    {
        problems.push(Problem::new(
            format!("--to {to}"),
            "no applied migration has this version",
        ));
    }
    match downs(folder, ledger, &chosen) {
        Ok(tasks) if problems.is_empty() => Ok(tasks),
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            Err(problems)
        }
    }
}

/// What takes these versions back, in their order, whatever was applied after them.
///
/// # Errors
/// Those without a text for it.
pub(super) fn downs(
    folder: &Folder,
    ledger: &Ledger,
    versions: &[i64],
) -> Result<Vec<Task>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut tasks = Vec::new();
    for version in versions {
        match down(folder, ledger, *version) {
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

fn down(folder: &Folder, ledger: &Ledger, version: i64) -> Result<Task, Vec<Problem>> {
    let step = ledger.true_step(version);
    let entry = folder.get(version);
    let slug = step
        .map(|s| s.slug.clone())
        .or_else(|| entry.map(|e| e.migration.slug.clone()))
        .or_else(|| {
            ledger
                .applied(version)
                .map(|a| a.description.replace(' ', "_"))
        })
        .unwrap_or_default();
    let script = step
        .and_then(|s| s.down.as_deref().map(Script::new))
        .or_else(|| entry.and_then(|e| e.migration.down.clone()));
    let Some(script) = script else {
        let file = entry.map_or_else(
            || format!("{version}_{slug}.down.sql"),
            |e| e.down_file.clone(),
        );
        return Err(vec![Problem::new(
            file,
            format!(
                "version {version} cannot be taken back: neither the ledger nor the folder has its down text. Write that file, or stop before it with --to {version}"
            ),
        )]);
    };
    let file = entry.map_or_else(
        || format!("{version}_{slug}.down.sql"),
        |e| e.down_file.clone(),
    );
    let statements = check::statements_any_ends(&file, &script)?;
    let up = step
        .map(|s| s.up.clone())
        .or_else(|| entry.map(|e| e.migration.up.sql.clone()))
        .unwrap_or_default();
    Ok(Task {
        version,
        slug,
        direction: Direction::Down,
        transaction: !script.no_transaction,
        statements,
        checksum: ledger
            .applied(version)
            .map_or_else(|| checksum(&up), |a| a.checksum.clone()),
        up,
        down: Some(script.sql),
        resumed: step.is_some_and(|s| s.state != state::APPLIED),
    })
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{folder, ledger, versions};
    use super::*;
    use crate::model::Migration;

    #[test]
    fn what_is_half_applied_comes_back_too() {
        let half = ledger(&[2], &[(1, state::APPLYING)]);
        let back = backward(&folder(&[1, 2]), &half, Back::All);
        assert_eq!(versions(&back), [2, 1]);
    }

    #[test]
    fn what_is_half_taken_back_comes_first() {
        let half = ledger(&[1, 2, 3], &[(2, state::REVERTING)]);
        let back = backward(&folder(&[1, 2, 3]), &half, Back::Steps(1));
        assert_eq!(versions(&back), [2]);
        let back = backward(&folder(&[1, 2, 3]), &half, Back::All);
        assert_eq!(versions(&back), [2, 3, 1]);
        // Files that belong together, the last of which is gone already.
        let part = |version: i64| Migration {
            version,
            slug: format!("m{version}"),
            up: Script::new(format!(
                "-- dbtune: part of 2\ncreate table t{version} (a int);"
            )),
            down: Some(Script::new(format!("drop table t{version};"))),
        };
        let mut entries: Vec<Migration> = [2, 3, 4].map(part).into();
        entries.extend(folder(&[1, 5]).entries.into_iter().map(|e| e.migration));
        let folder = Folder::from(entries);
        let mut torn = ledger(&[1, 2, 3, 5], &[]);
        for applied in &mut torn.applied {
            let up = &folder.get(applied.version).unwrap().migration.up.sql;
            applied.checksum = checksum(up);
        }
        let back = backward(&folder, &torn, Back::Steps(1));
        assert_eq!(versions(&back), [3, 2]);
        let refused =
            super::super::plan::forward(&folder, &torn, super::super::plan::Forward::default());
        let refused = refused.unwrap_err();
        assert!(
            refused[0].to_string().contains("dbtune rollback"),
            "{refused:?}"
        );
    }

    #[test]
    fn backward_prefers_the_text_that_was_applied() {
        let applied = ledger(&[1, 2], &[(2, state::APPLIED)]);
        let tasks = backward(&folder(&[1, 2]), &applied, Back::Steps(2)).unwrap();
        assert_eq!(tasks[0].text(), "select 'from the ledger'");
        assert_eq!(tasks[1].text(), "drop table t1;");
        // A record of another text than the one applied says nothing.
        let mut stale = applied.clone();
        stale.steps[0].checksum = vec![0];
        let tasks = backward(&folder(&[1, 2]), &stale, Back::To(1)).unwrap();
        assert_eq!(tasks[0].text(), "drop table t2;");
        assert!(backward(&Folder::default(), &stale, Back::To(1)).is_err());
        assert!(backward(&folder(&[1, 2]), &applied, Back::To(7)).is_err());
    }
}
