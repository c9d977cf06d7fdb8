//! `dbtune seed`: deterministic data for the demo platform, or for any schema.

use super::Context;
use super::given::read;
use crate::db::Session;
use crate::model::{Block, Grid, Report};
use crate::seed::{self, Existing, Spec, Summary};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to generate; without it, rows are derived from the schema itself
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Multiplies the number of rows of every table that is not fixed
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Without a specification: rows of each table at scale 1
    #[arg(long, default_value_t = 1_000)]
    rows: u64,
    /// Without a specification: the seed of every draw
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Empty the tables first
    #[arg(long, conflicts_with = "append")]
    truncate: bool,
    /// Go on after the rows that are there, taken for the first ones of the same specification
    #[arg(long)]
    append: bool,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<Report> {
    let session = context.connect("seed").await?;
    let mut gaps = Vec::new();
    let spec = if let Some(path) = &args.spec {
        Spec::parse(&read(path)?, &path.display().to_string())?
    } else {
        let derived = seed::derive_from(&session, args.rows, args.seed).await?;
        gaps = derived.gaps;
        derived.spec
    };
    let options = seed::Options {
        scale: args.scale,
        existing: match (args.truncate, args.append) {
            (true, _) => Existing::Truncate,
            (_, true) => Existing::Append,
            _ => Existing::Refuse,
        },
        analyze: true,
    };
    let summary = fill(&session, &spec, options, context).await?;
    let mut report = report(&summary);
    report.gaps = gaps;
    Ok(report)
}

/// Loads `spec` with progress on standard error.
pub(super) async fn fill(
    session: &Session,
    spec: &Spec,
    options: seed::Options,
    context: &Context,
) -> anyhow::Result<Summary> {
    let mut task = context.progress.start("seed", 1);
    let mut progress = |table: &crate::model::Name, done: u64, total: u64| {
        task.advance(done, total, &table.to_string());
    };
    Ok(seed::run(session, spec, options, &mut progress).await?)
}

fn report(summary: &Summary) -> Report {
    let mut report = Report::new(
        "seed",
        format!(
            "{} rows in {} tables in {:.1} s (seed {}, scale {}).",
            summary.rows,
            summary.tables.len(),
            summary.seconds,
            summary.seed,
            summary.scale
        ),
    );
    let mut grid = Grid::new(&["table", "rows", "seconds"], &["rows", "seconds"]);
    for table in &summary.tables {
        grid.rows.push(vec![
            table.table.to_string().into(),
            table.rows.to_string().into(),
            format!("{:.2}", table.seconds).into(),
        ]);
    }
    report.blocks.push(Block::Table(grid));
    report.data = serde_json::json!(summary);
    report
}
