//! The files that a report is written to beside what is printed.

use super::Context;
use crate::model::{Gap, Outcome, Report};
use crate::report::{Style, format, format_of_file};
use anyhow::Context as _;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

/// Fails where one of the files cannot be written: said before minutes are spent on what goes into it. Leaves them as they
/// are.
pub(super) fn check(paths: &[PathBuf]) -> anyhow::Result<()> {
    for path in paths {
        let is_new = !path.exists();
        let opened = OpenOptions::new().append(true).create(true).open(path);
        opened.with_context(|| format!("cannot write {}", path.display()))?;
        if is_new {
            // Nothing is lost where it stays: it is empty, and is to be written.
            let _ = std::fs::remove_file(path);
        }
    }
    Ok(())
}

/// Writes the report to each file. One that cannot be written any more is named in the report, which then does not pass.
pub(super) fn write_all(report: &mut Report, paths: &[PathBuf], context: &Context) {
    let written = paths
        .iter()
        .map(|path| (path, write(report, path, context)));
    let failed: Vec<Gap> = written
        .filter_map(|(path, written)| {
            Some(Gap {
                what: path.display().to_string(),
                why: format!("{:#}", written.err()?),
                remedy: None,
            })
        })
        .collect();
    if !failed.is_empty() && report.outcome == Outcome::Pass {
        report.outcome = Outcome::Inconclusive;
    }
    report.gaps.extend(failed);
}

/// Writes the report in the format that the file's ending names, else in that of the run.
pub(super) fn write(report: &Report, path: &Path, context: &Context) -> anyhow::Result<()> {
    let format = format_of_file(path)
        .filter(|f| f.shows(&report.command))
        .or_else(|| format(&context.global.format));
    let mut bytes = Vec::new();
    let style = Style {
        color: false,
        width: 100,
        ascii: false,
    };
    if let Some(format) = format {
        (format.render)(report, style, &mut bytes)?;
    }
    std::fs::write(path, bytes).with_context(|| format!("could not write {}", path.display()))
}
