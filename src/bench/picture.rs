//! What a comparison looks like: curves, a heat map, plans side by side.

use super::show::{gain, is_open, word};
use crate::model::{Block, Chart, Comparison, Curve, Curves, Heat, HeatCell, Pair, Sides, Verdict};
use std::collections::BTreeMap;

/// Everything that is drawn, in the order of a page.
pub(super) fn blocks(comparisons: &[Comparison]) -> Vec<Block> {
    let mut blocks = vec![
        Block::Chart(chart(comparisons)),
        Block::Heat(heat(comparisons)),
        Block::Curves(curves(comparisons)),
    ];
    let plans = plans(comparisons);
    if !plans.is_empty() {
        blocks.push(Block::Heading("Plans that changed".to_owned()));
        blocks.extend(plans.into_iter().map(Block::Sides));
    }
    blocks
}

fn chart(comparisons: &[Comparison]) -> Chart {
    let pairs = comparisons
        .iter()
        .filter(|c| c.before.samples > 0 && c.after.samples > 0)
        .map(|c| {
            let ratio = c.ratios.p95;
            let known = ratio.point > 0.0 && ratio.high.is_finite() && !is_open(&c.before);
            Pair {
                label: c.query.clone(),
                before: c.before.p95_ms,
                after: c.after.p95_ms,
                open: is_open(&c.before),
                range: known.then(|| {
                    // The ratio's interval, about the point that is drawn.
                    let scale = c.after.p95_ms / ratio.point;
                    (ratio.low * scale, ratio.high * scale)
                }),
                tone: word(c.verdict).1,
            }
        })
        .collect();
    Chart {
        title: "95th percentile of the latency, before and after".to_owned(),
        unit: "ms".to_owned(),
        pairs,
    }
}

fn heat(comparisons: &[Comparison]) -> Heat {
    let mut columns: Vec<String> = Vec::new();
    let mut rows: BTreeMap<&str, BTreeMap<&str, HeatCell>> = BTreeMap::new();
    for c in comparisons {
        let (query, persona) = c.query.rsplit_once('@').unwrap_or((&c.query, ""));
        if !columns.iter().any(|known| known == persona) {
            columns.push(persona.to_owned());
        }
        rows.entry(query).or_default().insert(persona, cell(c));
    }
    columns.sort();
    let rows = rows
        .into_iter()
        .map(|(query, mut cells)| {
            let cells = columns.iter().map(|c| cells.remove(c.as_str())).collect();
            (query.to_owned(), cells)
        })
        .collect();
    Heat {
        title: "Gain at the 95th percentile by query and persona".to_owned(),
        corner: "query".to_owned(),
        columns,
        rows,
    }
}

fn cell(c: &Comparison) -> HeatCell {
    let (note, tone) = word(c.verdict);
    // Ten times as fast or as slow has the full colour.
    let strength = if c.verdict == Verdict::Differs {
        1.0
    } else {
        c.gain.max(1e-6).log10().abs().min(1.0)
    };
    HeatCell {
        text: gain(c),
        note: note.to_owned(),
        tone,
        strength,
    }
}

fn curves(comparisons: &[Comparison]) -> Curves {
    let lines = comparisons
        .iter()
        .filter(|c| !c.before.ecdf_ms.is_empty() && !c.after.ecdf_ms.is_empty())
        .map(|c| Curve {
            label: c.query.clone(),
            before: c.before.ecdf_ms.clone(),
            after: c.after.ecdf_ms.clone(),
            target: Some(c.slo_ms),
            tone: word(c.verdict).1,
        })
        .collect();
    Curves {
        title: "How many calls ended within which time".to_owned(),
        unit: "ms".to_owned(),
        lines,
    }
}

fn plans(comparisons: &[Comparison]) -> Vec<Sides> {
    comparisons
        .iter()
        .filter(|c| c.plan_changed)
        .filter_map(|c| {
            Some(Sides {
                title: format!("{}: {} ({})", c.query, gain(c), word(c.verdict).0),
                before: c.before.plan.clone()?,
                after: c.after.plan.clone()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Side;

    fn comparison(query: &str, verdict: Verdict, gain: f64) -> Comparison {
        let side = |plan: &str| Side {
            samples: 10,
            p95_ms: 2.0,
            plan: Some(plan.to_owned()),
            ecdf_ms: vec![1.0, 2.0],
            ..Side::default()
        };
        Comparison {
            query: query.to_owned(),
            weight: 1.0,
            slo_ms: 100.0,
            before: side("Seq Scan"),
            after: side("Index Scan"),
            gain,
            ratios: crate::model::Ratios::default(),
            plan_changed: verdict == Verdict::Faster,
            verdict,
            allowed: None,
            reasons: Vec::new(),
        }
    }

    #[test]
    fn every_comparison_is_drawn_once() {
        let all = [
            comparison("a@big", Verdict::Slower, 0.1),
            comparison("a@small", Verdict::Faster, 20.0),
            comparison("b@big", Verdict::Same, 1.0),
        ];
        let heat = heat(&all);
        assert_eq!(heat.columns, ["big", "small"]);
        let filled: Vec<_> = heat
            .rows
            .iter()
            .map(|(q, cells)| (q.as_str(), cells.iter().flatten().count()))
            .collect();
        assert_eq!(filled, [("a", 2), ("b", 1)]);
        assert_eq!(curves(&all).lines.len(), 3);
        assert_eq!(chart(&all).pairs.len(), 3);
        assert_eq!(plans(&all).len(), 1);
    }
}
