//! `dbtune status`

use super::Context;
use super::migrating;
use crate::migrate::{self, Folder, Layout, Line, State, Status};
use crate::model::{Block, Cell, Grid, Outcome, Report, Tone};
use std::path::PathBuf;

/// Show which migrations are applied, pending, edited, missing or half done
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of migrations [default: from the configuration, else `migrations`]
    #[arg(long, value_name = "DIR")]
    pub migrations: Option<PathBuf>,
    /// Which tool's files they are
    #[arg(long, value_name = "TOOL", default_value = "sqlx", value_parser = Layout::NAMES)]
    pub layout: String,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<Report> {
    let layout = Layout::named(&args.layout).unwrap_or_default();
    let dir = context.migrations(args.migrations.as_deref())?;
    let folder = if dir.exists() {
        Folder::read_as(&dir, layout).map_err(|p| migrating::refused(&p))?
    } else {
        context.progress.say(&format!(
            "{}: no such folder; showing what the ledger knows",
            dir.display()
        ));
        Folder::default()
    };
    let status = migrate::status(&context.target()?, &folder)
        .await
        .map_err(|s| migrating::failure(&s))?;
    Ok(report(&status))
}

fn report(status: &Status) -> Report {
    let applied = status
        .lines
        .iter()
        .filter(|l| l.applied_at.is_some())
        .count();
    let mut report = Report::new(
        "status",
        format!("{applied} applied, {} pending.", status.pending()),
    );
    if !status.is_clean() {
        report.outcome = Outcome::Fail;
        report.summary.push_str(" Something needs a look.");
    }
    if !status.lines.is_empty() {
        let mut grid = Grid::new(&["Version", "Migration", "State", "Applied", "Notes"], &[]);
        grid.rows = status.lines.iter().map(row).collect();
        report.blocks.push(Block::Table(grid));
    }
    if !status.invalid.is_empty() {
        report.blocks.push(Block::Text(format!(
            "Invalid indexes, maintained but never used: {}. Drop them (drop index concurrently …), or rebuild them (reindex index concurrently …).",
            status.invalid.join(", ")
        )));
    }
    if !status.unused.is_empty() {
        report.blocks.push(Block::Text(format!(
            "Made by a migration and used by no query for a week on this server (replicas count apart): {}.",
            status.unused.join(", ")
        )));
    }
    report.next = next(status);
    report.data = serde_json::to_value(status).unwrap_or_default();
    report
}

fn row(line: &Line) -> Vec<Cell> {
    let (text, tone) = match line.state {
        State::Applied => ("applied", Tone::Good),
        State::Pending => ("pending", Tone::Plain),
        State::OutOfOrder => ("out of order", Tone::Warn),
        State::Edited => ("edited", Tone::Bad),
        State::Missing => ("missing", Tone::Bad),
        State::HalfDone => ("half done", Tone::Bad),
    };
    let mut notes = line.drift.clone();
    if !line.reversible {
        notes.push("no down file".to_owned());
    }
    vec![
        line.version.to_string().into(),
        line.slug.as_str().into(),
        Cell::toned(text, tone),
        line.applied_at
            .map_or_else(String::new, |t| t.format("%Y-%m-%d %H:%M").to_string())
            .into(),
        Cell::toned(
            notes.join("; "),
            if line.drift.is_empty() {
                Tone::Dim
            } else {
                Tone::Warn
            },
        ),
    ]
}

fn next(status: &Status) -> Option<String> {
    let any = |state| status.lines.iter().any(|l| l.state == state);
    if any(State::HalfDone) {
        return Some("dbtune apply (or `dbtune rollback` to take the rest back)".to_owned());
    }
    (any(State::Pending) && !any(State::Edited) && !any(State::Missing))
        .then(|| "dbtune apply --dry-run".to_owned())
}
