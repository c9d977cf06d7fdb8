//! A query run a few times: how long the server took, and what it had to do for it.

use super::{Error, Explain, Result, Workbench, draw_of, explain};
use crate::model::{Plan, Query};
use crate::propose::{Timing, Work};
use std::time::Duration;

/// After this long a query is slow enough to be timed once only.
const ONCE: Duration = Duration::from_millis(250);
/// Runs of a quick query; the best one counts.
const RUNS: usize = 5;
/// No further draws of a query that took this long.
const ENOUGH: Duration = Duration::from_millis(1_500);

impl Workbench {
    pub(super) async fn timed(&self, query: &Query, draws: usize) -> Result<Timing> {
        let mut timing = Timing::default();
        let mut spent = Duration::ZERO;
        for draw in 0..draws.min(query.draws.len()) {
            match self.draw_timed(query, draw, &mut timing.work).await {
                Ok(best) => {
                    timing.draws.push(best);
                    spent += best;
                }
                Err(error) if is_timeout(&error) => {
                    timing.timed_out = true;
                    timing.draws.push(self.timeout);
                    // Figures of work stand for draws that ended.
                    timing.work.truncate(timing.draws.len() - 1);
                    return Ok(timing);
                }
                Err(error) => return Err(error),
            }
            if spent > ENOUGH {
                break;
            }
        }
        Ok(timing)
    }

    async fn draw_timed(
        &self,
        query: &Query,
        draw: usize,
        works: &mut Vec<Work>,
    ) -> Result<Duration> {
        let explained = self.explained(query, draw, self.timeout).await?;
        works.extend(explained.map(|(_, work)| work));
        let mut best = explained.map(|(elapsed, _)| elapsed).filter(|e| *e > ONCE);
        for _ in 0..RUNS {
            if best.is_some_and(|b| b > ONCE) {
                break;
            }
            let elapsed = self.time_once(query, draw).await?;
            best = Some(best.map_or(elapsed, |b| b.min(elapsed)));
        }
        Ok(best.unwrap_or_default())
    }

    pub(super) async fn measured(&self, query: &Query, limit: Duration) -> Result<Timing> {
        let mut timing = Timing::default();
        for draw in 0..query.draws.len() {
            match self.explained(query, draw, limit).await {
                Ok(Some((elapsed, work))) => {
                    timing.draws.push(elapsed);
                    timing.work.push(work);
                }
                Ok(None) => break,
                Err(error) if is_timeout(&error) => {
                    timing.timed_out = true;
                    timing.draws.push(limit.min(self.timeout));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(timing)
    }

    async fn time_once(&self, query: &Query, draw: usize) -> Result<Duration> {
        self.in_transaction(query, self.timeout, async |session| {
            let prepared = session.prepare_query(query).await?;
            let values = draw_of(query, draw);
            Ok(session
                .run_query(query, &prepared, values, false)
                .await?
                .elapsed)
        })
        .await
    }

    /// The work of one execution, and how long it took; `None` where the statement cannot be explained.
    async fn explained(
        &self,
        query: &Query,
        draw: usize,
        limit: Duration,
    ) -> Result<Option<(Duration, Work)>> {
        let Some((elapsed, work)) = self.explained_once(query, draw, limit).await? else {
            return Ok(None);
        };
        // What a session does for the first time, it looks up in the catalog first.
        if draw > 0 || elapsed > ONCE {
            return Ok(Some((elapsed, work)));
        }
        let again = self.explained_once(query, draw, limit).await?;
        Ok(again.map(|(second, other)| (elapsed.min(second), lighter(work, other))))
    }

    async fn explained_once(
        &self,
        query: &Query,
        draw: usize,
        limit: Duration,
    ) -> Result<Option<(Duration, Work)>> {
        let explained = self
            .in_transaction(query, limit, async |session| {
                explain(session, query, draw, Explain::Measure).await
            })
            .await;
        match explained {
            Ok(plan) => Ok(work_of(&plan)),
            // EXPLAIN does not know the statement: CALL and the like.
            Err(error) if error.is("42601") => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_timeout(error: &Error) -> bool {
    error.is("57014")
}

fn work_of(plan: &Plan) -> Option<(Duration, Work)> {
    #[expect(clippy::cast_precision_loss, reason = "a count to compare by")]
    let work = Work {
        buffers: plan.buffers()? as f64,
        rows: plan.rows_handled()?,
        cost: plan.total_cost,
        expected: plan.rows_expected(),
    };
    let ms = plan.execution_ms.unwrap_or_default().max(0.0);
    Some((Duration::from_secs_f64(ms / 1_000.0), work))
}

fn lighter(a: Work, b: Work) -> Work {
    Work {
        buffers: a.buffers.min(b.buffers),
        rows: a.rows.min(b.rows),
        ..b
    }
}
