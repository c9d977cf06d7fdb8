//! Two runs of one query compared: by what repeats (buffers, rows, planner cost), by the clock only where that says nothing.

use super::lab::{Timing, Work};
use std::time::Duration;

/// What comes out for the second run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Better,
    Worse,
    Same,
}

/// A figure is better where it falls by this factor, and worse where it rises so …
const CLEARLY: f64 = 1.2;
/// … and by at least so many units of work, a buffer being one.
const WORK_FLOOR: f64 = 10.0;
/// Rows that take as long as one buffer.
const ROWS_A_BUFFER: f64 = 10.0;
/// The same for costs, which have no noise at all where the planner expects the same rows.
const COST_CLEARLY: f64 = 1.05;
const COST_FLOOR: f64 = 5.0;
/// Costs compare where the planner expects the same rows, up to this factor.
const SAME_ROWS: f64 = 1.2;
/// Of times, noise being what it is for a handful of runs …
const CLOCK_CLEARLY: f64 = 1.3;
/// … and milliseconds.
const CLOCK_FLOOR_MS: f64 = 0.3;
/// Below this, differences between times are noise.
const LEAST_MS: f64 = 0.05;

/// How many times less the second run took, as a logarithm: 0 where nothing is clear, below 0 where it took more.
pub(super) fn gain(before: &Timing, after: &Timing) -> f64 {
    if !before.timed_out && !after.timed_out {
        let repeating = repeating(before, after);
        if repeating != 0.0 {
            return repeating;
        }
    }
    by_clock(before, after)
}

pub(super) fn verdict(before: &Timing, after: &Timing) -> Verdict {
    sign(gain(before, after))
}

/// Without the clock, but for a run that was ended.
pub(super) fn steady_verdict(before: &Timing, after: &Timing) -> Verdict {
    match (before.timed_out, after.timed_out) {
        (true, false) => Verdict::Better,
        (false, true) => Verdict::Worse,
        (true, true) => Verdict::Same,
        (false, false) => sign(repeating(before, after)),
    }
}

fn sign(gain: f64) -> Verdict {
    match gain {
        g if g > 0.0 => Verdict::Better,
        g if g < 0.0 => Verdict::Worse,
        _ => Verdict::Same,
    }
}

fn repeating(before: &Timing, after: &Timing) -> f64 {
    let n = before.work.len().min(after.work.len());
    if n == 0 {
        return 0.0;
    }
    let (was, is) = (total(&before.work, n), total(&after.work, n));
    let measured = clear(load(&was), load(&is), CLEARLY, WORK_FLOOR);
    if measured != 0.0 {
        return measured;
    }
    let (fewer, more) = (was.expected.min(is.expected), was.expected.max(is.expected));
    if more > fewer.max(1.0) * SAME_ROWS {
        return 0.0;
    }
    clear(was.cost, is.cost, COST_CLEARLY, COST_FLOOR)
}

fn by_clock(before: &Timing, after: &Timing) -> f64 {
    let (was, is) = both_ms(before, after);
    let (was, is) = (was.max(LEAST_MS), is.max(LEAST_MS));
    clear(was, is, CLOCK_CLEARLY, CLOCK_FLOOR_MS)
}

fn clear(was: f64, is: f64, factor: f64, floor: f64) -> f64 {
    let (less, more) = (was.min(is), was.max(is));
    if more > less * factor && more - less > floor {
        (was.max(floor / 10.0) / is.max(floor / 10.0)).ln()
    } else {
        0.0
    }
}

fn load(work: &Work) -> f64 {
    work.buffers + work.rows / ROWS_A_BUFFER
}

fn total(works: &[Work], n: usize) -> Work {
    works.iter().take(n).fold(Work::default(), |sum, w| Work {
        buffers: sum.buffers + w.buffers,
        rows: sum.rows + w.rows,
        cost: sum.cost + w.cost,
        expected: sum.expected + w.expected,
    })
}

/// Milliseconds of both, over the draws that both ran.
pub(super) fn both_ms(before: &Timing, after: &Timing) -> (f64, f64) {
    let n = before.draws.len().min(after.draws.len());
    let ms = |t: &Timing| {
        Timing {
            draws: t.draws.iter().take(n).copied().collect(),
            ..Timing::default()
        }
        .ms()
    };
    (ms(before), ms(after))
}

/// How a figure of one look-up may rise: a tenth, and what takes a fraction of a millisecond.
const TOLERATED: f64 = 1.1;
const BUFFERS_TOLERATED: f64 = 32.0;
const ROWS_TOLERATED: f64 = 1_000.0;
const COST_TOLERATED: f64 = 50.0;

/// The figure of some draw that got worse by more than may be tolerated, in words.
pub(super) fn worsened(before: &Timing, after: &Timing) -> Option<String> {
    let over = |was: f64, is: f64, floor: f64| is > was * TOLERATED + floor;
    let ended =
        (after.timed_out && !before.timed_out).then(|| "it was ended by the time limit".to_owned());
    let worse = before.work.iter().zip(&after.work).find_map(|(was, is)| {
        // What was measured to be better is not worse because one figure rose for it, or because the planner guesses so.
        if clear(load(was), load(is), CLEARLY, WORK_FLOOR) > 0.0 {
            return None;
        }
        let (kind, a, b) = if over(was.buffers, is.buffers, BUFFERS_TOLERATED) {
            ("buffers", was.buffers, is.buffers)
        } else if over(was.rows, is.rows, ROWS_TOLERATED) {
            ("rows", was.rows, is.rows)
        } else if over(was.cost, is.cost, COST_TOLERATED) {
            ("planner cost", was.cost, is.cost)
        } else {
            return None;
        };
        Some(format!("{kind} {a:.0} → {b:.0}"))
    });
    ended.or(worse)
}

