//! The XML that CI servers read as test results: one test suite a run, one test case a check.

use super::{Format, Style, clean};
use crate::model::{Block, Check, CheckResult, Report};
use std::io::{self, Write};

pub(super) static FORMAT: Format = Format {
    name: "junit",
    about: "test results for CI servers (audit, bench, verify)",
    commands: &["audit", "bench", "verify"],
    render,
};

fn render(report: &Report, _: Style, out: &mut dyn Write) -> io::Result<()> {
    let number = |of: fn(&CheckResult) -> bool| {
        let those = report.checks.iter().filter(|c| of(&c.result));
        those.count()
    };
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\"",
        report.checks.len(),
        number(|r| matches!(r, CheckResult::Failed(_))),
        number(|r| matches!(r, CheckResult::Skipped(_))),
    );
    let suite = format!("dbtune {}", report.command);
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(out, "<testsuites name=\"{}\" {counts}>", text(&suite))?;
    writeln!(out, "  <testsuite name=\"{}\" {counts}>", text(&suite))?;
    for check in &report.checks {
        case(check, &report.command, out)?;
    }
    writeln!(
        out,
        "    <system-out>{}</system-out>",
        text(&remarks(report))
    )?;
    writeln!(out, "  </testsuite>\n</testsuites>")
}

fn case(check: &Check, command: &str, out: &mut dyn Write) -> io::Result<()> {
    let open = format!(
        "    <testcase classname=\"dbtune.{}\" name=\"{}\"",
        text(command),
        text(&check.name)
    );
    match &check.result {
        CheckResult::Passed => writeln!(out, "{open}/>"),
        CheckResult::Skipped(why) => writeln!(
            out,
            "{open}>\n      <skipped message=\"{}\"/>\n    </testcase>",
            text(why)
        ),
        CheckResult::Failed(reasons) => {
            let first = reasons.first().map_or("", String::as_str);
            let message = match reasons.len() {
                0 | 1 => first.to_owned(),
                n => format!("{first} (and {} more)", n - 1),
            };
            writeln!(
                out,
                "{open}>\n      <failure message=\"{}\" type=\"{}\">{}</failure>\n    </testcase>",
                text(&message),
                text(&check.name),
                text(&reasons.join("\n"))
            )
        }
    }
}

/// What is no test case: the result and what was compared in words, findings that do not fail, and what was not looked at.
fn remarks(report: &Report) -> String {
    let mut lines = vec![report.summary.clone()];
    lines.extend(report.blocks.iter().filter_map(|block| match block {
        Block::Text(words) => Some(words.clone()),
        Block::Warning(words) => Some(format!("warning: {words}")),
        _ => None,
    }));
    lines.extend(report.findings.iter().map(|f| {
        let excuse = match &f.excuse {
            None => "",
            Some(crate::model::Excuse::Known) => " (known)",
            Some(crate::model::Excuse::Waived { .. }) => " (waived)",
        };
        format!(
            "{} {} {}{excuse}: {}",
            f.severity.label(),
            f.rule,
            f.object,
            f.message
        )
    }));
    lines.extend(report.gaps.iter().map(|gap| {
        let remedy = gap.remedy.as_ref().map(|r| format!(" {r}"));
        format!(
            "not looked at: {}: {}{}",
            gap.what,
            gap.why,
            remedy.unwrap_or_default()
        )
    }));
    lines.join("\n")
}

/// Text for content and attributes. XML 1.0 has no way to write control characters and the two non-characters, so
/// those are shown as `\u{…}`; a newline in an attribute would be read as a space.
fn text(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for c in clean(words).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\u{fffe}' | '\u{ffff}' => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_one_that_xml_can_hold() {
        let mut report = Report::new("audit", "1 error & more");
        report.checks = vec![
            Check {
                name: "a".to_owned(),
                result: CheckResult::Passed,
            },
            Check {
                name: "b".to_owned(),
                result: CheckResult::Failed(vec!["<x> \"'\u{1b}[0m\u{0}\u{ffff}\n".to_owned()]),
            },
            Check {
                name: "c".to_owned(),
                result: CheckResult::Skipped("no".to_owned()),
            },
        ];
        report.blocks = vec![
            Block::Text("before: main".to_owned()),
            Block::Warning("another <server>".to_owned()),
        ];
        let mut bytes = Vec::new();
        let style = Style {
            color: false,
            width: 80,
            ascii: false,
        };
        render(&report, style, &mut bytes).unwrap();
        let xml = String::from_utf8(bytes).unwrap();
        assert!(
            xml.contains("tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\""),
            "{xml}"
        );
        assert!(
            xml.contains("&lt;x&gt; &quot;&apos;\\u{1b}[0m\\u{0}\\u{ffff}&#10;"),
            "{xml}"
        );
        assert!(
            xml.contains("before: main&#10;warning: another &lt;server&gt;"),
            "{xml}"
        );
        assert!(
            !xml.contains(|c: char| c.is_control() && c != '\n'),
            "{xml}"
        );
    }
}
