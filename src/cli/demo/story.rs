//! What the demo tells: a line a stage while it runs, and a report at the end.

use crate::bench::{self, Gate, Judged};
use crate::cli::Context;
use crate::model::{Block, Cell, Finding, Grid, Outcome, Report, Severity, Tone};
use crate::propose::{Advice, left_alone};
use crate::verify::{self, Findings};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) struct Story<'a> {
    context: &'a Context,
    begun: Instant,
    number: usize,
    steps: Vec<String>,
    audit: Option<(String, Grid)>,
    restored: bool,
}

impl<'a> Story<'a> {
    pub(super) fn begin(context: &'a Context) -> Self {
        Self {
            context,
            begun: Instant::now(),
            number: 0,
            steps: Vec::new(),
            audit: None,
            restored: false,
        }
    }

    pub(super) fn step(&mut self, text: &str) {
        self.number += 1;
        let line = format!(
            "{:>2}. {text} ({:.0} s)",
            self.number,
            self.begun.elapsed().as_secs_f64()
        );
        self.context.progress.say(&line);
        self.steps.push(line);
    }

    pub(super) fn audited(&mut self, summary: String, findings: &[Finding]) {
        self.step(&format!("Audit: {summary}"));
        self.audit = Some((summary, by_rule(findings)));
    }

    pub(super) fn proposed(&mut self, advice: &Advice) {
        let indexes = advice
            .proposals
            .iter()
            .filter(|p| p.bytes.is_some())
            .count();
        self.step(&format!(
            "Propose: {indexes} indexes and {} policy rewrites, each tried on a clone",
            advice.proposals.len() - indexes
        ));
    }

    pub(super) fn measured(&mut self, judged: &Judged) {
        self.step(&format!("Bench: {}", bench::summary(&judged.comparisons)));
    }

    pub(super) fn verified(&mut self, visibility: &Findings) {
        self.step(&format!("Verify: {}", verify::report(visibility).summary));
    }

    pub(super) fn took_back(&mut self, files: usize, there: Duration, back: Duration, same: bool) {
        self.restored = same;
        let schema = if same {
            "is what it was"
        } else {
            "DIFFERS from what it was"
        };
        self.step(&format!(
            "Apply {files} migrations in {:.1} s, roll back in {:.1} s: the schema {schema}",
            there.as_secs_f64(),
            back.as_secs_f64()
        ));
    }

    pub(super) fn end(
        &mut self,
        output: &Path,
        advice: &Advice,
        (judged, gate): (&Judged, &Gate),
        visibility: &Findings,
    ) -> Report {
        let bench = bench::report(judged, gate);
        let verify = verify::report(visibility);
        let all_well =
            bench.outcome == Outcome::Pass && verify.outcome == Outcome::Pass && self.restored;
        let mut report = Report::new("demo", bench.summary.clone());
        report.summary = format!(
            "{}. {}.{} The page to look at: {}",
            bench.summary,
            verify.summary,
            if self.restored {
                " Everything was taken back."
            } else {
                " The rollback left something behind."
            },
            output.join("report.html").display()
        );
        report.outcome = match (all_well, bench.outcome, verify.outcome) {
            (true, _, _) => Outcome::Pass,
            (_, Outcome::Fail, _) | (_, _, Outcome::Fail) => Outcome::Fail,
            _ if !self.restored => Outcome::Fail,
            _ => Outcome::Inconclusive,
        };
        report
            .blocks
            .push(Block::Heading("What was done".to_owned()));
        report.blocks.push(Block::Text(self.steps.join("\n")));
        if let Some((summary, grid)) = self.audit.take() {
            report.blocks.push(Block::Heading("Audit".to_owned()));
            report.blocks.push(Block::Text(summary));
            report.blocks.push(Block::Table(grid));
        }
        report.blocks.push(Block::Heading("Proposals".to_owned()));
        report.blocks.push(Block::Table(proposals(advice)));
        report.blocks.extend(left_alone(&advice.left));
        report.blocks.push(Block::Heading(
            "Before and after, as the personas that run them".to_owned(),
        ));
        report.blocks.extend(bench.blocks);
        report
            .blocks
            .push(Block::Heading("Who sees what".to_owned()));
        report.blocks.extend(verify.blocks);
        report.gaps.extend(advice.gaps.clone());
        report.gaps.extend(bench.gaps);
        report.gaps.extend(verify.gaps);
        report.data = serde_json::json!({
            "proposals": advice.proposals,
            "bench": bench.data,
            "verify": verify.data,
            "restored": self.restored,
            "seconds": self.begun.elapsed().as_secs_f64(),
        });
        report
    }
}

/// How often each rule fired, worst first.
fn by_rule(findings: &[Finding]) -> Grid {
    let mut counts: BTreeMap<(std::cmp::Reverse<Severity>, &str), Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        counts
            .entry((std::cmp::Reverse(finding.severity), &finding.rule))
            .or_default()
            .push(finding);
    }
    let mut grid = Grid::new(&["severity", "rule", "found", "for example"], &["found"]);
    for ((severity, rule), found) in counts {
        let tone = match severity.0 {
            Severity::Error => Tone::Bad,
            Severity::Warning => Tone::Warn,
            Severity::Note => Tone::Dim,
        };
        let example = found
            .first()
            .map(|f| f.object.to_string())
            .unwrap_or_default();
        grid.rows.push(vec![
            Cell::toned(severity.0.label(), tone),
            rule.into(),
            found.len().to_string().into(),
            example.into(),
        ]);
    }
    grid
}

fn proposals(advice: &Advice) -> Grid {
    let mut grid = Grid::new(&["proposal", "kind", "why"], &[]);
    for proposal in &advice.proposals {
        let kind = if proposal.bytes.is_some() {
            "index"
        } else {
            "policy"
        };
        grid.rows.push(vec![
            proposal.slug.as_str().into(),
            kind.into(),
            proposal.reason.as_str().into(),
        ]);
    }
    grid
}
