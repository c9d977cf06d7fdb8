//! What the change does to access, before anybody's rows are looked at.

use super::access::{self, Comparison, Definitions};
use super::found::{Findings, Opened};
use super::pairing::Subject;
use crate::db::{Result, Session, Target};
use crate::model::{Gap, Name};
use std::collections::{BTreeMap, BTreeSet};

/// A connection to each side.
pub(super) struct Sessions {
    pub(super) before: Session,
    pub(super) after: Session,
}

impl Sessions {
    pub(super) async fn open(before: &Target, after: &Target) -> Result<Self> {
        let (before, after) = tokio::join!(
            Session::connect(before, "verify"),
            Session::connect(after, "verify")
        );
        Ok(Self {
            before: before?,
            after: after?,
        })
    }
}

/// Definitions of both sides, and what differs.
pub(super) struct Changes {
    before: Definitions,
    after: Definitions,
    pub(super) comparison: Comparison,
    /// Tables of which the change writes rows.
    written: BTreeSet<Name>,
}

/// What a proof holds for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Fingerprints, by object, of all that decides about what was looked at.
    pub before: BTreeMap<String, String>,
    pub after: BTreeMap<String, String>,
    /// `server_version_num`.
    pub server_version: u32,
}

impl Changes {
    pub(super) async fn read(sessions: &Sessions, twins: bool) -> Result<Self> {
        let (before, after) = tokio::join!(
            access::read(&sessions.before),
            access::read(&sessions.after)
        );
        let (before, after) = (before?, after?);
        let mut comparison = access::compare(&before, &after, twins);
        let open = comparison.open.keys().cloned().collect();
        let occupied = access::occupied(&sessions.after, &open).await?;
        comparison.settle(&occupied);
        let written = access::changed_rows(&sessions.before, &sessions.after).await?;
        comparison
            .touched
            .extend(access::reached_by_rows(&before, &after, &written));
        Ok(Self {
            before,
            after,
            comparison,
            written,
        })
    }

    /// The tables touched, by their names before and after.
    pub(super) fn tables(&self) -> (BTreeSet<Name>, BTreeSet<Name>) {
        let was = self.comparison.touched.clone();
        let is = was
            .iter()
            .map(|name| self.comparison.renamed.get(name).unwrap_or(name).clone());
        (was.clone(), is.collect())
    }

    /// What changed, in words.
    pub(super) fn tell(&self, found: &mut Findings) {
        let changed = self.comparison.changed.iter();
        found.changes = changed.map(|c| c.what.clone()).collect();
        let written = self.written.iter();
        found
            .changes
            .extend(written.map(|t| format!("rows of {t} are written")));
        for name in &self.comparison.gone {
            found.gaps.push(Gap {
                what: name.to_string(),
                why: "the change takes the table away: there is nothing to compare".to_owned(),
                remedy: None,
            });
        }
    }

    /// What opens or closes rows and is not decided by looking at the rows of `subjects`.
    pub(super) fn tell_opened(&self, subjects: &[Subject], found: &mut Findings) {
        let decided: BTreeSet<Name> = subjects
            .iter()
            .flat_map(|s| [s.before.name(), s.after.name()])
            .collect();
        for change in &self.comparison.access {
            let covered = change.decidable
                && !change.tables.is_empty()
                && change.tables.iter().all(|t| decided.contains(t));
            if !covered {
                found.opened.push(Opened {
                    object: change.object.to_string(),
                    what: change.what.clone(),
                    allowed: None,
                });
            }
        }
    }

    pub(super) fn evidence(&self) -> Evidence {
        Evidence {
            before: access::fingerprints(&self.before, &self.comparison.reach),
            after: access::fingerprints(&self.after, &self.comparison.reach),
            server_version: self.before.server_version,
        }
    }
}
