use super::{Format, Style};
use crate::model::Report;
use std::fmt::Write as _;
use std::io::{self, Write};

pub(super) static FORMAT: Format = Format {
    name: "json",
    about: "the whole result, for programs",
    commands: &[],
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
    write_safely(&value, out)
}

/// Indented JSON in which characters that a terminal might act on are written as `\u…`: a name is the same to a
/// program, and harmless to whoever prints the file.
pub(super) fn write_safely(value: &serde_json::Value, out: &mut dyn Write) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    let mut rest = text.as_str();
    while let Some((at, bad)) = rest
        .char_indices()
        .find(|(_, c)| super::clean::is_unsafe(*c))
    {
        let (before, after) = rest.split_at(at);
        out.write_all(before.as_bytes())?;
        let mut escaped = String::new();
        for unit in bad.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
        out.write_all(escaped.as_bytes())?;
        rest = after.split_at(bad.len_utf8()).1;
    }
    out.write_all(rest.as_bytes())?;
    writeln!(out)
}
