//! Distribution functions before and after, one small drawing a query, as SVG inside the page.

use super::axis::Axis;
use super::html::{text, tone_class};
use crate::model::{Curve, Curves};
use std::io::{self, Write};

/// Units of one drawing.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;

pub(super) fn render(curves: &Curves, out: &mut dyn Write) -> io::Result<()> {
    if curves.lines.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<figure>\n<figcaption>{}</figcaption>\n<p class=\"legend\"><span class=\"key before\"></span>before \
         <span class=\"key after\"></span>after <span class=\"key slo\"></span>target for p95</p>\n<div class=\"curves\">",
        text(&curves.title)
    )?;
    for curve in &curves.lines {
        draw(curve, &curves.unit, out)?;
    }
    writeln!(out, "</div>\n</figure>")
}

fn draw(curve: &Curve, unit: &str, out: &mut dyn Write) -> io::Result<()> {
    // The target is drawn where the latencies are, and left out where it is far from them.
    let values = curve.before.iter().chain(&curve.after).copied();
    let highest = values.clone().filter(|v| v.is_finite()).fold(0.0, f64::max);
    let target = curve.target.filter(|t| *t < highest * 20.0);
    let axis = Axis::over(values.chain(target), LEFT, WIDTH - RIGHT);
    let middle = |side: &[f64]| side.get(side.len() / 2).copied().unwrap_or_default();
    let title = format!(
        "{}: median {:.3} {unit} before, {:.3} {unit} after",
        curve.label,
        middle(&curve.before),
        middle(&curve.after)
    );
    writeln!(
        out,
        "<div class=\"curve\"><h3 class=\"{}\">{}</h3>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n<title>{}</title>",
        tone_class(curve.tone),
        text(&curve.label),
        text(&title),
        text(&title)
    )?;
    frame(&axis, unit, out)?;
    if let Some(target) = target {
        let x = axis.x(target);
        writeln!(
            out,
            "<line class=\"slo\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>",
            HEIGHT - BOTTOM
        )?;
    }
    step(&curve.before, "before", &axis, out)?;
    step(&curve.after, "after", &axis, out)?;
    writeln!(out, "</svg></div>")
}

fn y(share: f64) -> f64 {
    HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
}

fn frame(axis: &Axis, unit: &str, out: &mut dyn Write) -> io::Result<()> {
    for (share, label) in [(0.0, "0"), (0.5, "50"), (0.95, "95"), (1.0, "")] {
        writeln!(
            out,
            "<line class=\"rule\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y(share) + 4.0,
            y = y(share)
        )?;
    }
    let mut free = 0.0;
    for (label, x) in axis.ticks() {
        writeln!(
            out,
            "<line class=\"rule\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>",
            HEIGHT - BOTTOM
        )?;
        // A label that would stand on the one before it is left out.
        if x >= free {
            writeln!(
                out,
                "<text class=\"axis\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                HEIGHT - BOTTOM + 16.0
            )?;
            free = x + 36.0;
        }
    }
    writeln!(
        out,
        "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">latency in {} (logarithmic)</text>\
         <text class=\"axis\" transform=\"translate(13 {:.1}) rotate(-90)\" text-anchor=\"middle\">% of calls</text>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 4.0,
        text(unit),
        f64::midpoint(TOP, HEIGHT - BOTTOM)
    )
}

/// The empirical distribution function: up by one share at each value.
fn step(values: &[f64], class: &str, axis: &Axis, out: &mut dyn Write) -> io::Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    write!(out, "<path class=\"step {class}\" d=\"")?;
    #[expect(clippy::cast_precision_loss, reason = "a number of values")]
    let last = values.len().saturating_sub(1).max(1) as f64;
    let mut at = 0.0;
    for value in values {
        let x = axis.x(*value);
        if at == 0.0 {
            write!(out, "M{x:.1} {:.1}", y(0.0))?;
        } else {
            write!(out, "H{x:.1}")?;
        }
        write!(out, "V{:.1}", y((at / last).min(1.0)))?;
        at += 1.0;
    }
    // What was cut off never ended: the curve stays below the top.
    writeln!(out, "\"/>")
}