/// Whether every figure lies within what is tolerated on top of nothing: then it cannot have worsened.
pub(super) fn is_small(timing: &Timing) -> bool {
    let nothing = Timing {
        work: vec![Work::default(); timing.work.len()],
        ..Timing::default()
    };
    worsened(&nothing, timing).is_none()
}

/// Many times the work for what was quick …
const CATASTROPHE: f64 = 10.0;
/// … by so much that it takes some milliseconds.
const BUFFERS_MORE: f64 = 1_000.0;
const ROWS_MORE: f64 = 10_000.0;
/// The clock has to say so too.
const TIMES_AS_LONG: u32 = 3;
const LONGER: Duration = Duration::from_millis(3);

/// What makes `after` a catastrophe beside `before`, in words.
pub(super) fn catastrophe(before: &Timing, after: &Timing) -> Option<String> {
    if after.timed_out && !before.timed_out {
        return Some("it was ended by the time limit".to_owned());
    }
    let works = before.work.iter().zip(&after.work);
    let times = before.draws.iter().zip(&after.draws);
    works.zip(times).find_map(|((was, is), (quick, long))| {
        if *long < quick.saturating_mul(TIMES_AS_LONG) + LONGER {
            return None;
        }
        let far = |was: f64, is: f64, more: f64| is > was * CATASTROPHE && is - was > more;
        if far(was.buffers, is.buffers, BUFFERS_MORE) {
            Some(format!("buffers {:.0} → {:.0}", was.buffers, is.buffers))
        } else if far(was.rows, is.rows, ROWS_MORE) {
            Some(format!("rows {:.0} → {:.0}", was.rows, is.rows))
        } else {
            None
        }
    })
}

/// Whether it is heavy enough to be a catastrophe beside anything.
pub(super) fn is_heavy(timing: &Timing) -> bool {
    timing.timed_out
        || timing
            .work
            .iter()
            .any(|w| w.buffers > BUFFERS_MORE || w.rows > ROWS_MORE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(buffers: f64, rows: f64, cost: f64, ms: u64) -> Timing {
        Timing {
            draws: vec![Duration::from_millis(ms)],
            work: vec![Work {
                buffers,
                rows,
                cost,
                expected: 10.0,
            }],
            timed_out: false,
        }
    }

    #[test]
    fn what_repeats_decides_and_the_clock_only_where_it_is_silent() {
        let base = run(1_000.0, 100.0, 500.0, 10);
        assert_eq!(
            verdict(&base, &run(100.0, 100.0, 900.0, 50)),
            Verdict::Better
        );
        assert_eq!(
            verdict(&base, &run(1_500.0, 100.0, 100.0, 1)),
            Verdict::Worse
        );
        assert_eq!(
            verdict(&base, &run(1_000.0, 100.0, 400.0, 50)),
            Verdict::Better
        );
        assert_eq!(
            verdict(&base, &run(1_000.0, 100.0, 500.0, 50)),
            Verdict::Worse
        );
        assert_eq!(
            steady_verdict(&base, &run(1_000.0, 100.0, 500.0, 50)),
            Verdict::Same
        );
        assert_eq!(
            verdict(&base, &run(1_000.0, 100.0, 500.0, 11)),
            Verdict::Same
        );
        // Another number of expected rows: the costs do not compare, and the clock is asked.
        let mut fewer = run(1_000.0, 100.0, 100.0, 10);
        fewer.work[0].expected = 1.0;
        assert_eq!(verdict(&base, &fewer), Verdict::Same);
    }

    #[test]
    fn a_run_that_was_ended_is_worse_than_one_that_was_not() {
        let ended = Timing {
            draws: vec![Duration::from_secs(1)],
            work: Vec::new(),
            timed_out: true,
        };
        let quick = run(10.0, 10.0, 10.0, 1);
        assert_eq!(verdict(&quick, &ended), Verdict::Worse);
        assert_eq!(steady_verdict(&ended, &quick), Verdict::Better);
        assert!(worsened(&quick, &ended).is_some() && catastrophe(&quick, &ended).is_some());
        assert_eq!(catastrophe(&ended, &ended), None);
    }

    #[test]
    fn a_set_computed_for_one_row_is_worse_and_a_catastrophe() {
        let (once, set) = (run(35.0, 2.0, 9.0, 1), run(184.0, 50_000.0, 30.0, 300));
        assert_eq!(worsened(&once, &set).as_deref(), Some("buffers 35 → 184"));
        assert_eq!(catastrophe(&once, &set).as_deref(), Some("rows 2 → 50000"));
        let few = run(45.0, 20.0, 30.0, 1);
        assert_eq!(
            (worsened(&once, &few), catastrophe(&once, &few)),
            (None, None)
        );
        assert!(is_small(&run(10.0, 10.0, 10.0, 1)) && !is_small(&set) && is_heavy(&set));
        // Guessed dearer, measured cheaper.
        assert_eq!(
            worsened(&run(9_000.0, 9.0, 10.0, 9), &run(90.0, 9.0, 200.0, 1)),
            None
        );
        assert!(worsened(&run(90.0, 9.0, 10.0, 9), &run(90.0, 9.0, 200.0, 1)).is_some());
    }
}
