//! `dbtune verify`

use super::Context;
use super::duration::duration;
use super::migrating::refused;
use super::paired::on_pair;
use super::proving;
use crate::db::{Defaults, Limits, Session, Target, resolve};
use crate::migrate::Folder;
use crate::model::{Gap, Persona, Report};
use crate::verify::{Options, Visibility, report, verify};
use std::path::PathBuf;
use std::time::Duration;

/// Prove that the pending migrations keep every persona's visible and writable rows
///
/// Two clones of the database are compared, the second with the pending migrations applied: what each persona of the
/// workload sees of every table with row-level security, and what it may write, which is tried and rolled back.
/// `--before URL --after URL` compares two databases that are there already, reading only.
/// Exit code 1: a persona sees or may write other rows; 3: there was no time to tell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A database before the change [default: a clone]
    #[arg(long, value_name = "URL", requires = "after")]
    pub before: Option<String>,
    /// The same data after it [default: a clone with the pending migrations]
    #[arg(long, value_name = "URL", requires = "before")]
    pub after: Option<String>,
    /// Whose personas to check with [default: from the configuration, or the only workload under benchmarks/]
    #[arg(long, value_name = "FILE")]
    pub workload: Option<PathBuf>,
    /// Folder of migrations in sqlx's format [default: from the configuration, or migrations]
    #[arg(long, value_name = "DIR", conflicts_with = "before")]
    pub migrations: Option<PathBuf>,
    /// What reading one table as one persona may take; where all rows would take longer, a sample is compared
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<Report> {
    // Read first, so that a broken file costs no clone.
    let mut file = context.workload(args.workload.as_deref())?;
    file.queries.clear();
    let check = async |before: &Target, after: &Target, writes: bool| {
        let session = Session::connect(before, "verify").await?;
        let defaults = Defaults {
            limits: Limits {
                statement: args.timeout,
                ..Limits::default()
            },
            ..Defaults::default()
        };
        let personas = resolve(&session, &file, defaults).await?.personas;
        drop(session);
        let options = Options {
            timeout: args.timeout,
            writes,
        };
        let found = compared(context, before, after, &personas, options).await?;
        anyhow::Ok((found, personas))
    };
    if let (Some(before), Some(after)) = (&args.before, &args.after) {
        let before = Target::resolve(Some(before), &context.env)?;
        let after = Target::resolve(Some(after), &context.env)?;
        return Ok(report(&check(&before, &after, false).await?.0));
    }
    let migrations = context.migrations(args.migrations.as_deref())?;
    let target = context.target()?;
    // Of the original: roles belong to the whole server, so that a clone shows them as the migrations left them.
    let was = proving::definitions(&target).await?;
    on_pair(
        context,
        &target,
        &migrations,
        async |before, after, applied| {
            let (mut found, personas) = check(before, after, true).await?;
            if applied.is_empty() {
                found.gaps.push(Gap {
                    what: "a change".to_owned(),
                    why: format!(
                        "no migration of {} is pending: both sides are the same",
                        migrations.display()
                    ),
                    remedy: Some("dbtune propose".to_owned()),
                });
                return Ok(report(&found));
            }
            let mut report = report(&found);
            let folder = Folder::read(&migrations).map_err(|p| refused(&p))?;
            let changes = proving::changes(was, after).await?;
            proving::judged(context, &changes, (&folder, applied), &mut report)?;
            let place = (migrations.as_path(), &folder, applied);
            if proving::note(place, &changes, (before, &personas), report.outcome).await? {
                let next = format!("dbtune apply --migrations {}", migrations.display());
                report.next = Some(next);
            }
            Ok(report)
        },
    )
    .await
}

async fn compared(
    context: &Context,
    before: &Target,
    after: &Target,
    personas: &[Persona],
    options: Options,
) -> anyhow::Result<Visibility> {
    let mut task = context.progress.start("verify", 0);
    let mut note = |at, total, text: &str| task.advance(at, total, text);
    Ok(verify(before, after, personas, options, &mut note).await?)
}
