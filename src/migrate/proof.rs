//! Which policy rewrites have passed the visibility check.
//!
//! `propose` marks the migrations that rewrite policies, `verify` notes the checksums it found to keep every
//! persona's rows, and `apply` wants to see that note. The note stands beside the migrations, so that it travels with them.

use super::files::Folder;
use crate::db::checksum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// The comment line by which a migration asks for the check.
pub(super) const MARK: &str = "-- dbtune: keeps who sees what; `dbtune verify` proves it, `dbtune apply` asks for the proof\n";
/// The comment line of an index whose use no plan shows, so that it is not taken for unused.
pub(super) const UNSEEN: &str =
    "-- dbtune: serves what no plan shows; `dbtune apply --verify-gain` leaves it\n";
const FILE: &str = ".dbtune-verified.json";

/// What was checked, by checksum of the up file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Checksum to when it was checked, in UTC.
    verified: BTreeMap<String, String>,
}

impl Proof {
    /// The note in `dir`; an empty one where there is none or it cannot be read, because then nothing is proven.
    pub fn read(dir: &Path) -> Self {
        std::fs::read_to_string(path(dir))
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }

    /// Adds every marked migration of `folder` and writes the note.
    pub fn add(
        dir: &Path,
        folder: &Folder,
        now: chrono::DateTime<chrono::Utc>,
    ) -> io::Result<usize> {
        let mut proof = Self::read(dir);
        let mut added = 0;
        for entry in &folder.entries {
            let sql = &entry.migration.up.sql;
            if sql.contains(MARK) {
                proof.verified.insert(digest(sql), now.to_rfc3339());
                added += 1;
            }
        }
        if added > 0 {
            std::fs::write(path(dir), serde_json::to_string_pretty(&proof)?)?;
        }
        Ok(added)
    }

    /// Labels of the migrations among `versions` that ask for the check and have not had it.
    pub fn missing(&self, folder: &Folder, versions: &[i64]) -> Vec<String> {
        folder
            .entries
            .iter()
            .filter(|e| versions.contains(&e.migration.version))
            .filter(|e| e.migration.up.sql.contains(MARK))
            .filter(|e| !self.verified.contains_key(&digest(&e.migration.up.sql)))
            .map(|e| e.migration.label())
            .collect()
    }
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
