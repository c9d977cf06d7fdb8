//! Pairs of values on a logarithmic axis, as SVG inside the page.

use super::axis::Axis;
use super::html::{text, tone_class};
use crate::model::{Chart, Pair};
use std::io::{self, Write};

/// Units of the drawing, which scales with the page.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 40.0;
const ROW: f64 = 22.0;
const TOP: f64 = 40.0;

pub(super) fn render(chart: &Chart, out: &mut dyn Write) -> io::Result<()> {
    if chart.pairs.is_empty() {
        return Ok(());
    }
    let values = chart.pairs.iter().flat_map(|p| {
        let (low, high) = p.range.unwrap_or((p.after, p.after));
        [p.before, p.after, low, high]
    });
    let axis = Axis::over(values, LEFT, WIDTH - RIGHT);
    #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
    let height = TOP + ROW * chart.pairs.len() as f64 + 10.0;
    writeln!(
        out,
        "<figure>\n<figcaption>{} ({}, logarithmic)</figcaption>\n<div class=\"scroll wide\">\n<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n<title>{}</title>",
        text(&chart.title),
        text(&chart.unit),
        text(&chart.title),
        text(&chart.title)
    )?;
    writeln!(
        out,
        "<circle class=\"before\" cx=\"6\" cy=\"10\" r=\"5\"/><text x=\"16\" y=\"14\">before</text>\
         <circle class=\"after\" cx=\"76\" cy=\"10\" r=\"5\"/><text x=\"86\" y=\"14\">after</text>\
         <circle class=\"open\" cx=\"136\" cy=\"10\" r=\"4\"/><text x=\"146\" y=\"14\">cut off: at least</text>\
         <path class=\"range\" d=\"M266 6V14M266 10H290M290 6V14\"/><text x=\"298\" y=\"14\">where after lies with 95 % confidence</text>"
    )?;
    for (label, x) in axis.ticks() {
        writeln!(
            out,
            "<line class=\"rule\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{height}\"/>\
             <text class=\"axis\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            TOP - 8.0,
            TOP - 12.0,
            label
        )?;
    }
    let mut y = TOP + ROW / 2.0;
    for pair in &chart.pairs {
        row(pair, &axis, y, &chart.unit, out)?;
        y += ROW;
    }
    writeln!(out, "</svg>\n</div>\n</figure>")
}

fn row(pair: &Pair, axis: &Axis, y: f64, unit: &str, out: &mut dyn Write) -> io::Result<()> {
    let (before, after) = (axis.x(pair.before), axis.x(pair.after));
    let class = if pair.open { "open" } else { "before" };
    let tone = tone_class(pair.tone);
    let least = if pair.open { "at least " } else { "" };
    let range = pair.range.map_or_else(String::new, |(low, high)| {
        let (low, high, top, end) = (axis.x(low), axis.x(high), y - 4.0, y + 4.0);
        format!("<path class=\"range\" d=\"M{low:.1} {top:.1}V{end:.1}M{low:.1} {y:.1}H{high:.1}M{high:.1} {top:.1}V{end:.1}\"/>")
    });
    writeln!(
        out,
        "<g><title>{}: {least}{:.3} {unit} before, {:.3} {unit} after</title>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
         <line class=\"link\" x1=\"{before:.1}\" x2=\"{after:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>{range}\
         <circle class=\"{class}\" cx=\"{before:.1}\" cy=\"{y:.1}\" r=\"5\"/>\
         <circle class=\"after {tone}\" cx=\"{after:.1}\" cy=\"{y:.1}\" r=\"5\"/></g>",
        text(&pair.label),
        pair.before,
        pair.after,
        LEFT - 14.0,
        y + 4.0,
        text(&shortened(&pair.label)),
        unit = text(unit),
    )
}

/// What fits to the left of the axis.
fn shortened(label: &str) -> String {
    const FITS: usize = 44;
    if label.chars().count() <= FITS {
        return label.to_owned();
    }
    label.chars().take(FITS - 1).chain(['…']).collect()
}
