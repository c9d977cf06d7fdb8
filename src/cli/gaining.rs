//! What `apply` says of the indexes that it has made.

use super::Context;
use super::apply::Args;
use crate::db::{Defaults, Session, Target, resolve};
use crate::migrate::{Gain, Judgement, Rise, Verdict};
use crate::model::{Block, Cell, Gap, Grid, Outcome, Report, Tone};

/// Draws of each query that are planned.
const DRAWS: usize = 5;

/// The workload that is given or configured, resolved; or what kept it from being looked at.
///
/// # Errors
/// With `--verify-gain` or `--workload`, where there is none or it cannot be resolved.
pub(super) async fn workload(
    args: &Args,
    context: &Context,
    target: &Target,
) -> anyhow::Result<(Option<Gain>, Option<Gap>)> {
    let settings = context.settings()?;
    let asked = args.verify_gain || args.workload.is_some();
    if !asked && settings.workload.is_none() {
        return Ok((None, None));
    }
    let resolved = async {
        let file = context.workload(args.workload.as_deref())?;
        let defaults = Defaults {
            slo_ms: settings.slo_ms,
            draws: DRAWS,
            ..Defaults::default()
        };
        let session = Session::connect(target, "apply (workload)").await?;
        anyhow::Ok(resolve(&session, &file, defaults).await?)
    };
    match resolved.await {
        Ok(workload) => {
            let gain = Gain {
                workload,
                take_back: args.verify_gain,
            };
            Ok((Some(gain), None))
        }
        Err(error) if asked => Err(error),
        Err(error) => {
            let gap = Gap {
                what: "whether new indexes are used".to_owned(),
                why: format!("{error:#}"),
                remedy: None,
            };
            Ok((None, Some(gap)))
        }
    }
}

/// The verdicts with their numbers. Where only notes were asked for, a bad one is no failure.
pub(super) fn add(report: &mut Report, verdicts: &[Verdict], verify: bool) {
    if verdicts.is_empty() {
        return;
    }
    let taken: Vec<&Verdict> = verdicts.iter().filter(|v| v.taken_back).collect();
    if !taken.is_empty() {
        report.outcome = Outcome::Fail;
        report.summary = format!(
            "{} {} of {} new indexes taken back.",
            report.summary,
            taken.len(),
            verdicts.len()
        );
    }
    let bad = verdicts.iter().any(Verdict::is_bad);
    if verify || bad {
        report.blocks.push(Block::Heading(
            "New indexes, by the workload's plans".into(),
        ));
        report.blocks.push(Block::Table(grid(verdicts)));
    }
    if !taken.is_empty() {
        let files: Vec<String> = taken.iter().map(|v| format!("  {}", files(v))).collect();
        report.blocks.push(Block::Text(format!(
            "The files of what was taken back are still there, so status shows them as not applied and the next apply comes upon them again. Remove them:\n{}",
            files.join("\n")
        )));
    }
    let json: Vec<serde_json::Value> = verdicts.iter().map(json).collect();
    if let Some(data) = report.data.as_object_mut() {
        data.insert("indexes".to_owned(), json.into());
    }
}

fn grid(verdicts: &[Verdict]) -> Grid {
    let mut grid = Grid::new(&["Index", "Verdict", "Why"], &[]);
    for verdict in verdicts {
        let (word, tone) = match verdict.judgement {
            _ if verdict.taken_back => ("taken back", Tone::Bad),
            Judgement::Unused => ("unused", Tone::Warn),
            Judgement::Harmful => ("harmful", Tone::Warn),
            Judgement::Used => ("kept", Tone::Good),
            Judgement::Exempt(_) => ("kept", Tone::Plain),
        };
        grid.rows.push(vec![
            verdict.index.as_str().into(),
            Cell::toned(word, tone),
            why(verdict).into(),
        ]);
    }
    grid
}

fn why(verdict: &Verdict) -> String {
    match &verdict.judgement {
        Judgement::Unused => "no plan of the workload uses it".to_owned(),
        Judgement::Harmful => format!("made worse: {}", costs(&verdict.risen)),
        Judgement::Used => format!("used by {}", costs(&verdict.used_by)),
        Judgement::Exempt(why) => why.clone(),
    }
}

/// The first few, with their costs.
fn costs(queries: &[Rise]) -> String {
    let mut texts: Vec<String> = queries
        .iter()
        .take(3)
        .map(|q| {
            format!(
                "{} (planner cost {:.0} -> {:.0})",
                q.query, q.before, q.after
            )
        })
        .collect();
    if queries.len() > texts.len() {
        texts.push(format!("{} more", queries.len() - texts.len()));
    }
    texts.join(", ")
}

fn files(verdict: &Verdict) -> String {
    match verdict.versions.as_slice() {
        [first, .., last] => format!("{} (versions {first} to {last})", verdict.label),
        _ => verdict.label.clone(),
    }
}

fn json(verdict: &Verdict) -> serde_json::Value {
    let queries = |list: &[Rise]| -> Vec<serde_json::Value> {
        list.iter()
            .map(|q| {
                serde_json::json!({
                    "query": q.query, "cost_before": q.before, "cost_after": q.after,
                })
            })
            .collect()
    };
    serde_json::json!({
        "migration": verdict.label,
        "index": verdict.index,
        "judgement": match verdict.judgement {
            Judgement::Used => "used",
            Judgement::Unused => "unused",
            Judgement::Harmful => "harmful",
            Judgement::Exempt(_) => "exempt",
        },
        "why": why(verdict),
        "taken_back": verdict.taken_back,
        "used_by": queries(&verdict.used_by),
        "made_worse": queries(&verdict.risen),
    })
}
