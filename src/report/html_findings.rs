//! The findings of a page: an overview that leads to each rule, then the rules with their objects.

use super::clean::one_line;
use super::group::{Alike, Excused, Group, excused, findings, groups, summary};
use super::html::{lines, text};
use crate::model::{Finding, Report, Severity};
use std::collections::BTreeSet;
use std::io::{self, Write};

pub(super) fn render(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let groups = groups(report);
    writeln!(out, "<h2>Findings</h2>")?;
    overview(&groups, out)?;
    for one in &groups {
        group(one, out)?;
    }
    for one in excused(report) {
        excused_section(&one, out)?;
    }
    Ok(())
}

fn class(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "bad",
        Severity::Warning => "warn",
        Severity::Note => "dim",
    }
}

/// One row a rule, worst first.
fn overview(groups: &[Group<'_>], out: &mut dyn Write) -> io::Result<()> {
    // A list of one says nothing that does not stand right below it.
    if groups.len() < 2 {
        return Ok(());
    }
    writeln!(
        out,
        "<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">severity</th><th scope=\"col\">rule</th>\
         <th scope=\"col\">about</th><th scope=\"col\" class=\"right\">findings</th></tr></thead>\n<tbody>"
    )?;
    for group in groups {
        writeln!(
            out,
            "<tr><td class=\"{}\">{}</td><td><a href=\"#{}\">{}</a></td><td>{}</td><td class=\"right\">{}</td></tr>",
            class(group.severity),
            group.severity.label(),
            anchor(group),
            text(group.rule),
            text(summary(group.rule)),
            group.count()
        )?;
    }
    writeln!(out, "</tbody></table></div>")
}

fn anchor(group: &Group<'_>) -> String {
    text(&format!("{}-{}", group.severity.label(), group.rule))
}

fn group(group: &Group<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "<section class=\"finding\" id=\"{}\">\n<h3><span class=\"{}\">{}</span> <code>{}</code> <span class=\"dim\">{}</span></h3>\n\
         <p class=\"dim\">{}</p>",
        anchor(group),
        class(group.severity),
        group.severity.label(),
        text(group.rule),
        findings(group.count()),
        text(summary(group.rule))
    )?;
    for one in &group.alike {
        alike(one, out)?;
    }
    writeln!(out, "</section>")
}

fn alike(alike: &Alike<'_>, out: &mut dyn Write) -> io::Result<()> {
    let objects: Vec<String> = alike.findings.iter().map(|f| object(f)).collect();
    writeln!(
        out,
        "<p>{}<br>{}</p>",
        objects.join("<br>"),
        lines(alike.message)
    )?;
    if let Some(advice) = alike.advice {
        writeln!(out, "<p>{}</p>", lines(advice))?;
    }
    let fixes: BTreeSet<&str> = alike
        .findings
        .iter()
        .filter_map(|f| f.fix.as_deref())
        .collect();
    if !fixes.is_empty() {
        let fixes: Vec<&str> = fixes.into_iter().collect();
        writeln!(out, "<pre><code>{}</code></pre>", text(&fixes.join("\n")))?;
    }
    Ok(())
}

fn object(finding: &Finding) -> String {
    let object = text(&one_line(&finding.object.to_string()));
    match &finding.origin {
        Some(origin) => format!(
            "<strong>{object}</strong> <span class=\"dim\">{}</span>",
            text(&one_line(&origin.to_string()))
        ),
        None => format!("<strong>{object}</strong>"),
    }
}

fn excused_section(excused: &Excused<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "<details>\n<summary>{}, {}</summary>\n<ul>",
        findings(excused.count()),
        lines(&excused.why)
    )?;
    for (rule, those) in &excused.rules {
        for finding in those {
            writeln!(
                out,
                "<li>{} <code>{}</code> {}</li>",
                finding.severity.label(),
                text(rule),
                object(finding)
            )?;
        }
    }
    writeln!(out, "</ul>\n</details>")
}
