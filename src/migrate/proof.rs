//! What the visibility check has shown, and for what.
//!
//! `verify` notes which migrations it found to keep every identity's rows, with the definitions before and after that this
//! is true of; `apply` wants to see that note and finds each definition as one or the other. The note stands beside the
//! migrations, so that it travels with them.

use super::files::{Entry, Folder};
use crate::db::checksum;
use crate::model::Name;
use crate::sql::concerns::{Concern, concerns};
use crate::sql::script;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// The comment line by which a migration asks for the check.
pub(super) const MARK: &str = "-- dbtune: keeps who sees what; `dbtune verify` proves it, `dbtune apply` asks for the proof\n";
/// The comment line of an index whose use no plan shows, so that it is not taken for unused.
pub(super) const UNSEEN: &str =
    "-- dbtune: serves what no plan shows; `dbtune apply --verify-gain` leaves it\n";
const FILE: &str = ".dbtune-verified.json";
/// Of the file's form. Notes of another form prove nothing.
const FORM: u32 = 2;

/// What was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    version: u32,
    runs: Vec<Run>,
}

/// One run of the check that passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// All that was pending: checksum of the up file to label.
    migrations: BTreeMap<String, String>,
    /// Everything that decides about the tables that the migrations touch, by its name in words.
    objects: BTreeMap<String, Held>,
    /// Names and kinds of those whose rows were compared.
    identities: Vec<String>,
    /// `server_version_num`.
    server_version: u32,
    /// Fingerprint of the rows that it was shown with.
    data: String,
    verified: DateTime<Utc>,
}

/// Fingerprints of a definition; `None` where it is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    before: Option<String>,
    after: Option<String>,
}

/// What a run of the check knows when it has passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Fingerprints of the definitions in reach before the migrations, by name in words.
    pub before: BTreeMap<String, String>,
    /// The same after them.
    pub after: BTreeMap<String, String>,
    pub identities: Vec<String>,
    pub server_version: u32,
    pub data: String,
}

/// What is there that a migration may concern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub relations: BTreeSet<Name>,
    /// Those that have a say in who sees or writes rows.
    pub functions: BTreeSet<Name>,
    /// Those of the relations.
    pub schemas: BTreeSet<String>,
}

/// What `apply` finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Versions about to be applied.
    pub going: BTreeSet<i64>,
    /// Versions that are not applied, and will not be now.
    pub left: BTreeSet<i64>,
    /// Fingerprints of all definitions.
    pub definitions: BTreeMap<String, String>,
    pub server_version: u32,
}

/// A migration that asks for the check, and why it does not count as checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproven {
    pub label: String,
    pub why: String,
}

impl Known {
    fn has(&self, concern: &Concern) -> bool {
        let among = |names: &BTreeSet<Name>, wanted: &Name| {
            let fits = |n: &Name| {
                n.name == wanted.name && (wanted.schema.is_empty() || n.schema == wanted.schema)
            };
            names.iter().any(fits)
        };
        match concern {
            Concern::Relation(name) => among(&self.relations, name),
            Concern::Function(name) => among(&self.functions, name),
            Concern::Schema(name) => self.schemas.contains(name),
            Concern::Everything => !self.relations.is_empty(),
        }
    }
}

/// The migrations among `versions` that ask for the check: marked ones, and those written by hand that change who sees or
/// writes rows of what is there already.
pub fn asking<'a>(folder: &'a Folder, versions: &BTreeSet<i64>, known: &Known) -> Vec<&'a Entry> {
    let entries = folder.entries.iter();
    entries
        .filter(|e| versions.contains(&e.migration.version))
        .filter(|e| asks(&e.migration.up.sql, |concern| known.has(concern)))
        .collect()
}

/// Whether any of `versions` may ask for the check, whatever is there.
pub fn may_ask(folder: &Folder, versions: &BTreeSet<i64>) -> bool {
    let mut entries = folder.entries.iter();
    entries.any(|e| versions.contains(&e.migration.version) && asks(&e.migration.up.sql, |_| true))
}

/// What cannot be read is not run either, and the runner says why.
fn asks(sql: &str, has: impl Fn(&Concern) -> bool) -> bool {
    script::parse(sql).is_ok() && (sql.contains(MARK) || concerns(sql).iter().any(has))
}

/// The texts of those with these labels that `propose` wrote to keep who sees what.
pub fn marked<'a>(folder: &'a Folder, labels: &[String]) -> Vec<&'a str> {
    let migrations = folder.entries.iter().map(|e| &e.migration);
    migrations
        .filter(|m| labels.contains(&m.label()) && m.up.sql.contains(MARK))
        .map(|m| m.up.sql.as_str())
        .collect()
}

