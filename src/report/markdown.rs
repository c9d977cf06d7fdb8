use super::clean::one_line;
use super::group::{Excused, Group, excused, findings, groups, summary};
use super::sides::common;
use super::{Format, Style, clean};
use crate::model::{Block, Cell, Grid, Report, Sides};
use std::collections::BTreeSet;
use std::io::{self, Write};

pub(super) static FORMAT: Format = Format {
    name: "markdown",
    about: "for a pull request or an issue",
    commands: &[],
    render,
};

fn render(report: &Report, _: Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "## dbtune {}\n\n{}\n",
        report.command,
        text(&report.summary)
    )?;
    for group in groups(report) {
        render_group(&group, out)?;
    }
    for excused in excused(report) {
        render_excused(&excused, out)?;
    }
    for block in &report.blocks {
        match block {
            Block::Heading(heading) => writeln!(out, "### {}\n", text(heading))?,
            Block::Text(words) => writeln!(out, "{}\n", text(words))?,
            Block::Warning(words) => writeln!(out, "**Warning:** {}\n", text(words))?,
            Block::Table(grid) => render_grid(grid, out)?,
            Block::Chart(_) | Block::Curves(_) | Block::Heat(_) => {}
            Block::Sides(sides) => render_sides(sides, out)?,
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

fn render_group(group: &Group<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "### {}: `{}` ({})\n",
        group.severity.label(),
        group.rule,
        findings(group.count())
    )?;
    let about = summary(group.rule);
    if !about.is_empty() {
        writeln!(out, "{}\n", text(about))?;
    }
    for alike in &group.alike {
        for finding in &alike.findings {
            let object = name(&finding.object.to_string());
            match &finding.origin {
                Some(origin) => writeln!(out, "- **{object}** ({})", name(&origin.to_string()))?,
                None => writeln!(out, "- **{object}**")?,
            }
        }
        writeln!(out, "\n  {}", text(&indent(alike.message)))?;
        if let Some(advice) = alike.advice {
            writeln!(out, "\n  {}", text(&indent(advice)))?;
        }
        writeln!(out)?;
        let fixes: BTreeSet<&str> = alike
            .findings
            .iter()
            .filter_map(|f| f.fix.as_deref())
            .collect();
        if !fixes.is_empty() {
            let fixes: Vec<&str> = fixes.into_iter().collect();
            code("sql", &fixes.join("\n"), out)?;
        }
    }
    Ok(())
}

fn render_excused(excused: &Excused<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "### {}, {}\n",
        findings(excused.count()),
        name(&excused.why)
    )?;
    for (rule, those) in &excused.rules {
        for finding in those {
            let object = name(&finding.object.to_string());
            writeln!(out, "- {} `{rule}` {object}", finding.severity.label())?;
        }
    }
    writeln!(out)
}

/// Keeps the lines of a text inside a list item.
fn indent(words: &str) -> String {
    words.replace('\n', "\n  ")
}

fn render_grid(grid: &Grid, out: &mut dyn Write) -> io::Result<()> {
    let loud = grid.rows.len().saturating_sub(grid.quiet);
    let (loud, quiet) = grid.rows.split_at(loud);
    if !loud.is_empty() || quiet.is_empty() {
        render_rows(grid, loud, out)?;
    }
    if quiet.is_empty() {
        return Ok(());
    }
    let others = if loud.is_empty() { "" } else { " others" };
    writeln!(
        out,
        "<details>\n<summary>{}{others}</summary>\n",
        quiet.len()
    )?;
    render_rows(grid, quiet, out)?;
    writeln!(out, "</details>\n")
}

fn render_rows(grid: &Grid, rows: &[Vec<Cell>], out: &mut dyn Write) -> io::Result<()> {
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
    for row in rows {
        let cells = row.iter().map(|Cell { text, .. }| cell(text)).collect();
        writeln!(out, "{}", line(cells))?;
    }
    writeln!(out)
}

/// As a diff, which GitHub and its like colour.
fn render_sides(sides: &Sides, out: &mut dyn Write) -> io::Result<()> {
    let before: Vec<&str> = sides.before.lines().collect();
    let after: Vec<&str> = sides.after.lines().collect();
    let (kept_before, kept_after) = common(&before, &after);
    let mut text_of = String::new();
    let mut line = |mark: char, words: &str| {
        text_of.push(mark);
        text_of.push(' ');
        text_of.push_str(words);
        text_of.push('\n');
    };
    let mut rest = after.iter().zip(&kept_after).peekable();
    for (words, kept) in before.iter().zip(&kept_before) {
        if !kept {
            line('-', words);
            continue;
        }
        while let Some((added, _)) = rest.next_if(|(_, kept)| !**kept) {
            line('+', added);
        }
        rest.next();
        line(' ', words);
    }
    for (added, _) in rest {
        line('+', added);
    }
    writeln!(
        out,
        "<details>\n<summary>{}</summary>\n",
        text(&sides.title)
    )?;
    code("diff", &text_of, out)?;
    writeln!(out, "</details>\n")
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

/// Words from a database must not become HTML.
fn text(words: &str) -> String {
    clean(words)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A name on one line, in which nothing is markup.
fn name(words: &str) -> String {
    text(&one_line(words))
        .chars()
        .fold(String::new(), |mut out, c| {
            if matches!(
                c,
                '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!'
            ) {
                out.push('\\');
            }
            out.push(c);
            out
        })
}
