//! A copy of a database brought to another state of its migrations, forwards or backwards.

use super::back::Back;
use super::files::Folder;
use super::outcome::{Options, Outcome, Stop};
use super::plan::{Direction, Forward, Ledger};
use super::run::{apply, look, rollback};
use super::runner::Progress;
use crate::db::{self, Target, Writer, checksum};
use crate::sql::server_wide::beyond;

/// Where the migrations are to end up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// As the database is.
    Unchanged,
    /// Everything of the folder, as `apply` does it.
    Pending,
    /// This version of the folder, and nothing newer; 0 is before the first.
    Version(i64),
    /// What is in the folder and nothing else, each in the text it has there.
    Exactly,
}

/// Where they ended up, as labels of migrations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    pub taken_back: Vec<String>,
    pub applied: Vec<String>,
    /// The newest one that is applied.
    pub newest: Option<String>,
    /// Every version that is applied, with the checksum of its text: equal where two copies are alike.
    pub versions: Vec<(i64, Vec<u8>)>,
}

/// Takes back what is too much, newest first, then applies what is missing. For copies: what was edited since it was applied
/// is taken back and applied anew.
///
/// `others` are folders that may have the down files of what is not in `folder`.
///
/// # Errors
/// As [`rollback`] and [`apply`]; the copy is somewhere on the way then.
pub async fn reach(
    target: &Target,
    (folder, goal): (&Folder, Goal),
    others: &[&Folder],
    options: &Options,
    progress: Progress<'_>,
) -> Result<Reached, Stop> {
    let mut ledger = ledger_of(target).await?;
    let way = way(folder, &ledger, goal);
    let mut reached = Reached::default();
    if let Some(back) = way.back {
        let texts = texts(folder, others, &ledger);
        let outcome = rollback(target, &texts, back, options, &mut *progress).await?;
        reached.note(outcome);
    }
    if let Some(forward) = way.forward {
        stay_inside(target, folder, &ledger).await?;
        let options = Options {
            forward,
            ..options.clone()
        };
        let outcome = apply(target, folder, &options, progress).await?;
        reached.note(outcome);
    }
    if reached != Reached::default() {
        ledger = ledger_of(target).await?;
    }
    reached.newest = ledger.newest().map(|version| label(&ledger, version));
    let versions = ledger.applied.into_iter();
    reached.versions = versions.map(|a| (a.version, a.checksum)).collect();
    Ok(reached)
}

impl Reached {
    fn note(&mut self, outcome: Outcome) {
        for done in outcome.done {
            match done.direction {
                Direction::Up => self.applied.push(done.label),
                Direction::Down => self.taken_back.push(done.label),
            }
        }
    }
}

/// Refuses what would change more than the copy: roles belong to the whole server, and so to the original.
async fn stay_inside(target: &Target, folder: &Folder, ledger: &Ledger) -> Result<(), Stop> {
    let pending = folder.entries.iter().map(|e| &e.migration);
    let pending = pending.filter(|m| ledger.applied(m.version).is_none());
    let mut found = pending.filter_map(|m| Some((m.label(), beyond(&m.up.sql)?)));
    let Some((label, beyond)) = found.next() else {
        return Ok(());
    };
    // A block of code that may create a role fails by itself where the role may not.
    if beyond.perhaps && found.all(|(_, b)| b.perhaps) && !may_change_roles(target).await? {
        return Ok(());
    }
    let why = format!(
        "it changes {}, which a copy on the same server shares with the original",
        beyond.what
    );
    let advice = "Apply that part to the server first, in a migration of its own, or try the migrations on another server: \
                  restore a copy there and point --db to it.";
    let error = db::Error::new(format!("run {label} on a copy"), why).advise(advice);
    Err(error.into())
}

async fn may_change_roles(target: &Target) -> Result<bool, Stop> {
    let session = db::Session::connect(target, "look at the role").await?;
    let sql = "select (rolsuper or rolcreaterole)::text from pg_roles where rolname = current_user";
    let texts = session.texts("read the rights of the role", sql).await?;
    Ok(texts.concat() != "false")
}

async fn ledger_of(target: &Target) -> Result<Ledger, Stop> {
    let mut writer = Writer::connect(target, "look at the ledger").await?;
    let ledger = look(&mut writer).await?;
    // Nothing hangs on a polite goodbye.
    let _ = writer.close().await;
    Ok(ledger)
}

fn label(ledger: &Ledger, version: i64) -> String {
    let slug = ledger
        .applied(version)
        .map(|a| a.description.replace(' ', "_"))
        .unwrap_or_default();
    format!("{version}_{slug}")
}

/// What is to be done, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Way {
    back: Option<Back>,
    forward: Option<Forward>,
}