impl Proof {
    /// The note in `dir`; an empty one where there is none or it cannot be read, because then nothing is proven.
    pub fn read(dir: &Path) -> Self {
        std::fs::read_to_string(path(dir))
            .ok()
            .and_then(|text| serde_json::from_str::<Self>(&text).ok())
            .filter(|proof| proof.version == FORM)
            .unwrap_or_default()
    }

    /// Notes that the check of the migrations with these labels has passed, in place of what was noted of them.
    pub fn add(
        dir: &Path,
        folder: &Folder,
        labels: &[String],
        shown: Shown,
        now: DateTime<Utc>,
    ) -> io::Result<()> {
        let names: BTreeSet<&String> = shown.before.keys().chain(shown.after.keys()).collect();
        let held = |name: &String| Held {
            before: shown.before.get(name).cloned(),
            after: shown.after.get(name).cloned(),
        };
        let run = Run {
            migrations: checked(folder, labels),
            objects: names.into_iter().map(|n| (n.clone(), held(n))).collect(),
            identities: shown.identities,
            server_version: shown.server_version,
            data: shown.data,
            verified: now,
        };
        let mut proof = Self::read(dir);
        proof.version = FORM;
        proof.forget(&run.migrations);
        proof.runs.push(run);
        proof.write(dir)
    }

    /// Takes back what was noted of the migrations with these labels: they were checked again and did not pass.
    pub fn withdraw(dir: &Path, folder: &Folder, labels: &[String]) -> io::Result<()> {
        let mut proof = Self::read(dir);
        let before = proof.runs.len();
        proof.forget(&checked(folder, labels));
        if proof.runs.len() == before {
            return Ok(());
        }
        proof.write(dir)
    }

    fn forget(&mut self, migrations: &BTreeMap<String, String>) {
        let others = |run: &Run| !run.migrations.keys().all(|m| migrations.contains_key(m));
        self.runs.retain(others);
    }

    fn write(&self, dir: &Path) -> io::Result<()> {
        std::fs::write(path(dir), serde_json::to_string_pretty(self)?)
    }

    /// Those of `asking` for which nothing noted holds now.
    pub fn missing(&self, folder: &Folder, asking: &[&Entry], found: &Found) -> Vec<Unproven> {
        asking
            .iter()
            .filter_map(|entry| {
                let digest = digest(&entry.migration.up.sql);
                let runs = self.runs.iter().rev();
                let mut why = "not checked".to_owned();
                for (at, run) in runs
                    .filter(|r| r.migrations.contains_key(&digest))
                    .enumerate()
                {
                    match run.objection(folder, found) {
                        None => return None,
                        // What the last run says is closest to what is there.
                        Some(objection) if at == 0 => why = objection,
                        Some(_) => {}
                    }
                }
                let label = entry.migration.label();
                Some(Unproven { label, why })
            })
            .collect()
    }
}

impl Run {
    /// Why it says nothing of what is there now.
    fn objection(&self, folder: &Folder, found: &Found) -> Option<String> {
        for (sum, label) in &self.migrations {
            let entry = folder
                .entries
                .iter()
                .find(|e| digest(&e.migration.up.sql) == *sum);
            match entry {
                None => {
                    return Some(format!(
                        "checked together with {label}, which is another now"
                    ));
                }
                Some(e) if found.left.contains(&e.migration.version) => {
                    return Some(format!("checked together with {label}, which is left out"));
                }
                Some(_) => {}
            }
        }
        let (was, is) = (self.server_version / 10_000, found.server_version / 10_000);
        if was != is {
            return Some(format!("checked on PostgreSQL {was}, and this is {is}"));
        }
        self.objects.iter().find_map(|(name, held)| {
            let now = found.definitions.get(name);
            (now != held.before.as_ref() && now != held.after.as_ref()).then(|| {
                format!("{name} is neither as it was checked nor as the migrations make it")
            })
        })
    }
}

/// Checksum to label of the migrations with these labels.
fn checked(folder: &Folder, labels: &[String]) -> BTreeMap<String, String> {
    let migrations = folder.entries.iter().map(|e| &e.migration);
    migrations
        .map(|m| (m.label(), &m.up.sql))
        .filter(|(label, _)| labels.contains(label))
        .map(|(label, sql)| (digest(sql), label))
        .collect()
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

fn digest(sql: &str) -> String {
    checksum(sql).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
