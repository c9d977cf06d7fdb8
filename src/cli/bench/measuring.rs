//! Two sides are measured and compared, or one is recorded.

use super::Plan;
use super::judging::{description, name_sides};
use super::sides::{Found, Side};
use crate::bench::{
    Asked, Baseline, Difference, Effort, Environment, Measured, Pace, Recordings, environment,
    measure_one_under, measure_pair_under, other_load, paired, recordings, tell_load,
};
use crate::cli::audit::plural;
use crate::cli::paired::{Copied, Wanted, interruptible, on_clones};
use crate::cli::{CANNOT, Failure};
use crate::db::{Error, Session, Target, find_eviction};
use crate::migrate::Folder;
use crate::model::{Block, Gap, Report, Workload};
use anyhow::{Context as _, bail};
use std::path::Path;

/// Where a side is measured, if it is not measured already.
struct Live<'a> {
    target: &'a Target,
    copied: Option<&'a Copied>,
}

/// What came of measuring.
struct Outcome {
    measured: Vec<Measured>,
    gaps: Vec<Gap>,
    effort: Effort,
    /// Of each side that was measured at a fixed rate.
    paces: Vec<Pace>,
    /// How many queries and personas the workload has.
    extent: (usize, usize),
}

impl Plan<'_> {
    pub(super) async fn compare(
        &self,
        before: Found,
        after: Found,
        folder: &Folder,
    ) -> anyhow::Result<Report> {
        // First, so that sides that cannot be compared cost nothing.
        self.same_demand([&before.side, &after.side])?;
        let looking = async {
            self.can_empty_caches([&before.side, &after.side]).await?;
            self.difference(&before.side, &after.side).await
        };
        let difference = interruptible(self.interrupt.clone(), looking).await?;
        let source = self.context.target()?;
        let mut found = [before, after];
        let wanted = found.iter_mut().filter_map(|f| clone_of(&mut f.side));
        let wanted: Vec<Wanted> = wanted.collect();
        let (interrupt, others) = (self.interrupt.clone(), [folder]);
        let clones = (wanted.as_slice(), others.as_slice());
        on_clones(self.context, interrupt, &source, clones, async |copies| {
            let mut copies = copies.iter();
            let [before, after] = found.each_ref().map(|f| live(&f.side, &mut copies));
            let outcome = self.measured([&before, &after], &found).await?;
            let mut report = self.judged(outcome.measured, outcome.effort.gate);
            tell_load(&mut report, self.demand, &outcome.paces);
            report.gaps.extend(outcome.gaps);
            report.blocks.push(Block::Text(self.how(outcome.extent)));
            let clones = [&before, &after].map(|l| l.as_ref().and_then(|l| l.copied));
            name_sides(&mut report, &found, clones, &difference.warnings);
            let both = before.as_ref().zip(after.as_ref());
            report
                .gaps
                .extend(both.and_then(|(b, a)| alike(b, a, &found)));
            report.gaps.extend(difference.unknown);
            Ok(report)
        })
        .await
    }

    async fn measured(
        &self,
        live: [&Option<Live<'_>>; 2],
        found: &[Found; 2],
    ) -> anyhow::Result<Outcome> {
        if let [Some(before), Some(after)] = live {
            let workload = self.draw(before.target).await?;
            let effort = self.effort(workload.queries.len(), 2);
            let mut task = self.context.progress.start("bench", 0);
            let mut note = |at, total, text: &str| task.advance(at, total, text);
            let (before, after) = (before.target, after.target);
            let done =
                measure_pair_under(before, after, &workload, effort, self.demand, &mut note).await;
            let (measured, paces) = done.map_err(lost)?;
            return Ok(Outcome {
                measured,
                gaps: Vec::new(),
                effort,
                paces,
                extent: (workload.queries.len(), workload.personas.len()),
            });
        }
        let (asked, now, paces, extent) =
            if let Some(one) = live.iter().find_map(|live| live.as_ref()) {
                let (workload, now, paces) = self.one(one.target).await?;
                let extent = (workload.queries.len(), workload.personas.len());
                (asked(&workload), now, paces, extent)
            } else {
                let asked = self.asked();
                let extent = (asked.len(), self.file.personas.len());
                (asked, Recordings::new(), Vec::new(), extent)
            };
        let effort = self.effort(asked.len(), 1);
        let [before, after] = found.each_ref().map(|f| match &f.side {
            Side::Recorded(_, baseline) => &baseline.queries,
            _ => &now,
        });
        let (measured, gaps) = paired(&asked, before, after);
        Ok(Outcome {
            measured,
            gaps,
            effort,
            paces,
            extent,
        })
    }

    async fn one(&self, target: &Target) -> anyhow::Result<(Workload, Recordings, Vec<Pace>)> {
        let workload = self.draw(target).await?;
        let effort = self.effort(workload.queries.len(), 1);
        let mut task = self.context.progress.start("bench", 0);
        let mut note = |at, total, text: &str| task.advance(at, total, text);
        let done = measure_one_under(target, &workload, effort, self.demand, &mut note).await;
        let (samples, paces) = done.map_err(lost)?;
        let now = recordings(&workload, samples);
        Ok((workload, now, paces))
    }

    /// Measures one side and writes it to `path`.
    pub(super) async fn record(
        &self,
        mut found: Found,
        path: &Path,
        folder: &Folder,
    ) -> anyhow::Result<Report> {
        let source = match &found.side {
            Side::Database(target) => (**target).clone(),
            Side::Clone(_) => self.context.target()?,
            Side::Recorded(file, _) => bail!(
                "{} is recorded already: add --after to compare with it",
                file.display()
            ),
        };
        let looking = async {
            self.can_empty_caches([&found.side]).await?;
            Ok(environment(&source, self.limits).await?)
        };
        let environment = interruptible(self.interrupt.clone(), looking).await?;
        let wanted: Vec<Wanted> = clone_of(&mut found.side).into_iter().collect();
        let (interrupt, others) = (self.interrupt.clone(), [folder]);
        let clones = (wanted.as_slice(), others.as_slice());
        on_clones(self.context, interrupt, &source, clones, async |copies| {
            let copied = copies.first();
            let target = copied.map_or(&source, |c| &c.target);
            let (workload, queries, paces) = self.one(target).await?;
            let what = description(&found, copied);
            let baseline = Baseline::new(chrono::Utc::now(), what.clone(), environment, queries);
            let text = serde_json::to_string(&baseline)?;
            std::fs::write(path, text)
                .with_context(|| format!("could not write {}", path.display()))?;
            let shown = path.display();
            let count = plural(workload.queries.len(), "query", "queries");
            let mut report = Report::new("bench", format!("Recorded {count} in {shown}."));
            report.blocks.push(Block::Text(format!("side: {what}")));
            report.data = serde_json::json!({
                "baseline": path, "side": what, "environment": baseline.environment,
            });
            tell_load(&mut report, self.demand, &paces);
            report.next = Some(format!("dbtune bench --after --baseline {shown}"));
            Ok(report)
        })
        .await
    }

    /// What was recorded under one load says nothing of another.
    fn same_demand(&self, sides: [&Side; 2]) -> anyhow::Result<()> {
        let recorded = sides.into_iter().filter_map(|side| match side {
            Side::Recorded(file, baseline) => Some((file, baseline)),
            _ => None,
        });
        for (file, baseline) in recorded {
            if let Some(why) = other_load(baseline, self.demand) {
                let message = format!(
                    "{}: {why}; give both sides the same --clients and --rate, or record again: dbtune bench --before -o FILE",
                    file.display()
                );
                return Err(Failure {
                    code: CANNOT,
                    message,
                }
                .into());
            }
        }
        Ok(())
    }

    /// With `--cold`, whether the servers of the sides that are measured let this role empty their caches.
    async fn can_empty_caches<const N: usize>(&self, sides: [&Side; N]) -> anyhow::Result<()> {
        if !self.demand.cold {
            return Ok(());
        }
        for side in sides {
            let target = match side {
                Side::Database(target) => (**target).clone(),
                Side::Clone(_) => self.context.target()?,
                Side::Recorded(..) => continue,
            };
            let session = Session::connect(&target, "bench").await?;
            find_eviction(&session).await?;
        }
        Ok(())
    }

    /// Two clones of one database are alike but for their migrations; anything else is looked at.
    async fn difference(&self, before: &Side, after: &Side) -> anyhow::Result<Comparable> {
        if let (Side::Clone(_), Side::Clone(_)) = (before, after) {
            return Ok(Comparable::default());
        }
        let (before, after) = (self.around(before).await?, self.around(after).await?);
        let Difference { data, mut warnings } = before.difference(&after);
        if let Some(why) = data {
            if !self.args.allow_other_data {
                return Err(Failure {
                    code: CANNOT,
                    message: format!(
                        "the two sides hold another data set: {why}; record the baseline again (dbtune bench --before -o FILE), \
                         or give both sides the same data. Where the workload does not touch what differs: --allow-other-data"
                    ),
                }
                .into());
            }
            warnings.insert(0, format!("data: {why}"));
        }
        let mut unread: Vec<&str> = before.unread.iter().map(String::as_str).collect();
        unread.extend(after.unread.iter().map(String::as_str));
        unread.sort_unstable();
        unread.dedup();
        let unknown = (!unread.is_empty()).then(|| Gap {
            what: format!("the data of {}", unread.join(", ")),
            why: "policies hide rows from the role that dbtune connects as, or there are too many: whether both sides hold \
                  the same is not known"
                .to_owned(),
            remedy: Some("connect as the tables' owner, or give more --timeout".to_owned()),
        });
        Ok(Comparable { warnings, unknown })
    }

    async fn around(&self, side: &Side) -> anyhow::Result<Environment> {
        Ok(match side {
            Side::Recorded(_, baseline) => baseline.environment.clone(),
            Side::Database(target) => environment(target, self.limits).await?,
            Side::Clone(_) => environment(&self.context.target()?, self.limits).await?,
        })
    }
}

