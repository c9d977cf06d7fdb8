//! `dbtune verify`

mod export;
mod matrix;
mod why;

use super::Context;
use super::duration::duration;
use super::migrating::refused;
use super::outputs;
use super::paired::on_pair;
use crate::db::{Defaults, Limits, Session, Target, resolve};
use crate::migrate::{Folder, Proof};
use crate::model::{Gap, Outcome, Persona, Report, WorkloadFile};
use crate::verify::{Findings, Options, report, verify};
use anyhow::Context as _;
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
    /// What the whole comparison may take; what is not decided by then is not shown (exit code 3)
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    pub timeout: Duration,
    #[command(flatten)]
    pub look: matrix::Look,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<Report> {
    outputs::check(&args.look.output)?;
    // Read first, so that a broken file costs no clone.
    let mut file = context.workload(args.workload.as_deref())?;
    file.queries.clear();
    if args.look.matrix {
        let against = args.look.against.as_deref();
        let mut report = matrix::run(against, &file, args.timeout, context).await?;
        outputs::write_all(&mut report, &args.look.output, context);
        return Ok(report);
    }
    if let Some(asked) = &args.look.why {
        return why::run(asked, &file, args.timeout, context).await;
    }
    if let Some(asked) = &args.look.export {
        return export::run(asked, &file, args.timeout, context).await;
    }
    Box::pin(compare(args, &file, context)).await
}

/// The database before and after a change.
async fn compare(args: Args, file: &WorkloadFile, context: &Context) -> anyhow::Result<Report> {
    let check = async |before: &Target, after: &Target, twins: bool| {
        let session = Session::connect(before, "verify").await?;
        let defaults = Defaults {
            limits: Limits::default(),
            ..Defaults::default()
        };
        let personas = resolve(&session, file, defaults).await?.personas;
        drop(session);
        let options = Options {
            time: args.timeout,
            twins,
        };
        compared(context, before, after, &personas, &options).await
    };
    if let (Some(before), Some(after)) = (&args.before, &args.after) {
        let before = Target::resolve(Some(before), &context.env)?;
        let after = Target::resolve(Some(after), &context.env)?;
        return Ok(report(&check(&before, &after, false).await?));
    }
    let migrations = context.migrations(args.migrations.as_deref())?;
    let target = context.target()?;
    on_pair(
        context,
        &target,
        &migrations,
        async |before, after, applied| {
            let mut found = check(before, after, true).await?;
            if applied == 0 {
                found.gaps.push(Gap {
                    what: "a change".to_owned(),
                    why: format!(
                        "no migration of {} is pending: both sides are the same",
                        migrations.display()
                    ),
                    remedy: Some("dbtune propose".to_owned()),
                });
            }
            let mut report = report(&found);
            if report.outcome == Outcome::Pass && applied > 0 {
                let folder = Folder::read(&migrations).map_err(|p| refused(&p))?;
                let proven =
                    Proof::add(&migrations, &folder, chrono::Utc::now()).with_context(|| {
                        format!("could not note the result in {}", migrations.display())
                    })?;
                if proven > 0 {
                    report.next = Some(format!(
                        "dbtune apply --migrations {}",
                        migrations.display()
                    ));
                }
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
    options: &Options,
) -> anyhow::Result<Findings> {
    let mut task = context.progress.start("verify", 0);
    let mut note = |at, total, text: &str| task.advance(at, total, text);
    Ok(verify(before, after, personas, options, &mut note).await?)
}
