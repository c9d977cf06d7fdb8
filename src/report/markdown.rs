use super::{Format, Style, clean};
use crate::model::{Block, Cell, Finding, Grid, Report};
use std::io::{self, Write};

pub(super) static FORMAT: Format = Format {
    name: "markdown",
    about: "for a pull request or an issue",
    render,
};

fn render(report: &Report, _: Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "## dbtune {}\n\n{}\n",
        report.command,
        text(&report.summary)
    )?;
    for finding in &report.findings {
        render_finding(finding, out)?;
    }
    for block in &report.blocks {
        match block {
            Block::Heading(heading) => writeln!(out, "### {}\n", text(heading))?,
            Block::Text(words) => writeln!(out, "{}\n", text(words))?,
            Block::Table(grid) => render_grid(grid, out)?,
            Block::Chart(_) => {}
            Block::Code { language, text } => code(language, text, out)?,
        }
    }
    if !report.gaps.is_empty() {
        writeln!(out, "### Not looked at\n")?;
        for gap in &report.gaps {
            write!(out, "- **{}**: {}", text(&gap.what), text(&gap.why))?;
            match &gap.remedy {
                Some(remedy) => writeln!(out, " `{}`", clean(remedy))?,
                None => writeln!(out)?,
            }
        }
        writeln!(out)?;
    }
    match &report.next {
        Some(next) => writeln!(out, "Next: `{next}`"),
        None => Ok(()),
    }
}

fn render_finding(finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "- **{}** `{}` {}: {}",
        finding.severity.label(),
        finding.rule,
        text(&finding.object.to_string()),
        text(&finding.message)
    )?;
    if let Some(advice) = &finding.advice {
        writeln!(out, "  {}", text(advice))?;
    }
    writeln!(out)?;
    match &finding.fix {
        Some(fix) => code("sql", fix, out),
        None => Ok(()),
    }
}

fn render_grid(grid: &Grid, out: &mut dyn Write) -> io::Result<()> {
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    writeln!(
        out,
        "{}",
        line(grid.columns.iter().map(|c| cell(&c.title)).collect())
    )?;
    let rule = grid
        .columns
        .iter()
        .map(|c| if c.right { "---:" } else { "---" }.to_owned());
    writeln!(out, "{}", line(rule.collect()))?;
    for row in &grid.rows {
        let cells = row.iter().map(|Cell { text, .. }| cell(text)).collect();
        writeln!(out, "{}", line(cells))?;
    }
    writeln!(out)
}

/// A fence longer than any run of backticks inside.
fn code(language: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    writeln!(
        out,
        "{fence}{language}\n{}\n{fence}\n",
        clean(text).trim_end()
    )
}

fn cell(words: &str) -> String {
    text(words).replace('|', "\\|").replace('\n', "<br>")
}

/// Names from a database must not become markup.
fn text(words: &str) -> String {
    clean(words)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
