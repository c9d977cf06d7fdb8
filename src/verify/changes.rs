//! What the change does to access, before anybody's rows are looked at.

use super::access::{self, AccessChange, Change, Class, Comparison, Definitions, Key, Kind, judge};
use super::found::{Findings, Opened, Who};
use super::pairing::Subject;
use crate::config::AllowedAccess;
use crate::db::{Result, Session, Target};
use crate::migrate::Known;
use crate::model::{Gap, Name};
use chrono::NaiveDate;
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
    /// What stands in the database before the change, for telling which migrations ask for a proof.
    pub known: Known,
    /// Fingerprints, by object, of all that decides about what was looked at.
    pub before: BTreeMap<String, String>,
    pub after: BTreeMap<String, String>,
    /// Names and roles.
    pub identities: Vec<String>,
    /// Of the tables that were looked at.
    pub data: String,
    /// `server_version_num`.
    pub server_version: u32,
}

/// What is allowed to change, and what is expected to.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// Out of the configuration.
    pub access: Vec<AllowedAccess>,
    /// The day on which an entry may have expired.
    pub today: NaiveDate,
    /// Texts of the migrations that `propose` wrote: they bring functions along for their policies, and have shown what these
    /// open.
    pub generated: Vec<String>,
}

impl Changes {
    /// `was` are the definitions of the original, where both sides are copies of one database: it has the roles as they were.
    pub(super) async fn read(
        sessions: &Sessions,
        was: Option<Definitions>,
        twins: bool,
    ) -> Result<Self> {
        let mut before = access::read(&sessions.before).await?;
        if let Some(was) = was {
            let roles = |key: &access::Key| key.kind == access::Kind::Role;
            before.objects.retain(|key, _| !roles(key));
            before
                .objects
                .extend(was.objects.into_iter().filter(|(key, _)| roles(key)));
        }
        let after = access::read(&sessions.after).await?;
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

    pub(super) fn writes_rows(&self) -> bool {
        !self.written.is_empty()
    }

    /// Functions that changed, are new or are gone.
    pub(super) fn functions(&self) -> BTreeSet<Name> {
        let changed = self.comparison.changed.iter();
        changed
            .filter(|c| c.key.kind == Kind::Function)
            .flat_map(|c| {
                [
                    Some(c.key.name.clone()),
                    c.was.as_ref().map(|k| k.name.clone()),
                ]
            })
            .flatten()
            .collect()
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

    /// What opens or closes rows and is not decided by looking at the rows of `subjects`. `unguarded` are tables that were
    /// looked up and have row-level security on neither side, so that their policies are of no matter.
    pub(super) fn tell_opened(
        &self,
        subjects: &[Subject],
        unguarded: &BTreeSet<Name>,
        allowed: &Allowed,
        found: &mut Findings,
    ) {
        let decided: BTreeSet<Name> = subjects
            .iter()
            .flat_map(|s| [s.before.name(), s.after.name()])
            .collect();
        let covered = |change: &AccessChange| {
            let of_no_matter = |t: &Name| change.class == Class::Policy && unguarded.contains(t);
            // No policy is asked by these.
            let bare = ["TRUNCATE", "TRIGGER", "REFERENCES", "MAINTAIN"];
            let bare =
                change.class == Class::Privilege && bare.iter().any(|p| change.what.contains(p));
            // The owner may be among those who were not looked with; a schema also holds what functions call.
            let wide = change.what.contains("FORCE") || change.object.kind == Kind::Schema;
            !bare
                && !wide
                && change.decidable
                && !change.tables.is_empty()
                && change
                    .tables
                    .iter()
                    .all(|t| decided.contains(t) || of_no_matter(t))
        };
        // Whoever wrote the migration has shown what its own functions open.
        let brought = |change: &AccessChange| {
            let name = &change.object.name.name;
            change.class == Class::Companion
                && allowed.generated.iter().any(|sql| sql.contains(name))
        };
        let judged = judge(&self.comparison.access, &allowed.access, allowed.today);
        let opened = |change: &AccessChange, reason: Option<String>| Opened {
            object: change.object.to_string(),
            what: change.what.clone(),
            allowed: reason,
        };
        let open = judged.open.iter().filter(|c| !covered(c) && !brought(c));
        found.opened.extend(open.map(|c| opened(c, None)));
        let excused = judged.allowed.iter();
        found
            .opened
            .extend(excused.map(|(c, reason)| opened(c, Some(reason.clone()))));
        found.gaps.extend(judged.unused);
        self.tell_views(found);
    }

    /// A view that changed may show other rows to whoever reads it through another one or a function; and rows that are
    /// written may be what a view, a function with its owner's rights or a trigger decides by.
    fn tell_views(&self, found: &mut Findings) {
        let is_view = |key: &Key| matches!(key.kind, Kind::View | Kind::MaterializedView);
        for change in &self.comparison.changed {
            let told = found
                .opened
                .iter()
                .any(|o| o.object == change.key.to_string());
            if is_view(&change.key) && change.change == Change::Altered && !told {
                found.opened.push(Opened {
                    object: change.key.to_string(),
                    what: change.what.clone(),
                    allowed: None,
                });
            }
        }
        let run_by_triggers: BTreeSet<&Key> = self
            .after
            .objects
            .iter()
            .filter(|(key, _)| key.kind == Kind::Trigger)
            .flat_map(|(_, object)| &object.mentions)
            .filter(|key| key.kind == Kind::Function)
            .collect();
        for (key, object) in &self.after.objects {
            let own_rights = key.kind == Kind::Function
                && (object.fact("security") == "definer" || run_by_triggers.contains(key));
            if !(is_view(key) || own_rights) || !self.before.objects.contains_key(key) {
                continue;
            }
            let read = object
                .mentions
                .iter()
                .find(|m| m.kind == Kind::Table && self.written.contains(&m.name));
            if let Some(table) = read {
                found.opened.push(Opened {
                    object: key.to_string(),
                    what: format!("rows of {} are written, by which {key} decides", table.name),
                    allowed: None,
                });
            }
        }
    }

    pub(super) async fn evidence(&self, before: &Session, identities: &[Who]) -> Result<Evidence> {
        let touched = &self.comparison.touched;
        Ok(Evidence {
            known: access::known(&self.before),
            before: access::fingerprints(&self.before, &self.comparison.reach),
            after: access::fingerprints(&self.after, &self.comparison.reach),
            identities: identities
                .iter()
                .map(|w| format!("{} ({})", w.name, w.role))
                .collect(),
            data: access::data_fingerprint(before, touched).await?,
            server_version: self.before.server_version,
        })
    }
}
