//! What is applied, what is not, and what somebody changed by hand.

use super::files::{Entry, Folder};
use super::outcome::Stop;
use super::plan::{Ledger, edited};
use super::run::look;
use super::transaction::Made;
use crate::db::{IndexFacts, Session, Step, Target, Writer, state};
use crate::model::Name;
use crate::sql::script::Object;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Applied,
    Pending,
    /// Pending, but older than what is applied.
    OutOfOrder,
    /// Applied, and its file is another one now.
    Edited,
    /// Applied, and not in the folder.
    Missing,
    /// A run ended in the middle of it.
    HalfDone,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    pub version: i64,
    pub slug: String,
    pub state: State,
    pub applied_at: Option<DateTime<Utc>>,
    /// Whether there is a text that takes it back.
    pub reversible: bool,
    /// What differs from what it made.
    pub drift: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Oldest version first.
    pub lines: Vec<Line>,
    /// Invalid indexes that nobody is building.
    pub invalid: Vec<String>,
    /// Indexes that a migration made and nothing has used for a week of counting.
    pub unused: Vec<String>,
}

impl Status {
    /// Whether nothing asks for a person: pending ones aside.
    pub fn is_clean(&self) -> bool {
        self.invalid.is_empty()
            && self
                .lines
                .iter()
                .all(|l| matches!(l.state, State::Applied | State::Pending) && l.drift.is_empty())
    }

    pub fn pending(&self) -> usize {
        let pending = |l: &&Line| l.state == State::Pending;
        self.lines.iter().filter(pending).count()
    }
}

/// Compares folder, ledgers and catalog; changes nothing.
///
/// # Errors
/// Where the ledger or catalog cannot be read.
pub async fn status(target: &Target, folder: &Folder) -> Result<Status, Stop> {
    let mut writer = Writer::connect(target, "status").await?;
    let ledger = look(&mut writer).await?;
    let mut lines = lines(folder, &ledger);
    let session = Session::connect(target, "status").await?;
    let mut unused = Vec::new();
    for (version, made) in latest(&ledger) {
        let week = ledger
            .step(version)
            .is_some_and(|s| s.watched_for > 7 * 24 * 3600);
        let now = writer.definition(&made.object).await?;
        if let Some(drift) = drift(&made, now.as_deref())
            && let Some(line) = lines.iter_mut().find(|l| l.version == version)
        {
            line.drift.push(drift);
        }
        if week
            && let Object::Index { table, name } = &made.object
            && let Some(index) = session.index_on(table, name).await?
            && index.scans == 0
            && !index.partitioned
        {
            unused.push(index.name.to_string());
        }
    }
    let mut invalid: Vec<IndexFacts> = session.invalid_indexes().await?;
    invalid.extend(session.invalid_parents().await?);
    let invalid = invalid.iter().map(|i| i.name.to_string()).collect();
    Ok(Status {
        lines,
        invalid,
        unused,
    })
}

/// The state of every version that folder or ledger knows. Pure.
pub(super) fn lines(folder: &Folder, ledger: &Ledger) -> Vec<Line> {
    let mut versions: BTreeSet<i64> = folder.entries.iter().map(|e| e.migration.version).collect();
    versions.extend(ledger.applied.iter().map(|a| a.version));
    versions.extend(ledger.half_applied().map(|s| s.version));
    versions
        .into_iter()
        .map(|version| line(version, folder.get(version), ledger))
        .collect()
}

fn line(version: i64, entry: Option<&Entry>, ledger: &Ledger) -> Line {
    let applied = ledger.applied(version);
    let step = ledger.true_step(version);
    let under_way = |s: &Step| s.state != state::APPLIED;
    let state = match (applied, entry) {
        _ if step.is_some_and(under_way) => State::HalfDone,
        (Some(a), _) if !a.success => State::HalfDone,
        (Some(_), None) => State::Missing,
        (Some(a), Some(e)) if edited(e, &a.checksum).is_some() => State::Edited,
        (Some(_), Some(_)) => State::Applied,
        (None, _) if ledger.newest().is_some_and(|newest| version < newest) => State::OutOfOrder,
        (None, _) => State::Pending,
    };
    let slug = entry
        .map(|e| e.migration.slug.clone())
        .or_else(|| step.map(|s| s.slug.clone()))
        .or_else(|| applied.map(|a| a.description.replace(' ', "_")));
    Line {
        version,
        slug: slug.unwrap_or_default(),
        state,
        applied_at: applied.map(|a| a.installed_on),
        reversible: step.is_some_and(|s| s.down.is_some())
            || entry.is_some_and(|e| e.migration.down.is_some()),
        drift: Vec::new(),
    }
}

/// What applied versions made, each object by the last one that made it.
fn latest(ledger: &Ledger) -> Vec<(i64, Made)> {
    let mut latest = BTreeMap::new();
    for applied in &ledger.applied {
        let Some(step) = ledger.true_step(applied.version) else {
            continue;
        };
        let made: Vec<Made> = serde_json::from_str(&step.made).unwrap_or_default();
        for made in made {
            latest.insert(made.object.clone(), (applied.version, made));
        }
    }
    latest.into_values().collect()
}

fn drift(made: &Made, now: Option<&str>) -> Option<String> {
    let (kind, table, name) = match &made.object {
        Object::Index { table, name } => ("index", table, name),
        Object::Policy { table, name } => ("policy", table, name),
    };
    let full = Name::new(&table.schema, name);
    match now {
        None => Some(format!("{kind} {full} is gone")),
        Some(now) if now != made.definition => Some(format!("{kind} {full} is another one now")),
        Some(_) => None,
    }
}
