//! Comparisons become a report.

use super::comparison::{Measured, compare_all};
use super::gate::Gate;
use super::latencies::time;
use super::picture;
use crate::model::{
    Block, Cell, Check, CheckResult, Comparison, Gap, Grid, Outcome, Report, Side, Tone, Verdict,
};
use crate::report::sparkline;

/// Every query's comparison, worst first, and what follows from them.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    pub comparisons: Vec<Comparison>,
    pub outcome: Outcome,
    /// Whether a slow query fails the run.
    pub gated: bool,
    pub gaps: Vec<Gap>,
}

/// Compares all; `gated` is whether a slow query fails the run. Different answers always do.
pub fn judge(measured: &[Measured], gate: &Gate, gated: bool) -> Judged {
    let mut gaps = Vec::new();
    let mut kept = Vec::new();
    for one in measured {
        if let (Some(before), Some(_)) = (&one.before.error, &one.after.error) {
            gaps.push(Gap {
                what: one.query.clone(),
                why: format!("fails on both sides: {before}"),
                remedy: None,
            });
            continue;
        }
        if !one.repeatable && one.before.digests != one.after.digests {
            gaps.push(Gap {
                what: format!("rows of {}", one.query),
                why: "only their number was compared: the statement leaves open which rows it returns (ties under LIMIT, \
                      or another answer each time)"
                    .to_owned(),
                remedy: None,
            });
        }
        kept.push(one);
    }
    let mut comparisons = compare_all(&kept, gate);
    comparisons.sort_by(|a, b| {
        a.verdict
            .cmp(&b.verdict)
            .then(a.gain.total_cmp(&b.gain))
            .then_with(|| a.query.cmp(&b.query))
    });
    let outcome = outcome(&comparisons, gated);
    Judged {
        comparisons,
        outcome,
        gated,
        gaps,
    }
}

fn outcome(comparisons: &[Comparison], gated: bool) -> Outcome {
    let any = |of: &[Verdict]| {
        let mut counted = comparisons.iter().filter(|c| c.allowed.is_none());
        counted.any(|c| of.contains(&c.verdict))
    };
    let bad = [Verdict::Slower, Verdict::OverSlo, Verdict::Costlier];
    if any(&[Verdict::Differs]) || gated && any(&bad) {
        Outcome::Fail
    } else if gated && (any(&[Verdict::Inconclusive]) || comparisons.is_empty()) {
        Outcome::Inconclusive
    } else {
        Outcome::Pass
    }
}

/// The table, the reasons of what is wrong, a chart and the numbers for programs.
pub fn report(judged: &Judged, gate: &Gate) -> Report {
    let comparisons = &judged.comparisons;
    let mut report = Report::new("bench", summary(comparisons));
    report.outcome = judged.outcome;
    report.gaps.clone_from(&judged.gaps);
    report.blocks.push(Block::Table(grid(comparisons)));
    report.blocks.push(Block::Text(
        "latencies: the distribution before → after, on one logarithmic axis · buffers of the first draw · * another plan".to_owned(),
    ));
    for comparison in comparisons {
        for reason in &comparison.reasons {
            report
                .blocks
                .push(Block::Text(format!("{}: {reason}", comparison.query)));
        }
    }
    report.blocks.extend(picture::blocks(comparisons));
    report.checks = checks(judged);
    report.data = serde_json::json!({ "gate": gate, "comparisons": comparisons });
    report
}

/// One a query, failed where it fails the run.
fn checks(judged: &Judged) -> Vec<Check> {
    let compared = judged.comparisons.iter().map(|c| Check {
        name: c.query.clone(),
        result: match c.verdict {
            Verdict::Same | Verdict::Faster => CheckResult::Passed,
            _ if c.allowed.is_some() => CheckResult::Passed,
            Verdict::Slower | Verdict::OverSlo | Verdict::Costlier if !judged.gated => {
                CheckResult::Passed
            }
            Verdict::Inconclusive => CheckResult::Skipped(format!(
                "too noisy to tell: p95 {} before, {} after",
                p95(&c.before),
                p95(&c.after)
            )),
            Verdict::Differs | Verdict::Slower | Verdict::OverSlo | Verdict::Costlier => {
                let (word, _) = word(c.verdict);
                let times = format!(
                    "{word}: p95 {} before, {} after",
                    p95(&c.before),
                    p95(&c.after)
                );
                CheckResult::Failed([&[times][..], &c.reasons].concat())
            }
        },
    });
    compared.collect()
}

