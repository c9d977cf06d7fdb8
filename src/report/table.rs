use super::clean::one_line;
use super::group::{Alike, Excused, Group, excused, findings, groups, summary};
use super::spark::ascii;
use super::wrap::wrap;
use super::{Format, Style, clean};
use crate::model::{Block, Cell, Finding, Gap, Grid, Outcome, Report, Severity, Tone};
use crate::sql::lines::fold;
use comfy_table::{
    Attribute, Cell as TableCell, CellAlignment, Color, ContentArrangement, Table, presets,
};
use std::io::{self, Write};

pub(super) static FORMAT: Format = Format {
    name: "table",
    about: "for people at a terminal",
    commands: &[],
    render,
};

fn render(report: &Report, style: Style, out: &mut dyn Write) -> io::Result<()> {
    if !style.ascii {
        return lines(report, style, out);
    }
    // One character for one, so that columns stay where they are.
    let mut drawn = Vec::new();
    lines(report, style, &mut drawn)?;
    out.write_all(ascii(&String::from_utf8_lossy(&drawn)).as_bytes())
}

fn lines(report: &Report, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let groups = groups(report);
    // Of one rule alone everything is shown: that is how one asks for the rest.
    let most = if groups.len() > 1 && report.command == "audit" {
        AT_A_GLANCE
    } else {
        usize::MAX
    };
    for group in &groups {
        render_group(group, most, style, out)?;
    }
    for excused in excused(report) {
        render_excused(&excused, style, out)?;
    }
    for block in &report.blocks {
        match block {
            Block::Heading(text) => writeln!(out, "\n{}", paint(text, Tone::Plain, true, style))?,
            Block::Text(text) => writeln!(out, "{}", clean(text))?,
            Block::Warning(text) => {
                let words = format!("Warning: {}", clean(text));
                writeln!(out, "{}", paint(&words, Tone::Warn, false, style))?;
            }
            Block::Table(grid) => writeln!(out, "{}", draw(grid, style))?,
            Block::Chart(_) | Block::Curves(_) | Block::Heat(_) | Block::Sides(_) => {}
            Block::Code { text, .. } => {
                for line in clean(text).lines() {
                    writeln!(out, "    {line}")?;
                }
            }
        }
    }
    for gap in &report.gaps {
        render_gap(gap, style, out)?;
    }
    let tone = match report.outcome {
        Outcome::Pass => Tone::Good,
        Outcome::Fail => Tone::Bad,
        Outcome::Inconclusive => Tone::Warn,
    };
    writeln!(out)?;
    for line in wrap(&clean(&report.summary), usize::from(style.width)) {
        writeln!(out, "{}", paint(&line, tone, true, style))?;
    }
    match &report.next {
        Some(next) => writeln!(out, "Next: {next}"),
        None => Ok(()),
    }
}

/// Where the words of a finding begin.
const INDENT: usize = 9;
/// Nobody reads more findings of one rule on a terminal; where it is only a few more, they are shown.
const AT_A_GLANCE: usize = 8;
const A_FEW: usize = 2;

fn tone_of(severity: Severity) -> Tone {
    match severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Warn,
        Severity::Note => Tone::Dim,
    }
}

/// One line for the rule, then the objects; what several of them have in common is said once.
fn render_group(
    group: &Group<'_>,
    most: usize,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let label = format!("{:<INDENT$}", group.severity.label());
    let number = match group.count() {
        1 => String::new(),
        n => format!("  {}", findings(n)),
    };
    writeln!(
        out,
        "{}{}{}",
        paint(&label, tone_of(group.severity), true, style),
        paint(group.rule, Tone::Plain, true, style),
        paint(&number, Tone::Dim, false, style)
    )?;
    indented(summary(group.rule), INDENT, Tone::Dim, style, out)?;
    if group.count() <= most.saturating_add(A_FEW) {
        for alike in &group.alike {
            render_alike(alike, style, out)?;
        }
        return writeln!(out);
    }
    let (shown, left) = group.worst(most);
    for alike in &shown {
        render_alike(alike, style, out)?;
    }
    let more = format!("and {left} more: dbtune audit --only {}", group.rule);
    indented(&more, INDENT, Tone::Dim, style, out)?;
    writeln!(out)
}

