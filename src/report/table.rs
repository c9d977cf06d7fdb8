use super::{Format, Style, clean};
use crate::model::{Block, Cell, Finding, Grid, Outcome, Report, Severity, Tone};
use comfy_table::{
    Attribute, Cell as TableCell, CellAlignment, Color, ContentArrangement, Table, presets,
};
use std::io::{self, Write};

pub(super) static FORMAT: Format = Format {
    name: "table",
    about: "for people at a terminal",
    render,
};

fn render(report: &Report, style: Style, out: &mut dyn Write) -> io::Result<()> {
    for finding in &report.findings {
        render_finding(finding, style, out)?;
    }
    for block in &report.blocks {
        match block {
            Block::Heading(text) => writeln!(out, "\n{}", paint(text, Tone::Plain, true, style))?,
            Block::Text(text) => writeln!(out, "{}", clean(text))?,
            Block::Table(grid) => writeln!(out, "{}", draw(grid, style))?,
            Block::Chart(_) => {}
            Block::Code { text, .. } => {
                for line in clean(text).lines() {
                    writeln!(out, "    {line}")?;
                }
            }
        }
    }
    for gap in &report.gaps {
        let head = paint("not looked at", Tone::Warn, false, style);
        writeln!(out, "{head}: {}: {}", clean(&gap.what), clean(&gap.why))?;
        if let Some(remedy) = &gap.remedy {
            writeln!(out, "    {}", clean(remedy))?;
        }
    }
    let tone = match report.outcome {
        Outcome::Pass => Tone::Good,
        Outcome::Fail => Tone::Bad,
        Outcome::Inconclusive => Tone::Warn,
    };
    writeln!(out, "\n{}", paint(&report.summary, tone, true, style))?;
    match &report.next {
        Some(next) => writeln!(out, "Next: {next}"),
        None => Ok(()),
    }
}

fn render_finding(finding: &Finding, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let tone = match finding.severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Warn,
        Severity::Note => Tone::Dim,
    };
    let label = paint(
        &format!("{:<7}", finding.severity.label()),
        tone,
        true,
        style,
    );
    let object = paint(&finding.object.to_string(), Tone::Plain, true, style);
    writeln!(
        out,
        "{label} {object}  {}",
        paint(&finding.rule, Tone::Dim, false, style)
    )?;
    let width = usize::from(style.width).saturating_sub(8).max(40);
    for line in wrap(&clean(&finding.message), width) {
        writeln!(out, "        {line}")?;
    }
    if let Some(advice) = &finding.advice {
        for line in wrap(&clean(advice), width) {
            writeln!(out, "        {line}")?;
        }
    }
    if let Some(fix) = &finding.fix {
        for line in clean(fix).lines() {
            writeln!(out, "        {}", paint(line, Tone::Good, false, style))?;
        }
    }
    writeln!(out)
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

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}
