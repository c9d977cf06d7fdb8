//! `dbtune verify`

use super::Context;
use super::duration::duration;
use super::migrating::{self, refused};
use super::paired::{Wanted, on_clones, on_pair};
use crate::db::{Defaults, Session, Target, resolve};
use crate::migrate::{Folder, Goal, Proof};
use crate::model::{Gap, Outcome, Report, WorkloadFile};
use crate::verify::{Evidence, Findings, Options, report, verify};
use anyhow::Context as _;
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
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<Report> {
    // Read first, so that a broken file costs no clone.
    let mut file = context.workload_if_any(args.workload.as_deref())?;
    file.queries.clear();
    if let (Some(before), Some(after)) = (&args.before, &args.after) {
        let before = Target::resolve(Some(before), &context.env)?;
        let after = Target::resolve(Some(after), &context.env)?;
        let (found, _) = two_databases(&args, context, &file, (&before, &after)).await?;
        return Ok(report(&found));
    }
    let migrations = context.migrations(args.migrations.as_deref())?;
    let target = context.target()?;
    on_pair(
        context,
        &target,
        &migrations,
        async |before, after, applied| {
            let (mut found, _) = compared(&args, context, &file, (before, after), true).await?;
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
            compared(args, context, file, (&b.target, &a.target), false).await
        })
        .await
    })
    .await
}

/// `twins` where both are clones of one database.
async fn compared(
    args: &Args,
    context: &Context,
    file: &WorkloadFile,
    (before, after): (&Target, &Target),
    twins: bool,
) -> anyhow::Result<(Findings, Evidence)> {
    let session = Session::connect(before, "verify").await?;
    let personas = resolve(&session, file, Defaults::default()).await?.personas;
    drop(session);
    let options = Options {
        time: args.timeout,
        twins,
        most: args.identities,
    };
    let mut task = context.progress.start("verify", 0);
    let mut note = |at, total, text: &str| task.advance(at, total, text);
    Ok(verify(before, after, &personas, &options, &mut note).await?)
}
