//! Workflow commands that GitHub Actions turns into annotations of the changed lines and of the run.

use super::{Format, Style, clean};
use crate::model::{Block, CheckResult, Finding, Outcome, Report, Severity};
use std::io::{self, Write};

pub(super) static FORMAT: Format = Format {
    name: "github",
    about: "annotations for GitHub Actions (audit, bench, verify)",
    commands: &["audit", "bench", "verify"],
    render,
};

/// GitHub shows ten annotations of each kind a step; worst first, so that those are the ones.
fn render(report: &Report, _: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut findings: Vec<&Finding> = report.findings.iter().filter(|f| f.counts()).collect();
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    for one in &findings {
        finding(one, out)?;
    }
    // The checks of an audit are its findings by rule: once is enough.
    let checks = if findings.is_empty() {
        report.checks.as_slice()
    } else {
        &[]
    };
    for check in checks {
        match &check.result {
            CheckResult::Failed(reasons) => {
                command(
                    "error",
                    &[("title", check.name.clone())],
                    &reasons.join("\n"),
                    out,
                )?;
            }
            CheckResult::Skipped(why) => {
                command("warning", &[("title", check.name.clone())], why, out)?;
            }
            CheckResult::Passed => {}
        }
    }
    let title = format!("dbtune {}", report.command);
    for block in &report.blocks {
        if let Block::Warning(words) = block {
            command("warning", &[("title", title.clone())], words, out)?;
        }
    }
    for gap in &report.gaps {
        let remedy = gap.remedy.as_ref().map(|r| format!("\n{r}"));
        let words = format!("{}: {}{}", gap.what, gap.why, remedy.unwrap_or_default());
        command(
            "notice",
            &[("title", "dbtune: not looked at".to_owned())],
            &words,
            out,
        )?;
    }
    let kind = match report.outcome {
        Outcome::Pass => "notice",
        Outcome::Inconclusive => "warning",
        Outcome::Fail => "error",
    };
    command(kind, &[("title", title)], &report.summary, out)
}

fn finding(finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    let kind = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    let mut properties = Vec::new();
    if let Some(origin) = &finding.origin {
        properties.push(("file", origin.file.clone()));
        properties.push(("line", origin.line.to_string()));
    }
    properties.push(("title", format!("{} {}", finding.rule, finding.object)));
    let parts = [
        Some(&finding.message),
        finding.advice.as_ref(),
        finding.fix.as_ref(),
    ];
    let words: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    command(kind, &properties, &words.join("\n"), out)
}

/// `::kind name=value,name=value::words`, on one line whatever the words hold.
fn command(
    kind: &str,
    properties: &[(&str, String)],
    words: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    let properties: Vec<String> = properties
        .iter()
        .map(|(name, value)| format!("{name}={}", property(value)))
        .collect();
    writeln!(out, "::{kind} {}::{}", properties.join(","), data(words))
}

fn data(words: &str) -> String {
    let words = words.replace('\r', "");
    clean(&words).replace('%', "%25").replace('\n', "%0A")
}

fn property(words: &str) -> String {
    data(words).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Check;

    #[test]
    fn a_name_cannot_become_a_command() {
        let mut report = Report::new("bench", "1 query: 1 slower");
        report.outcome = Outcome::Fail;
        let check = |name: &str, result| Check {
            name: name.to_owned(),
            result,
        };
        report.checks = vec![
            check("fine@a", CheckResult::Passed),
            check(
                "a,b:c@x",
                CheckResult::Failed(vec!["100 %\n::error::no".to_owned(), "\r\nmore".to_owned()]),
            ),
            check("noisy@a", CheckResult::Skipped("too noisy".to_owned())),
        ];
        report.blocks = vec![
            Block::Text("before: main".to_owned()),
            Block::Warning("another server".to_owned()),
        ];
        let mut bytes = Vec::new();
        let style = Style {
            color: false,
            width: 80,
            ascii: false,
        };
        render(&report, style, &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "::error title=a%2Cb%3Ac@x::100 %25%0A::error::no%0A%0Amore",
                "::warning title=noisy@a::too noisy",
                "::warning title=dbtune bench::another server",
                "::error title=dbtune bench::1 query: 1 slower",
            ]
        );
    }
}
