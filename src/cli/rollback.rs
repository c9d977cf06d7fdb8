//! `dbtune rollback`

use super::apply::Shared;
use super::duration::duration;
use super::migrating::{self, Teller};
use super::{CANNOT, Context, Failure};
use crate::migrate::{self, Back, Folder, Layout, Options, Task};
use crate::model::Report;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Take back applied migrations, newest first
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub shared: Shared,
    /// Folder of migrations; not needed for what dbtune applied [default: from the configuration, else `migrations`]
    #[arg(long, value_name = "DIR")]
    pub migrations: Option<PathBuf>,
    /// Which tool's files they are
    #[arg(long, value_name = "TOOL", default_value = "sqlx", value_parser = Layout::NAMES)]
    pub layout: String,
    /// Take back so many
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with_all = ["to", "all"])]
    pub steps: usize,
    /// Take back everything newer than this version
    #[arg(long, value_name = "VERSION", conflicts_with = "all")]
    pub to: Option<i64>,
    /// Take back everything
    #[arg(long)]
    pub all: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Emergency: drop indexes at once, with a short lock, instead of concurrently
    #[arg(long)]
    pub now: bool,
    /// With --now, end sessions that stand in the way while idle in a transaction
    #[arg(long, requires = "now")]
    pub kill_blockers: bool,
    /// With --now, the longest that writers may wait at a time
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration, requires = "now")]
    pub now_lock_timeout: Duration,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<Report> {
    let target = context.target()?;
    let folder = folder(&args, context)?;
    let back = match (args.to, args.all) {
        (Some(version), _) => Back::To(version),
        (None, true) => Back::All,
        (None, false) => Back::Steps(args.steps),
    };
    let tasks = migrate::rollback_plan(&target, &folder, back)
        .await
        .map_err(|s| migrating::failure(&s))?;
    if tasks.is_empty() {
        let mut report = Report::new("rollback", "Nothing to take back: no migration is applied.");
        report.data = serde_json::json!({ "taken_back": [] });
        return Ok(report);
    }
    if !args.yes {
        confirm(&target.to_string(), &tasks)?;
    }
    let mut options = Options {
        now: args.now,
        kill_blockers: args.kill_blockers,
        interrupt: migrating::interrupt()?,
        ..args.shared.options()
    };
    if args.now {
        options.lock_timeout = args.now_lock_timeout;
    }
    let mut teller = Teller::new(
        &context.progress,
        "rollback",
        args.shared.audit_log.as_deref(),
    )?;
    let ended = migrate::rollback(&target, &folder, back, &options, &mut |e| teller.tell(e)).await;
    let outcome = teller.finish(ended)?;
    let left = migrate::status(&target, &folder)
        .await
        .map_err(|s| migrating::failure(&s))?;
    let applied = left.lines.iter().filter(|l| l.applied_at.is_some()).count();
    let mut report = migrating::report("rollback", "taken_back", &outcome);
    report.summary = format!(
        "Took back {} migration(s); {applied} left applied.",
        outcome.done.len()
    );
    report.next = Some("dbtune status".to_owned());
    Ok(report)
}

/// What was not asked for may be missing or broken: the ledger has the texts, and an emergency is no time for a
/// file's syntax.
fn folder(args: &Args, context: &Context) -> anyhow::Result<Folder> {
    let layout = Layout::named(&args.layout).unwrap_or_default();
    if let Some(dir) = &args.migrations {
        return Folder::read_as(dir, layout).map_err(|p| migrating::refused(&p));
    }
    let read = match context.migrations(None) {
        Ok(dir) if !dir.exists() => return Ok(Folder::default()),
        Ok(dir) => Folder::read_as(&dir, layout).map_err(|p| migrating::refused(&p)),
        Err(error) => Err(error),
    };
    Ok(read.unwrap_or_else(|error| {
        context
            .progress
            .say(&format!("{error:#}\ngoing on with what the ledger holds"));
        Folder::default()
    }))
}

fn confirm(target: &str, tasks: &[Task]) -> anyhow::Result<()> {
    let refuse = |message: &str| {
        anyhow::Error::new(Failure {
            code: CANNOT,
            message: message.to_owned(),
        })
    };
    if !std::io::stdin().is_terminal() {
        return Err(refuse(
            "rollback changes the database and nobody can be asked here: pass --yes. Nothing was changed.",
        ));
    }
    let mut err = std::io::stderr().lock();
    writeln!(err, "Take back from {target}:")?;
    for task in tasks {
        writeln!(err, "  {}", task.label())?;
    }
    write!(err, "Go on? [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        Ok(())
    } else {
        Err(refuse("not confirmed. Nothing was changed."))
    }
}