fn render_alike(alike: &Alike<'_>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    for finding in &alike.findings {
        let object = object_line(finding);
        for line in wrap(&object, width(style, INDENT)) {
            let line = paint(&line, Tone::Plain, true, style);
            writeln!(out, "{:INDENT$}{line}", "")?;
        }
    }
    let deeper = INDENT + 2;
    indented(alike.message, deeper, Tone::Plain, style, out)?;
    indented(
        alike.advice.unwrap_or_default(),
        deeper,
        Tone::Plain,
        style,
        out,
    )?;
    let mut shown = std::collections::BTreeSet::new();
    for fix in alike.findings.iter().filter_map(|f| f.fix.as_deref()) {
        // One statement may mend several.
        if shown.insert(fix) {
            for line in clean(&fold(fix, width(style, deeper))).lines() {
                let line = paint(line, Tone::Good, false, style);
                writeln!(out, "{:deeper$}{line}", "")?;
            }
        }
    }
    Ok(())
}

/// The object, and the line of the migration where it is known.
fn object_line(finding: &Finding) -> String {
    let object = one_line(&finding.object.to_string()).into_owned();
    match &finding.origin {
        Some(origin) => format!("{object} ({})", one_line(&origin.to_string())),
        None => object,
    }
}

fn render_excused(excused: &Excused<'_>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let head = format!("{}, {}", findings(excused.count()), excused.why);
    for line in wrap(&clean(&head), usize::from(style.width)) {
        writeln!(out, "{}", paint(&line, Tone::Dim, true, style))?;
    }
    for (rule, those) in &excused.rules {
        let objects: Vec<String> = those
            .iter()
            .map(|f| format!("{} {}", f.severity.label(), one_line(&f.object.to_string())))
            .collect();
        let line = format!("{rule}: {}", objects.join(", "));
        indented(&line, INDENT, Tone::Dim, style, out)?;
    }
    writeln!(out)
}

fn render_gap(gap: &Gap, style: Style, out: &mut dyn Write) -> io::Result<()> {
    const HEAD: &str = "not looked at: ";
    let words = format!("{HEAD}{}: {}", clean(&gap.what), clean(&gap.why));
    for (at, line) in wrap(&words, width(style, 4)).into_iter().enumerate() {
        match line.strip_prefix(HEAD.trim_end()).filter(|_| at == 0) {
            Some(rest) => {
                let head = paint(HEAD.trim_end(), Tone::Warn, false, style);
                writeln!(out, "{head}{rest}")?;
            }
            None => writeln!(out, "    {line}")?,
        }
    }
    for line in clean(&fold(
        gap.remedy.as_deref().unwrap_or_default(),
        width(style, 4),
    ))
    .lines()
    {
        writeln!(out, "    {line}")?;
    }
    Ok(())
}

fn indented(
    text: &str,
    by: usize,
    tone: Tone,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    for line in wrap(&clean(text), width(style, by)) {
        writeln!(out, "{:by$}{}", "", paint(&line, tone, false, style))?;
    }
    Ok(())
}

/// Columns that are left behind an indentation.
fn width(style: Style, indent: usize) -> usize {
    usize::from(style.width).saturating_sub(indent).max(20)
}

fn draw(grid: &Grid, style: Style) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(style.width);
    table.set_header(grid.columns.iter().map(|c| TableCell::new(clean(&c.title))));
    for row in &grid.rows {
        let cells = row.iter().zip(&grid.columns).map(|(cell, column)| {
            let align = if column.right {
                CellAlignment::Right
            } else {
                CellAlignment::Left
            };
            colored(cell, style).set_alignment(align)
        });
        table.add_row(cells.collect::<Vec<_>>());
    }
    table
}

fn colored(cell: &Cell, style: Style) -> TableCell {
    let drawn = TableCell::new(clean(&cell.text));
    if !style.color {
        return drawn;
    }
    match cell.tone {
        Tone::Plain => drawn,
        Tone::Good => drawn.fg(Color::Green),
        Tone::Bad => drawn.fg(Color::Red),
        Tone::Warn => drawn.fg(Color::Yellow),
        Tone::Dim => drawn.add_attribute(Attribute::Dim),
    }
}

fn paint(text: &str, tone: Tone, bold: bool, style: Style) -> String {
    let text = clean(text);
    let color = match tone {
        Tone::Plain => "",
        Tone::Good => "32",
        Tone::Bad => "31",
        Tone::Warn => "33",
        Tone::Dim => "2",
    };
    match (style.color, bold, color) {
        (false, _, _) | (true, false, "") => text.into_owned(),
        (true, true, "") => format!("\u{1b}[1m{text}\u{1b}[0m"),
        (true, true, color) => format!("\u{1b}[1;{color}m{text}\u{1b}[0m"),
        (true, false, color) => format!("\u{1b}[{color}m{text}\u{1b}[0m"),
    }
}
