//! Whether two answers are one, and whether they show anything.

use super::probe::Probe;
use super::side::Answers;
use crate::model::Command;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How new differs from old.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// More is seen or written.
    Wider,
    /// Less is seen or written.
    Narrower,
    /// Other rows.
    Other,
    /// One side ends with an error that is no refusal.
    Error,
}

/// What one statement came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome<'a> {
    /// The texts of the rows seen.
    Seen(Vec<String>),
    /// Rows written, and a digest of what the table holds then.
    Written(u64, &'a str),
    /// SQLSTATE.
    Failed(&'a str),
}

impl<'a> Outcome<'a> {
    pub(super) fn read(text: &'a str) -> Self {
        let Some(answer) = text.strip_prefix('=') else {
            return Self::Failed(text);
        };
        if answer.starts_with('[') {
            return Self::Seen(serde_json::from_str(answer).unwrap_or_default());
        }
        let (count, digest) = answer.split_once(':').unwrap_or((answer, ""));
        Self::Written(count.parse().unwrap_or_default(), digest)
    }

    /// Rows seen or written.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Seen(rows) => rows.len() as u64,
            Self::Written(count, _) => *count,
            Self::Failed(_) => 0,
        }
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Seen(rows) => format!("{} seen", rows_of(rows.len() as u64)),
            Self::Written(count, _) => format!("{} written", rows_of(*count)),
            Self::Failed("42501") => "refused (42501)".to_owned(),
            Self::Failed(state) => format!("error {state}"),
        }
    }
}

fn rows_of(count: u64) -> String {
    format!("{count} {}", if count == 1 { "row" } else { "rows" })
}

/// How the second differs from the first; `None` where it does not, or where both end with an error.
///
/// `whole` says that the identity has all its settings. Without, an error (of `''::uuid`, say) and no row come to the same.
pub(super) fn way(before: &str, after: &str, whole: bool) -> Option<Way> {
    use Outcome::{Failed, Seen, Written};
    const REFUSED: &str = "42501";
    Some(match (Outcome::read(before), Outcome::read(after)) {
        (Failed(_), Failed(_)) => return None,
        (Failed(_), found) | (found, Failed(_)) if !whole && found.count() == 0 => return None,
        (Failed(REFUSED), found) if found.count() > 0 => Way::Wider,
        (found, Failed(REFUSED)) if found.count() > 0 => Way::Narrower,
        (Failed(_), _) | (_, Failed(_)) => Way::Error,
        (Seen(old), Seen(new)) => {
            if old == new {
                return None;
            }
            match (contains(&new, &old), contains(&old, &new)) {
                (true, _) => Way::Wider,
                (_, true) => Way::Narrower,
                _ => Way::Other,
            }
        }
        (Written(old, left), Written(new, right)) => match old.cmp(&new) {
            std::cmp::Ordering::Less => Way::Wider,
            std::cmp::Ordering::Greater => Way::Narrower,
            std::cmp::Ordering::Equal if left == right => return None,
            std::cmp::Ordering::Equal => Way::Other,
        },
        _ => Way::Other,
    })
}

/// Whether every row of the second, as often as it is there, is in the first.
fn contains(rows: &[String], others: &[String]) -> bool {
    let count = |of: &[String], row: &String| of.iter().filter(|r| *r == row).count();
    others
        .iter()
        .all(|row| count(rows, row) >= count(others, row))
}

/// What the old side has shown over all worlds.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// Roles that a row was shown to, or that wrote one, by command.
    shown: BTreeMap<Command, BTreeSet<String>>,
    /// Commands for which a row was hidden or refused.
    hidden: BTreeSet<Command>,
    /// Errors that both sides ended with, by command.
    failed: BTreeMap<Command, String>,
}

impl Evidence {
    /// Takes in one world; `rows` is how many rows the table held.
    pub(super) fn note(&mut self, role: &str, rows: usize, probes: &[Probe], answers: &Answers) {
        let rows = rows as u64;
        for (probe, text) in probes.iter().zip(&answers.outcomes) {
            let outcome = Outcome::read(text);
            if outcome.count() > 0 {
                let shown = self.shown.entry(probe.command).or_default();
                shown.insert(role.to_owned());
            }
            let hidden = match (&outcome, probe.command) {
                (Outcome::Failed("42501"), Command::Insert | Command::Update) => true,
                (Outcome::Failed(state), _) => {
                    self.failed.insert(probe.command, (*state).to_owned());
                    false
                }
                (_, Command::Insert) => false,
                (found, _) => found.count() < rows,
            };
            if hidden {
                self.hidden.insert(probe.command);
            }
        }
    }

    /// Why `commands`, asked as `roles`, are not shown to be alike; `None` where they are.
    pub(super) fn lacks(&self, commands: &BTreeMap<Command, BTreeSet<String>>) -> Option<String> {
        for (command, roles) in commands {
            let shown = self.shown.get(command);
            let blind = roles.iter().find(|r| shown.is_none_or(|s| !s.contains(*r)));
            let keyword = command.keyword();
            if let Some(role) = blind {
                let error = self.failed.get(command);
                let error = error.map_or_else(String::new, |e| format!(" (errors such as {e})"));
                return Some(format!(
                    "in no world did the policies let {role} {keyword} a row{error}"
                ));
            }
            if !self.hidden.contains(command) {
                return Some(format!(
                    "in no world did the policies keep a row from {keyword}"
                ));
            }
        }
        None
    }
}
