//! `dbtune verify --export pgtap DIR`

use super::matrix::on_clone;
use crate::cli::Context;
use crate::db::{Limits, Session, read_catalog};
use crate::model::{Block, Grid, Outcome, Report, WorkloadFile};
use crate::verify::matrix::everybody;
use crate::verify::pgtap::{Exported, export};
use anyhow::{Context as _, bail};
use std::path::Path;
use std::time::Duration;

pub(super) async fn run(
    asked: &[String],
    file: &WorkloadFile,
    (time, most): (Duration, usize),
    context: &Context,
) -> anyhow::Result<Report> {
    let [format, folder] = asked else {
        bail!("--export takes a format and a folder");
    };
    if format != "pgtap" {
        bail!("--export {format}: there is no such format, only pgtap");
    }
    let folder = Path::new(folder);
    std::fs::create_dir_all(folder)
        .with_context(|| format!("could not make {}", folder.display()))?;
    let exported = on_clone(context, file, async |clone, personas| {
        let session = Session::connect(clone, "verify").await?;
        let catalog = read_catalog(&session).await?;
        let (everybody, gaps) = everybody(&session, &catalog, personas, most).await?;
        drop(session);
        let limits = Limits {
            statement: time,
            ..Limits::default()
        };
        let mut task = context.progress.start("export", 0);
        let mut note = |at, total, text: &str| task.advance(at, total, text);
        let mut exported = export(clone, &everybody, &file.personas, limits, &mut note).await?;
        exported.gaps.extend(gaps);
        Ok(exported)
    });
    let exported = exported.await?;
    for (name, text) in &exported.files {
        let path = folder.join(name);
        std::fs::write(&path, text)
            .with_context(|| format!("could not write {}", path.display()))?;
    }
    Ok(report(&exported, folder))
}

fn report(exported: &Exported, folder: &Path) -> Report {
    let (files, tests) = (exported.files.len(), exported.tests);
    let summary = format!("{tests} tests in {files} files under {}", folder.display());
    let mut report = Report::new("verify", summary);
    let mut grid = Grid::new(&["written"], &[]);
    for (name, _) in &exported.files {
        grid.rows.push(vec![name.as_str().into()]);
    }
    if files > 0 {
        report.blocks.push(Block::Table(grid));
        report.next = Some(format!("pg_prove -d DATABASE {}/*.sql", folder.display()));
    } else {
        report.outcome = Outcome::Inconclusive;
    }
    report.gaps.clone_from(&exported.gaps);
    let names: Vec<&str> = exported
        .files
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    report.data = serde_json::json!({ "files": names, "tests": tests });
    report
}
