//! `dbtune apply`

use super::duration::duration;
use super::migrating::{self, Teller};
use super::{Context, gaining, proving};
use crate::db::Blocker;
use crate::migrate::{self, Direction, Folder, Forward, Layout, Options, Outcome, Preview};
use crate::model::{Block, Cell, Grid, Report, Tone};
use std::path::PathBuf;
use std::time::Duration;

/// Apply pending migrations without stopping writers
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub shared: Shared,
    /// Folder of migrations [default: from the configuration, else `migrations`]
    #[arg(long, value_name = "DIR")]
    pub migrations: Option<PathBuf>,
    /// Which tool's files they are
    #[arg(long, value_name = "TOOL", default_value = "sqlx", value_parser = Layout::NAMES)]
    pub layout: String,
    /// Print every statement with its lock, and what stands in its way; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The last version to apply
    #[arg(long, value_name = "VERSION")]
    pub to: Option<i64>,
    /// Accept applied versions that are not in the folder
    #[arg(long)]
    pub ignore_missing: bool,
    /// Accept pending versions older than the newest applied one
    #[arg(long)]
    pub out_of_order: bool,
    /// Apply changes of who sees or writes rows that `dbtune verify` has not checked
    #[arg(long)]
    pub unverified: bool,
    /// Pause before a step while a replica is further behind than this
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_replica_lag: Option<Duration>,
    /// End an index build that makes a replica fall further behind than --max-replica-lag; without it the build goes on
    #[arg(long, requires = "max_replica_lag")]
    pub stop_on_lag: bool,
    /// Begin even where the disk seems too small for the new indexes
    #[arg(long)]
    pub ignore_disk: bool,
    /// Queries with their personas, whose plans show what a new index is good for [default: from the configuration]
    #[arg(long, value_name = "FILE")]
    pub workload: Option<PathBuf>,
    /// When all is applied, take back each new index that no plan of the workload uses, or that raised the planner cost
    /// of a query by more than 10 %; exit code 1 if there was one
    #[arg(long, conflicts_with = "dry_run")]
    pub verify_gain: bool,
}

/// What `apply` and `rollback` have in common.
#[derive(Debug, clap::Args)]
pub struct Shared {
    /// The longest a statement waits for a lock that writers queue up behind
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub lock_timeout: Duration,
    /// The longest a concurrent build or drop waits for other transactions; nobody queues up behind it
    #[arg(long, value_name = "TIME", default_value = "30min", value_parser = duration)]
    pub build_timeout: Duration,
    /// How long to go on trying after giving way to others
    #[arg(long, value_name = "TIME", default_value = "5min", value_parser = duration)]
    pub retry_for: Duration,
    /// How long to wait while another runner is at work
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub wait: Duration,
    /// Append what is done, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub audit_log: Option<PathBuf>,
}

