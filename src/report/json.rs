use super::{Format, Style};
use crate::model::Report;
use std::io::{self, Write};

pub(super) static FORMAT: Format = Format {
    name: "json",
    about: "the whole result, for programs",
    render,
};

/// Everything but the blocks, which say in words what `data` says in fields.
fn render(report: &Report, _: Style, out: &mut dyn Write) -> io::Result<()> {
    let value = serde_json::json!({
        "command": report.command,
        "outcome": report.outcome,
        "summary": report.summary,
        "findings": report.findings,
        "gaps": report.gaps,
        "data": report.data,
        "next": report.next,
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}