#[derive(Default)]
struct Comparable {
    warnings: Vec<String>,
    unknown: Option<Gap>,
}

/// The clone that is wanted for a side, if one is.
fn clone_of(side: &mut Side) -> Option<Wanted> {
    match side {
        Side::Clone(wanted) => wanted.take().map(|w| *w),
        Side::Database(_) | Side::Recorded(..) => None,
    }
}

fn live<'a>(side: &'a Side, copies: &mut impl Iterator<Item = &'a Copied>) -> Option<Live<'a>> {
    match side {
        Side::Clone(_) => copies.next().map(|copied| Live {
            target: &copied.target,
            copied: Some(copied),
        }),
        Side::Database(target) => Some(Live {
            target,
            copied: None,
        }),
        Side::Recorded(..) => None,
    }
}

fn asked(workload: &Workload) -> Vec<Asked> {
    let queries = workload.queries.iter();
    queries
        .map(|query| Asked {
            id: query.id.clone(),
            weight: query.weight,
            slo_ms: query.slo_ms,
            is_limited: crate::sql::is_limited(&query.sql),
        })
        .collect()
}

/// Where both sides turned out to be the same thing.
fn alike(before: &Live<'_>, after: &Live<'_>, found: &[Found; 2]) -> Option<Gap> {
    let [b, a] = found;
    let why = match (before.copied, after.copied) {
        (Some(one), Some(other)) if one.reached.versions == other.reached.versions => format!(
            "{} and {} have the same migrations: both sides are the same",
            b.what, a.what
        ),
        (None, None) if before.target.to_string() == after.target.to_string() => {
            "both sides are the same database".to_owned()
        }
        _ => return None,
    };
    Some(Gap {
        what: "a change".to_owned(),
        why,
        remedy: (a.kind == "pending").then(|| "dbtune propose".to_owned()),
    })
}

/// A server that goes away in the middle says little itself.
fn lost(error: Error) -> Error {
    let state = error.sqlstate.as_deref();
    let gone = state.is_none_or(|state| state.starts_with("57P") || state.starts_with("08"));
    if gone {
        let doing = format!("measure the workload ({})", error.doing);
        Error { doing, ..error }.advise(
            "The server ended the connection in the middle of the benchmark, of which nothing is kept: see its log for the \
             reason, then run again.",
        )
    } else {
        error
    }
}
