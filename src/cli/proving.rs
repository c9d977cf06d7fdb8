//! The note that `verify` leaves and `apply` wants to see.

use super::{CANNOT, Context, Failure, migrating};
use crate::db::{Limits, Session, Target};
use crate::migrate::{self, Folder, Found, Proof, Shown, State, Status, asking, marked, may_ask};
use crate::model::Outcome;
use crate::verify::access::{self, Definitions, fingerprints, known, read_within};
use crate::verify::{Allowed, Evidence};
use anyhow::Context as _;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// What decides who sees and writes rows in the database behind `target`.
pub(super) async fn definitions(target: &Target) -> anyhow::Result<Definitions> {
    let session = Session::connect(target, "verify").await?;
    Ok(access::read(&session).await?)
}

/// What may change: by the configuration, and by what `propose` wrote.
pub(super) fn allowed(
    context: &Context,
    (folder, applied): (&Folder, &[String]),
) -> anyhow::Result<Allowed> {
    Ok(Allowed {
        access: context.settings()?.allowed_access,
        today: chrono::Utc::now().date_naive(),
        generated: marked(folder, applied)
            .into_iter()
            .map(str::to_owned)
            .collect(),
    })
}

/// Notes in `dir` what the check of the migrations `applied` has shown, or that it has not. Whether one of them asks for it.
pub(super) fn note(
    (dir, folder, applied): (&Path, &Folder, &[String]),
    evidence: Evidence,
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
    if asking(folder, &versions, &evidence.known).is_empty() {
        return Ok(false);
    }
    let shown = Shown {
        before: evidence.before,
        after: evidence.after,
        identities: evidence.identities,
        server_version: evidence.server_version,
        data: evidence.data,
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