fn grid(comparisons: &[Comparison]) -> Grid {
    let mut grid = Grid::new(
        &[
            "p95 of",
            "before",
            "after",
            "gain",
            "latencies",
            "buffers",
            "",
        ],
        &["before", "after", "gain", "buffers"],
    );
    grid.rows = comparisons
        .iter()
        .map(|c| {
            let (word, tone) = word(c.verdict);
            vec![
                Cell::from(c.query.as_str()),
                Cell::from(p95(&c.before)),
                Cell::from(p95(&c.after)),
                Cell::toned(gain(c), tone),
                Cell::from(sparkline(&c.before.ecdf_ms, &c.after.ecdf_ms, BINS)),
                Cell::from(buffers(c)),
                Cell::toned(
                    format!("{word}{}", if c.plan_changed { "*" } else { "" }),
                    tone,
                ),
            ]
        })
        .collect();
    // Worst first, so what is as it should be comes last.
    grid.quiet = comparisons
        .iter()
        .filter(|c| matches!(c.verdict, Verdict::Same | Verdict::Faster))
        .count();
    grid
}

/// Steps of the drawn distribution: two of them with an arrow between them leave a table within 100 columns.
const BINS: usize = 5;

pub(super) fn word(verdict: Verdict) -> (&'static str, Tone) {
    match verdict {
        Verdict::Differs => ("DIFFERS", Tone::Bad),
        Verdict::Slower => ("slower", Tone::Bad),
        Verdict::OverSlo => ("over SLO", Tone::Bad),
        Verdict::Costlier => ("costlier", Tone::Bad),
        Verdict::Inconclusive => ("unclear", Tone::Warn),
        Verdict::Same => ("same", Tone::Dim),
        Verdict::Faster => ("faster", Tone::Good),
    }
}

/// Whether the 95th percentile fell on executions that were cut off.
pub(super) fn is_open(side: &Side) -> bool {
    side.timeouts * 20 >= side.samples.max(1)
}

fn p95(side: &Side) -> String {
    let text = time(side.p95_ms);
    if side.samples == 0 {
        "–".to_owned()
    } else if is_open(side) {
        format!("> {text}")
    } else {
        text
    }
}

pub(super) fn gain(comparison: &Comparison) -> String {
    if comparison.verdict == Verdict::Differs {
        return "–".to_owned();
    }
    let open = if is_open(&comparison.before) {
        "> "
    } else {
        ""
    };
    match comparison.gain {
        gain if gain >= 10.0 => format!("{open}{gain:.0}×"),
        gain => format!("{open}{gain:.2}×"),
    }
}

fn buffers(comparison: &Comparison) -> String {
    let side = |b: Option<u64>| b.map_or_else(|| "?".to_owned(), count);
    format!(
        "{} → {}",
        side(comparison.before.buffers),
        side(comparison.after.buffers)
    )
}

fn count(n: u64) -> String {
    match n {
        n if n < 10_000 => n.to_string(),
        n if n < 10_000_000 => format!("{}k", n / 1000),
        n => format!("{}M", n / 1_000_000),
    }
}

/// The result in one line.
pub fn summary(comparisons: &[Comparison]) -> String {
    if comparisons.is_empty() {
        return "No query could be compared".to_owned();
    }
    let of = |verdict| comparisons.iter().filter(|c| c.verdict == verdict).count();
    let mut parts = Vec::new();
    for (verdict, word) in [
        (Verdict::Differs, "with different answers"),
        (Verdict::Slower, "slower"),
        (Verdict::OverSlo, "over the SLO"),
        (Verdict::Costlier, "costlier"),
        (Verdict::Inconclusive, "unclear"),
        (Verdict::Same, "the same"),
        (Verdict::Faster, "faster"),
    ] {
        let n = of(verdict);
        if n > 0 {
            parts.push(format!("{n} {word}"));
        }
    }
    let queries = match comparisons.len() {
        1 => "1 query".to_owned(),
        n => format!("{n} queries"),
    };
    let mut text = format!("{queries}: {}", parts.join(", "));
    if let Some(gain) = mean_gain(comparisons) {
        text.push_str(&format_gain(gain));
    }
    text
}

fn format_gain(gain: f64) -> String {
    format!(". p95 by weight, geometric mean: {gain:.1} times as fast")
}

/// Geometric mean of the gains by weight.
fn mean_gain(comparisons: &[Comparison]) -> Option<f64> {
    let gains = || {
        comparisons
            .iter()
            .filter(|c| c.verdict != Verdict::Differs && c.gain.is_finite() && c.gain > 0.0)
    };
    let weight: f64 = gains().map(|c| c.weight).sum();
    let logs: f64 = gains().map(|c| c.weight * c.gain.ln()).sum();
    (weight > 0.0).then(|| (logs / weight).exp())
}
