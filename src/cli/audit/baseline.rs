//! Findings that were there before.

use crate::cli::given;
use crate::model::{Excuse, Finding, Object};
use anyhow::{Context as _, bail};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;

/// What an earlier report found, by rule and object.
pub(super) struct Baseline {
    known: BTreeSet<(String, Object)>,
}

/// How two audits compare.
pub(super) struct Compared {
    /// Findings that stand in both.
    pub(super) known: usize,
    /// Findings of the earlier one that are there no more.
    pub(super) gone: usize,
}

/// As much of the JSON report as matters here.
#[derive(Deserialize)]
struct Earlier {
    command: String,
    findings: Vec<EarlierFinding>,
}

#[derive(Deserialize)]
struct EarlierFinding {
    rule: String,
    object: Object,
    #[serde(default)]
    excuse: Option<Excuse>,
}

impl Baseline {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = given::read(path)?;
        let earlier: Earlier = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is no report of `dbtune audit --format json`",
                path.display()
            )
        })?;
        if earlier.command != "audit" {
            bail!(
                "{} is a report of `dbtune {}`, expected one of `dbtune audit --format json`",
                path.display(),
                earlier.command
            );
        }
        let known = earlier
            .findings
            .into_iter()
            // What was waived then was never accepted for longer than its waiver holds.
            .filter(|f| !matches!(f.excuse, Some(Excuse::Waived { .. })))
            .map(|f| (f.rule, f.object))
            .collect();
        Ok(Self { known })
    }

    /// Marks what was known. `judged` is whether a rule was run on everything: of the others, nothing is gone.
    pub(super) fn compare(
        mut self,
        findings: &mut [Finding],
        judged: impl Fn(&str) -> bool,
    ) -> Compared {
        let mut known = 0;
        for finding in findings.iter_mut() {
            let identity = (finding.rule.clone(), finding.object.clone());
            if self.known.contains(&identity) && finding.excuse.is_none() {
                finding.excuse = Some(Excuse::Known);
                known += 1;
            }
        }
        for finding in findings {
            let (rule, object) = finding.identity();
            self.known.remove(&(rule.to_owned(), object.clone()));
        }
        let gone = self.known.iter().filter(|(rule, _)| judged(rule)).count();
        Compared { known, gone }
    }
}
