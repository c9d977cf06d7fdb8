//! Plans a workload along a run, and takes back the new indexes that turn out unused or harmful.
//!
//! They are judged when everything is applied: what only a later policy rewrite makes usable is not judged too early.

use super::back;
use super::files::Folder;
use super::gain::{self, Candidate, Gain, Judgement, Plans, Rise, Verdict};
use super::outcome::{Done, Reason, Stop};
use super::plan::Task;
use super::run::{read, run};
use super::runner::Runner;
use crate::db::{self, Explain, IndexFamily, Limits, Session, explain};
use crate::model::{Plan, Query};
use std::collections::BTreeMap;

/// The plans of a workload from before the first step on.
pub(super) struct Trial {
    queries: Vec<Query>,
    take_back: bool,
    candidates: Vec<Candidate>,
    start: Plans,
    last: Plans,
    /// What each candidate's own step made worse, by its first version.
    risen: BTreeMap<i64, Vec<Rise>>,
}

impl Trial {
    /// `None` where nobody asked, or no index is to be judged.
    pub(super) async fn begin(
        gain: Option<&Gain>,
        session: &Session,
        folder: &Folder,
        tasks: &[Task],
    ) -> Option<Self> {
        let gain = gain?;
        let candidates = gain::candidates(folder, tasks);
        if candidates.is_empty() {
            return None;
        }
        let mut queries = gain.workload.queries.clone();
        for query in &mut queries {
            // Planned only, so even a write needs no more than a read-only transaction.
            query.write = false;
        }
        let mut start = plans(session, &queries).await;
        count_rows(session, &mut start).await;
        Some(Self {
            queries,
            take_back: gain.take_back,
            candidates,
            last: start.clone(),
            start,
            risen: BTreeMap::new(),
        })
    }

    /// Plans again after `task`, unless it is in the middle of what belongs together.
    pub(super) async fn step(&mut self, session: &Session, task: &Task) {
        let version = task.version;
        let own = self
            .candidates
            .iter()
            .find(|c| c.versions.contains(&version));
        if own.is_some_and(|c| c.versions.last() != Some(&version)) {
            return;
        }
        let first = own.and_then(|c| c.versions.first().copied());
        let now = plans(session, &self.queries).await;
        if let Some(first) = first {
            self.risen.insert(first, self.last.worse(&now));
        }
        self.last = now;
    }

    /// Newest first. Each is judged by the plans without those taken back before it.
    pub(super) async fn judge(
        self,
        runner: &mut Runner<'_>,
        table: &str,
        folder: &Folder,
        done: &mut Vec<Done>,
    ) -> Result<Vec<Verdict>, Stop> {
        let mut now = self.last.clone();
        count_rows(&runner.watch, &mut now).await;
        for (query, why) in &now.failed {
            runner.note(format!("{query} could not be planned: {why}"));
        }
        let mut verdicts = Vec::new();
        for candidate in self.candidates.iter().rev() {
            if runner.interrupted() {
                runner.note(format!(
                    "told to stop before {} was judged",
                    candidate.label
                ));
                break;
            }
            let family = family(&runner.watch, candidate).await;
            let Some(family) = family.map_err(|e| lost(e, done))? else {
                // A later migration has dropped it.
                continue;
            };
            let risen = candidate.versions.first().and_then(|v| self.risen.get(v));
            let risen = risen.map_or(&[][..], Vec::as_slice);
            let mut verdict = gain::judge(candidate, &family, (&self.start, &now), risen);
            if verdict.is_bad() && self.take_back {
                take_back(runner, table, folder, &mut verdict, done).await?;
                now = plans(&runner.watch, &self.queries).await;
                count_rows(&runner.watch, &mut now).await;
            }
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }
}

/// Takes back what the verdict is on, whatever was applied after it.
async fn take_back(
    runner: &mut Runner<'_>,
    table: &str,
    folder: &Folder,
    verdict: &mut Verdict,
    done: &mut Vec<Done>,
) -> Result<(), Stop> {
    let ledger = read(&mut runner.writer, Some(table)).await;
    let ledger = ledger.map_err(|e| lost(e, done))?;
    let newest_first: Vec<i64> = verdict
        .versions
        .iter()
        .rev()
        .copied()
        .filter(|v| ledger.applied(*v).is_some())
        .collect();
    match back::downs(folder, &ledger, &newest_first) {
        Ok(tasks) => {
            run(runner, table, &tasks, done, None).await?;
            verdict.taken_back = true;
        }
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            verdict.judgement = Judgement::Exempt(format!(
                "of no use, and cannot be taken back: {}",
                problems.join("; ")
            ));
        }
    }
    Ok(())
}

fn lost(error: db::Error, done: &[Done]) -> Stop {
    Stop {
        reason: Reason::Failed { label: None, error },
        done: done.to_vec(),
        half_way: None,
        next: None,
    }
}

/// All indexes of a candidate together; `None` where none is there.
async fn family(session: &Session, candidate: &Candidate) -> db::Result<Option<IndexFamily>> {
    let mut all: Option<IndexFamily> = None;
    for (table, name) in &candidate.indexes {
        let Some(one) = session.index_family(table, name).await? else {
            continue;
        };
        let all = all.get_or_insert_default();
        all.names.extend(one.names);
        all.tables.extend(one.tables);
        all.guards |= one.guards;
        all.too_new |= one.too_new;
    }
    Ok(all)
}

/// Every draw of every query, each query in a read-only transaction as its persona. What fails is noted.
async fn plans(session: &Session, queries: &[Query]) -> Plans {
    let mut plans = Plans::default();
    for query in queries {
        let planned = plan_query(session, query).await;
        // It is the session that failed if this does, and the next statement says so.
        let _ = session.end().await;
        match planned {
            Ok(found) => {
                let planned = plans.planned.entry(query.id.clone()).or_default();
                #[expect(clippy::cast_precision_loss, reason = "a handful of draws")]
                let share = 1.0 / found.len().max(1) as f64;
                for plan in &found {
                    planned.add(plan, share);
                }
            }
            Err(error) => {
                plans.failed.insert(query.id.clone(), error.to_string());
            }
        }
    }
    plans
}

/// A count that cannot be read is left out.
async fn count_rows(session: &Session, plans: &mut Plans) {
    for table in plans.tables() {
        if let Ok(Some(facts)) = session.size_facts(&table, &[]).await {
            plans.rows.insert(table, facts.rows);
        }
    }
}

async fn plan_query(session: &Session, query: &Query) -> db::Result<Vec<Plan>> {
    session.begin_query(query, Limits::default()).await?;
    let mut plans = Vec::new();
    for draw in 0..query.draws.len() {
        plans.push(explain(session, query, draw, Explain::Plan).await?);
    }
    Ok(plans)
}
