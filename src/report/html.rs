//! One page that needs nothing else: style and charts are inside, nothing is loaded.

use super::{Format, Style, clean, html_findings};
use super::{chart, curves, heat, sides};
use crate::model::{Block, Grid, Outcome, Report, Tone};
use std::io::{self, Write};

pub(super) static FORMAT: Format = Format {
    name: "html",
    about: "a page with charts, for people who were not there",
    commands: &[],
    render,
};

const CSS: &str = include_str!("page.css");

fn render(report: &Report, _: Style, out: &mut dyn Write) -> io::Result<()> {
    let title = format!("dbtune {}", report.command);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{CSS}</style>\n</head>\n<body>\n<main>",
        text(&title)
    )?;
    let (class, word) = match report.outcome {
        Outcome::Pass => ("good", "pass"),
        Outcome::Fail => ("bad", "fail"),
        Outcome::Inconclusive => ("warn", "unclear"),
    };
    writeln!(
        out,
        "<h1>{}</h1>\n<p class=\"summary {class}\"><b>{word}</b> {}</p>",
        text(&title),
        text(&report.summary)
    )?;
    for block in &report.blocks {
        match block {
            Block::Heading(words) => writeln!(out, "<h2>{}</h2>", text(words))?,
            Block::Text(words) => writeln!(out, "<p>{}</p>", lines(words))?,
            Block::Warning(words) => {
                writeln!(out, "<p class=\"warn\">Warning: {}</p>", lines(words))?;
            }
            Block::Table(grid) => table(grid, out)?,
            Block::Chart(chart) => chart::render(chart, out)?,
            Block::Curves(curves) => curves::render(curves, out)?,
            Block::Heat(heat) => heat::render(heat, out)?,
            Block::Sides(sides) => sides::render(sides, out)?,
            Block::Code { text: code, .. } => {
                writeln!(out, "<pre><code>{}</code></pre>", text(code))?;
            }
        }
    }
    if !report.findings.is_empty() {
        html_findings::render(report, out)?;
    }
    gaps(report, out)?;
    if let Some(next) = &report.next {
        writeln!(out, "<p>Next: <code>{}</code></p>", text(next))?;
    }
    writeln!(out, "</main>\n</body>\n</html>")
}

fn table(grid: &Grid, out: &mut dyn Write) -> io::Result<()> {
    let class = |right: bool, tone: Tone| match (right, tone_class(tone)) {
        (true, "") => " class=\"right\"".to_owned(),
        (true, tone) => format!(" class=\"right {tone}\""),
        (false, "") => String::new(),
        (false, tone) => format!(" class=\"{tone}\""),
    };
    writeln!(out, "<div class=\"scroll\"><table>\n<thead><tr>")?;
    for column in &grid.columns {
        writeln!(
            out,
            "<th scope=\"col\"{}>{}</th>",
            class(column.right, Tone::Plain),
            text(&column.title)
        )?;
    }
    writeln!(out, "</tr></thead>\n<tbody>")?;
    for row in &grid.rows {
        write!(out, "<tr>")?;
        for (cell, column) in row.iter().zip(&grid.columns) {
            write!(
                out,
                "<td{}>{}</td>",
                class(column.right, cell.tone),
                lines(&cell.text)
            )?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody></table></div>")
}

fn gaps(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    if report.gaps.is_empty() {
        return Ok(());
    }
    writeln!(out, "<h2>Not looked at</h2>\n<ul>")?;
    for gap in &report.gaps {
        write!(out, "<li><b>{}</b>: {}", text(&gap.what), lines(&gap.why))?;
        if let Some(remedy) = &gap.remedy {
            write!(out, " <code>{}</code>", text(remedy))?;
        }
        writeln!(out, "</li>")?;
    }
    writeln!(out, "</ul>")
}

pub(super) fn tone_class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "",
        Tone::Good => "good",
        Tone::Bad => "bad",
        Tone::Warn => "warn",
        Tone::Dim => "dim",
    }
}

/// Names from a database must not become markup.
pub(super) fn text(words: &str) -> String {
    clean(words)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

pub(super) fn lines(words: &str) -> String {
    text(words).replace('\n', "<br>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Chart, Finding, Gap, Name, Object, ObjectKind, Pair, Severity};

    fn page(report: &Report) -> String {
        let mut out = Vec::new();
        render(
            report,
            Style {
                color: false,
                width: 80,
                ascii: false,
            },
            &mut out,
        )
        .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn shows_everything_and_loads_nothing() {
        let mut report = Report::new("bench", "2 queries <script>");
        let mut grid = Grid::new(&["query", "p95"], &["p95"]);
        grid.rows.push(vec!["a<b>".into(), "1 ms".into()]);
        let pair = |label: &str, before, after| Pair {
            label: label.to_owned(),
            before,
            after,
            open: false,
            range: Some((after, after * 2.0)),
            tone: Tone::Good,
        };
        report.blocks = vec![
            Block::Table(grid),
            Block::Chart(Chart {
                title: "t & u".to_owned(),
                unit: "ms".to_owned(),
                pairs: vec![pair("x", 1000.0, 0.5), pair("zero", 0.0, 0.0)],
            }),
        ];
        report.findings = vec![Finding {
            rule: "some-rule".to_owned(),
            severity: Severity::Error,
            object: Object {
                kind: ObjectKind::Table,
                name: Name::new("public", "t<t>"),
                part: None,
            },
            message: "a message".to_owned(),
            evidence: crate::model::Evidence::default(),
            fix: Some("create index".to_owned()),
            advice: None,
            origin: None,
            excuse: None,
        }];
        report.gaps = vec![Gap {
            what: "a gap".to_owned(),
            why: "reasons".to_owned(),
            remedy: Some("grant".to_owned()),
        }];
        let page = page(&report);
        for part in [
            "a&lt;b&gt;",
            "t &amp; u",
            "some-rule",
            "t&lt;t&gt;",
            "create index",
            "a gap",
            "grant",
            "<svg",
        ] {
            assert!(page.contains(part), "{part} in\n{page}");
        }
        for part in ["<script", "http", "<b>b", "NaN", "inf"] {
            assert!(!page.contains(part), "{part} in\n{page}");
        }
        assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
    }
}
