//! `dbtune verify`

mod export;
mod matrix;
mod why;

use super::duration::duration;
use super::migrating::{self, refused};
use super::paired::{Wanted, on_clones, on_pair};
use super::{Context, outputs, proving};
use crate::db::{Defaults, Session, Target, resolve};
use crate::migrate::{Folder, Goal};
use crate::model::{Gap, Report, WorkloadFile};
use crate::verify::access::Definitions;
use crate::verify::{Evidence, Findings, Options, report, verify};
use std::path::PathBuf;
use std::time::Duration;

/// Prove that the pending migrations keep who sees and who may write which rows
///
/// Two clones of the database are compared, the second with the pending migrations applied. For every identity that a policy
/// can tell apart, and every table that the change can reach, what PostgreSQL would apply is evaluated as that role: for every
/// row, and for rows that do not exist yet. Access by other ways than policies (grants, views, owners, triggers …) is compared
/// as well. `--before URL --after URL` compares clones of two databases that are there already.
/// Exit code 1: somebody sees or may write other rows, or access changed; 3: it could not be shown.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A database before the change, which is cloned [default: --db]
    #[arg(long, value_name = "URL", requires = "after")]
    pub before: Option<String>,
    /// The same data after it [default: a clone with the pending migrations]
    #[arg(long, value_name = "URL", requires = "before")]
    pub after: Option<String>,
    /// Whose personas to look with, beside the identities that are found [default: from the configuration, or the only
    /// workload under benchmarks/, if there is one]
    #[arg(long, value_name = "FILE")]
    pub workload: Option<PathBuf>,
    /// Folder of migrations in sqlx's format [default: from the configuration, or migrations]
    #[arg(long, value_name = "DIR", conflicts_with = "before")]
    pub migrations: Option<PathBuf>,
    /// How many identities to find in policies and data beside the personas of the workload; 0 for none
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub identities: usize,
    /// What the whole comparison may take; what is not decided by then is not shown
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    pub timeout: Duration,
    #[command(flatten)]
    pub look: matrix::Look,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<Report> {
    outputs::check(&args.look.output)?;
    // Read first, so that a broken file costs no clone.
    let mut file = context.workload_if_any(args.workload.as_deref())?;
    file.queries.clear();
    if args.look.matrix {
        let against = args.look.against.as_deref();
        let mut report =
            matrix::run(against, &file, (args.timeout, args.identities), context).await?;
        outputs::write_all(&mut report, &args.look.output, context);
        return Ok(report);
    }
    if let Some(asked) = &args.look.why {
        return why::run(asked, &file, args.timeout, context).await;
    }
    if let Some(asked) = &args.look.export {
        return export::run(asked, &file, (args.timeout, args.identities), context).await;
    }
    Box::pin(compare(args, &file, context)).await
}

/// The database before and after a change.
async fn compare(args: Args, file: &WorkloadFile, context: &Context) -> anyhow::Result<Report> {
    if let (Some(before), Some(after)) = (&args.before, &args.after) {
        let before = Target::resolve(Some(before), &context.env)?;
        let after = Target::resolve(Some(after), &context.env)?;
        let (found, _) = two_databases(&args, context, file, (&before, &after)).await?;
        return Ok(report(&found));
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
            let folder = Folder::read(&migrations).map_err(|p| refused(&p))?;
            let options = Options {
                time: args.timeout,
                twins: true,
                most: args.identities,
                allowed: proving::allowed(context, (&folder, applied))?,
            };
            let sides = (before, after);
            let (mut found, evidence) = compared(context, file, sides, Some(was), &options).await?;
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
            let place = (migrations.as_path(), &folder, applied);
            if proving::note(place, evidence, report.outcome)? {
                let next = format!("dbtune apply --migrations {}", migrations.display());
                report.next = Some(next);
            }
            Ok(report)
        },
    )
    .await
}

/// Clones of both, because a comparison makes tables of its own.
async fn two_databases(
    args: &Args,
    context: &Context,
    file: &WorkloadFile,
    (before, after): (&Target, &Target),
) -> anyhow::Result<(Findings, Evidence)> {
    let as_it_is = |part| {
        [Wanted {
            part,
            folder: Folder::default(),
            goal: Goal::Unchanged,
        }]
    };
    let (was, is) = (as_it_is("before"), as_it_is("after"));
    let interrupt = migrating::interrupt()?;
    on_clones(context, interrupt, before, (&was, &[]), async |b| {
        let interrupt = migrating::interrupt()?;
        on_clones(context, interrupt, after, (&is, &[]), async |a| {
            let ([b], [a]) = (b, a) else {
                anyhow::bail!("a clone of each database was asked for");
            };
            let options = Options {
                time: args.timeout,
                twins: false,
                most: args.identities,
                allowed: proving::allowed(context, (&Folder::default(), &[]))?,
            };
            compared(context, file, (&b.target, &a.target), None, &options).await
        })
        .await
    })
    .await
}

async fn compared(
    context: &Context,
    file: &WorkloadFile,
    (before, after): (&Target, &Target),
    was: Option<Definitions>,
    options: &Options,
) -> anyhow::Result<(Findings, Evidence)> {
    let session = Session::connect(before, "verify").await?;
    let personas = resolve(&session, file, Defaults::default()).await?.personas;
    drop(session);
    let mut task = context.progress.start("verify", 0);
    let mut note = |at, total, text: &str| task.advance(at, total, text);
    Ok(verify(before, after, was, &personas, options, &mut note).await?)
}
