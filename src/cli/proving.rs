//! The note that `verify` leaves and `apply` wants to see.

use super::{CANNOT, Context, Failure, migrating};
use crate::db::{Limits, Session, Target};
use crate::migrate::{self, Folder, Found, Proof, Shown, State, Status, asking, marked, may_ask};
use crate::model::{Block, Outcome, Persona, Report};
use crate::verify::access::{
    self, AccessChange, Class, Comparison, Definitions, Judged, compare, data_fingerprint,
    fingerprints, judge, known, occupied, read_within,
};
use anyhow::Context as _;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// What decides who sees and writes rows in the database behind `target`.
pub(super) async fn definitions(target: &Target) -> anyhow::Result<Definitions> {
    let session = Session::connect(target, "verify").await?;
    Ok(access::read(&session).await?)
}

/// What the migrations change of it.
pub(super) struct Changes {
    before: Definitions,
    after: Definitions,
    pub(super) comparison: Comparison,
}

/// Compares what was read of the original before it was cloned with the clone `after`.
pub(super) async fn changes(before: Definitions, after: &Target) -> anyhow::Result<Changes> {
    let session = Session::connect(after, "verify").await?;
    let after = access::read(&session).await?;
    let mut comparison = compare(&before, &after, true);
    let open: BTreeSet<_> = comparison.open.keys().cloned().collect();
    comparison.settle(&occupied(&session, &open).await?);
    Ok(Changes {
        before,
        after,
        comparison,
    })
}

/// Adds to `report` what opens or closes rows in a way that neither policies nor privileges decide, and fails it where
/// nobody asked for that.
pub(super) fn judged(
    context: &Context,
    changes: &Changes,
    (folder, applied): (&Folder, &[String]),
    report: &mut Report,
) -> anyhow::Result<()> {
    let settings = context.settings()?;
    let today = chrono::Utc::now().date_naive();
    let Judged {
        open,
        allowed,
        unused,
    } = judge(&changes.comparison.access, &settings.allowed_access, today);
    let generated = marked(folder, applied);
    // A rewrite's companions are made by what `propose` wrote, which has shown what they open.
    let brought = |change: &AccessChange| {
        change.class == Class::Companion
            && generated
                .iter()
                .any(|sql| sql.contains(&change.object.name.name))
    };
    let failing: Vec<&AccessChange> = open
        .iter()
        .filter(|c| !c.decidable && !brought(c))
        .collect();
    let warning = |c: &&AccessChange| Block::Warning(format!("Access changed: {}", c.what));
    report.blocks.extend(failing.iter().map(warning));
    let lines: Vec<String> = allowed
        .iter()
        .map(|(change, reason)| format!("allowed: {} ({reason})", change.what))
        .collect();
    if !lines.is_empty() {
        report.blocks.push(Block::Text(lines.join("\n")));
    }
    report.gaps.extend(unused);
    if !failing.is_empty() {
        report.outcome = Outcome::Fail;
        report.summary = format!(
            "{} change(s) open or close rows and are not among allowed_access",
            failing.len()
        );
    }
    Ok(())
}

/// Notes in `dir` what the check of the migrations `applied` has shown, or that it has not. Whether one of them asks for it.
pub(super) async fn note(
    (dir, folder, applied): (&Path, &Folder, &[String]),
    changes: &Changes,
    (before, personas): (&Target, &[Persona]),
    outcome: Outcome,
) -> anyhow::Result<bool> {
    let failed = || format!("could not note the result in {}", dir.display());
    if outcome != Outcome::Pass {
        Proof::withdraw(dir, folder, applied).with_context(failed)?;
        return Ok(false);
    }
    let versions = folder.entries.iter().map(|e| &e.migration);
    let versions = versions
        .filter(|m| applied.contains(&m.label()))
        .map(|m| m.version)
        .collect();
    if asking(folder, &versions, &known(&changes.before)).is_empty() {
        return Ok(false);
    }
    let session = Session::connect(before, "verify").await?;
    let reach = &changes.comparison.reach;
    let identities = personas
        .iter()
        .map(|p| format!("{} ({})", p.name, p.role))
        .collect();
    let shown = Shown {
        before: fingerprints(&changes.before, reach),
        after: fingerprints(&changes.after, reach),
        identities,
        server_version: changes.before.server_version,
        data: data_fingerprint(&session, &changes.comparison.touched).await?,
    };
    Proof::add(dir, folder, applied, shown, chrono::Utc::now()).with_context(failed)?;
    Ok(true)
}

/// What changes who sees or writes rows is applied only after the check has passed, and only to the definitions that it
/// was about.
pub(super) async fn demand(
    target: &Target,
    (folder, dir): (&Folder, &Path),
    to: Option<i64>,
    lock: Duration,
) -> anyhow::Result<()> {
    let status = migrate::status(target, folder)
        .await
        .map_err(|s| migrating::failure(&s))?;
    let (going, left) = going(&status, to);
    if !may_ask(folder, &going) {
        return Ok(());
    }
    let session = Session::connect(target, "apply").await?;
    let limits = Limits {
        lock,
        ..Limits::default()
    };
    let now = read_within(&session, limits).await?;
    drop(session);
    let asking = asking(folder, &going, &known(&now));
    let all = now.objects.keys().cloned().collect();
    let found = Found {
        going,
        left,
        definitions: fingerprints(&now, &all),
        server_version: now.server_version,
    };
    let missing = Proof::read(dir).missing(folder, &asking, &found);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = missing
        .iter()
        .map(|m| format!("\n  {}: {}", m.label, m.why))
        .collect();
    Err(anyhow::Error::new(Failure {
        code: CANNOT,
        message: format!(
            "{} migration(s) change who sees or writes rows and have not passed the visibility check:{}\n  \
             Run dbtune verify --migrations {} first; --unverified applies them without.",
            missing.len(),
            lines.concat(),
            dir.display()
        ),
    }))
}

/// Versions that will be applied, and those that are left out.
fn going(status: &Status, to: Option<i64>) -> (BTreeSet<i64>, BTreeSet<i64>) {
    let open = |state| matches!(state, State::Pending | State::OutOfOrder | State::HalfDone);
    let versions = status.lines.iter().filter(|l| open(l.state));
    versions
        .map(|l| l.version)
        .partition(|version| to.is_none_or(|to| *version <= to))
}
