//! The files a command is given: configuration and workload.

use super::Context;
use crate::config::{Settings, parse_workload};
use crate::model::WorkloadFile;
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};

const CONFIGURATION: &str = "dbtune.yaml";
/// Where a workload is looked for when nobody names one.
const WORKLOADS: &str = "benchmarks";

impl Context {
    /// `--config`, else `dbtune.yaml` in the current folder, else the defaults.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let (path, named) = match &self.global.config {
            Some(path) => (path.clone(), true),
            None => (PathBuf::from(CONFIGURATION), false),
        };
        if !named && !path.exists() {
            return Ok(Settings::default());
        }
        let text = read(&path)?;
        let mut settings = Settings::parse(&path.display().to_string(), &text)?;
        // Paths in the file are meant from where the file is.
        let folder = path.parent().unwrap_or(Path::new(""));
        let paths = [&mut settings.migrations, &mut settings.workload];
        for path in paths.into_iter().flatten() {
            *path = folder.join(&*path);
        }
        Ok(settings)
    }

    /// The workload that `given` or the configuration names, else the only one under `benchmarks/`.
    pub fn workload(&self, given: Option<&Path>) -> anyhow::Result<WorkloadFile> {
        let path = match given.map(Path::to_path_buf).or(self.settings()?.workload) {
            Some(path) => path,
            None => only_workload()?,
        };
        Ok(parse_workload(&path.display().to_string(), &read(&path)?)?)
    }

    /// The same for a command that does without one: where none is named and none is found, it is empty.
    pub fn workload_if_any(&self, given: Option<&Path>) -> anyhow::Result<WorkloadFile> {
        let named = given.is_some() || self.settings()?.workload.is_some();
        if named || only_workload().is_ok() {
            self.workload(given)
        } else {
            Ok(WorkloadFile::default())
        }
    }

    /// The folder that `given` or the configuration names, else `migrations`.
    pub fn migrations(&self, given: Option<&Path>) -> anyhow::Result<PathBuf> {
        Ok(match given {
            Some(path) => path.to_path_buf(),
            None => self
                .settings()?
                .migrations
                .unwrap_or_else(|| PathBuf::from("migrations")),
        })
    }
}

pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))
}

fn only_workload() -> anyhow::Result<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(WORKLOADS)
        .map(|entries| {
            entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| {
                    let ending = path.extension().and_then(|e| e.to_str());
                    matches!(ending, Some("yaml" | "yml" | "sql"))
                })
                .collect()
        })
        .unwrap_or_default();
    found.sort();
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => {
            bail!("there are several workloads under {WORKLOADS}/: name one with --workload")
        }
        (None, _) => bail!(
            "no workload: name one with --workload FILE (queries with their personas, in YAML or in SQL with `-- @query` lines)"
        ),
    }
}