fn way(folder: &Folder, ledger: &Ledger, goal: Goal) -> Way {
    let versions: Vec<i64> = ledger.applied.iter().map(|a| a.version).collect();
    // Everything from `version` on is taken back.
    let from = |version: i64| match versions.iter().filter(|v| **v < version).max() {
        Some(kept) => Back::To(*kept),
        None => Back::All,
    };
    match goal {
        Goal::Unchanged => Way::default(),
        Goal::Pending => Way {
            back: None,
            forward: Some(Forward::default()),
        },
        Goal::Version(version) => Way {
            back: versions
                .iter()
                .any(|v| *v > version)
                .then(|| from(version.saturating_add(1))),
            // On a copy nobody is surprised by what is applied late, or was applied from elsewhere.
            forward: (version != 0 && !versions.contains(&version)).then_some(Forward {
                to: Some(version),
                ignore_missing: true,
                out_of_order: true,
            }),
        },
        Goal::Exactly => {
            let is_wrong = |a: &&crate::db::Applied| {
                folder
                    .get(a.version)
                    .is_none_or(|e| checksum(&e.migration.up.sql) != a.checksum)
            };
            let wrong = ledger.applied.iter().filter(is_wrong).map(|a| a.version);
            Way {
                back: wrong.min().map(from),
                // A branch may hold a version that is older than what the base has had since.
                forward: Some(Forward {
                    out_of_order: true,
                    ..Forward::default()
                }),
            }
        }
    }
}

/// For each applied version the files of the text that was applied, else any of that version.
fn texts(folder: &Folder, others: &[&Folder], ledger: &Ledger) -> Folder {
    let all = || std::iter::once(&folder).chain(others);
    let mut texts = Folder::default();
    for applied in &ledger.applied {
        let same = all()
            .filter_map(|f| f.get(applied.version))
            .find(|e| checksum(&e.migration.up.sql) == applied.checksum);
        texts.entries.extend(same.cloned());
    }
    all().fold(texts, |texts, folder| texts.with(folder))
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{folder, ledger};
    use super::*;

    fn found(versions: &[i64], applied: &[i64], goal: Goal) -> (Option<Back>, Option<Forward>) {
        let way = way(&folder(versions), &ledger(applied, &[]), goal);
        (way.back, way.forward)
    }

    #[test]
    fn a_version_is_reached_from_both_sides() {
        let to = |version| Forward {
            to: Some(version),
            ignore_missing: true,
            out_of_order: true,
        };
        let all = [1, 2, 3, 4];
        assert_eq!(found(&all, &[1], Goal::Version(3)), (None, Some(to(3))));
        let back = found(&all, &[1, 2, 3], Goal::Version(2));
        assert_eq!(back, (Some(Back::To(2)), None));
        assert_eq!(found(&all, &[1, 2], Goal::Version(2)), (None, None));
        assert_eq!(found(&all, &[1], Goal::Version(0)), (Some(Back::All), None));
        assert_eq!(found(&all, &[], Goal::Version(0)), (None, None));
        // One that is missing below what is applied.
        let around = found(&all, &[1, 4], Goal::Version(3));
        assert_eq!(around, (Some(Back::To(1)), Some(to(3))));
        assert_eq!(found(&all, &[1, 4], Goal::Unchanged), (None, None));
    }

    #[test]
    fn a_folder_is_reached_whatever_else_was_applied() {
        let exactly = |versions: &[i64], applied: &[i64]| {
            let (back, forward) = found(versions, applied, Goal::Exactly);
            assert!(forward.is_some_and(|f| f.out_of_order && f.to.is_none()));
            back
        };
        assert_eq!(exactly(&[1, 2, 3], &[1, 2]), None);
        assert_eq!(exactly(&[1, 2, 3], &[1, 3]), None, "out of order");
        assert_eq!(exactly(&[1, 2], &[1, 2, 3]), Some(Back::To(2)));
        assert_eq!(exactly(&[1, 3], &[1, 2, 4]), Some(Back::To(1)));
        assert_eq!(exactly(&[2], &[1]), Some(Back::All));
        // Edited since.
        let mut edited = ledger(&[1, 2, 3], &[]);
        edited.applied[1].checksum = vec![0];
        let way = way(&folder(&[1, 2, 3]), &edited, Goal::Exactly);
        assert_eq!(way.back, Some(Back::To(1)));
    }

    #[test]
    fn the_way_back_is_that_of_the_text_that_was_applied() {
        let mut other = folder(&[1, 2]);
        other.entries[0].migration.up.sql = "select 'edited'".to_owned();
        other.entries[0].down_file = "edited".to_owned();
        let plain = folder(&[1, 3]);
        let texts = texts(&other, &[&plain], &ledger(&[1, 3], &[]));
        let files: Vec<(i64, bool)> = texts
            .entries
            .iter()
            .map(|e| (e.migration.version, e.down_file == "edited"))
            .collect();
        assert_eq!(files, [(1, false), (2, false), (3, false)]);
    }
}