impl Shared {
    pub fn options(&self) -> Options {
        Options {
            lock_timeout: self.lock_timeout,
            build_timeout: self.build_timeout,
            retry_for: self.retry_for,
            wait_for_runner: self.wait,
            ..Options::default()
        }
    }
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<Report> {
    let target = context.target()?;
    let layout = Layout::named(&args.layout).unwrap_or_default();
    let dir = context.migrations(args.migrations.as_deref())?;
    let folder = Folder::read_as(&dir, layout).map_err(|p| migrating::refused(&p))?;
    let mut options = Options {
        forward: Forward {
            to: args.to,
            ignore_missing: args.ignore_missing,
            out_of_order: args.out_of_order,
        },
        max_replica_lag: args.max_replica_lag,
        stop_on_lag: args.stop_on_lag,
        ignore_disk: args.ignore_disk,
        ..args.shared.options()
    };
    if args.dry_run {
        let preview = migrate::preview(&target, &folder, &options)
            .await
            .map_err(|s| migrating::failure(&s))?;
        return Ok(planned(&preview));
    }
    if !args.unverified {
        let lock = args.shared.lock_timeout;
        proving::demand(&target, (&folder, &dir), args.to, lock).await?;
    }
    let (gain, gap) = gaining::workload(&args, context, &target).await?;
    options.gain = gain;
    options.interrupt = migrating::interrupt()?;
    let mut teller = Teller::new(&context.progress, "apply", args.shared.audit_log.as_deref())?;
    let ended = migrate::apply(&target, &folder, &options, &mut |e| teller.tell(e)).await;
    let outcome = teller.finish(ended)?;
    let mut report = migrating::report("apply", "applied", &outcome);
    report.summary = summary(&outcome);
    report.next = (!outcome.done.is_empty()).then(|| "dbtune status".to_owned());
    report.gaps.extend(gap);
    gaining::add(&mut report, &outcome.verdicts, args.verify_gain);
    Ok(report)
}

fn summary(outcome: &Outcome) -> String {
    let up = outcome.done.iter().filter(|d| d.direction == Direction::Up);
    match up.count() {
        0 => "Nothing to apply: the database is up to date.".to_owned(),
        1 => "Applied 1 migration.".to_owned(),
        n => format!("Applied {n} migrations."),
    }
}

fn planned(preview: &Preview) -> Report {
    let migrations = {
        let mut labels: Vec<&str> = preview.steps.iter().map(|s| s.label.as_str()).collect();
        labels.dedup();
        labels.len()
    };
    let mut report = Report::new(
        "apply",
        match migrations {
            0 => "Nothing to apply: the database is up to date.".to_owned(),
            n => format!(
                "{n} migration(s) with {} statement(s) are pending. Nothing was changed.",
                preview.steps.len()
            ),
        },
    );
    if !preview.steps.is_empty() {
        let titles = ["Migration", "Statement", "Lock", "Writers", "Size", "Time"];
        let mut grid = Grid::new(&titles, &["Size", "Time"]);
        let mut last = "";
        for step in &preview.steps {
            let label = if step.label == last { "" } else { &step.label };
            last = &step.label;
            grid.rows.push(vec![
                label.into(),
                first_line(&step.sql).into(),
                match &step.lock {
                    Some(lock) if lock.on.name.is_empty() => lock.mode.to_string().into(),
                    Some(lock) => format!("{} on {}", lock.mode, lock.on).into(),
                    None => Cell::toned("none", Tone::Dim),
                },
                match &step.lock {
                    Some(lock) if lock.mode.blocks_readers() => {
                        Cell::toned("wait, and readers", Tone::Warn)
                    }
                    Some(lock) if lock.mode.blocks_writers() => Cell::toned("wait", Tone::Warn),
                    _ => Cell::toned("go on", Tone::Good),
                },
                step.bytes.map_or_else(String::new, size).into(),
                step.time
                    .map_or_else(String::new, |t| format!("~{:.1} s", t.as_secs_f64()))
                    .into(),
            ]);
        }
        report.blocks.push(Block::Table(grid));
        report.next = Some("dbtune apply".to_owned());
    }
    if !preview.blockers.is_empty() {
        report
            .blocks
            .push(Block::Heading("A concurrent build would wait for".into()));
        let lines: Vec<String> = preview.blockers.iter().map(ending).collect();
        report.blocks.push(Block::Text(lines.join("\n")));
    }
    if !preview.notes.is_empty() {
        report.blocks.push(Block::Text(preview.notes.join("\n")));
    }
    report.gaps.clone_from(&preview.gaps);
    report.data = preview_json(preview);
    report
}

fn ending(blocker: &Blocker) -> String {
    format!(
        "{blocker}  (end it: select pg_terminate_backend({});)",
        blocker.pid
    )
}

fn preview_json(preview: &Preview) -> serde_json::Value {
    let steps: Vec<serde_json::Value> = preview
        .steps
        .iter()
        .map(|s| {
            serde_json::json!({
                "migration": s.label,
                "sql": s.sql,
                "transaction": s.transaction,
                "lock": s.lock.as_ref().map(|l| l.mode.to_string()),
                "on": s.table().map(ToString::to_string),
                "blocks_writers": s.lock.as_ref().is_some_and(|l| l.mode.blocks_writers()),
                "estimated_bytes": s.bytes,
                "estimated_ms": s.time.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
            })
        })
        .collect();
    let blockers: Vec<String> = preview.blockers.iter().map(ToString::to_string).collect();
    serde_json::json!({ "steps": steps, "blockers": blockers, "notes": preview.notes })
}

fn first_line(sql: &str) -> String {
    let words: Vec<&str> = sql.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() > 60 {
        line.chars().take(59).chain(['…']).collect()
    } else {
        line
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        b if b >= 10 << 30 => format!("~{} GB", b >> 30),
        b if b >= 10 << 20 => format!("~{} MB", b >> 20),
        b => format!("~{} kB", b >> 10),
    }
}
