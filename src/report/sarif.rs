//! SARIF 2.1.0 (OASIS), which code scanning reads.

use super::json::write_safely;
use super::{Format, Style};
use crate::model::{Excuse, Finding, Gap, Object, Report, Severity};
use crate::rules::{self, Rule};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};

pub(super) static FORMAT: Format = Format {
    name: "sarif",
    about: "SARIF 2.1.0 for code scanning (audit)",
    commands: &["audit"],
    render,
};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// What a path may hold as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b'~');

fn render(report: &Report, _: Style, out: &mut dyn Write) -> io::Result<()> {
    let places: BTreeMap<&str, usize> = rules::ALL
        .iter()
        .enumerate()
        .map(|(at, rule)| (rule.id, at))
        .collect();
    let compared = report
        .findings
        .iter()
        .any(|f| f.excuse == Some(Excuse::Known));
    let results: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| result(finding, &places, compared))
        .collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "dbtune",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules::ALL.iter().map(|r| rule(r)).collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": true,
                "toolExecutionNotifications": report.gaps.iter().map(notification).collect::<Vec<_>>(),
            }],
            "results": results,
            "properties": { "summary": report.summary },
        }],
    });
    write_safely(&log, out)
}

fn rule(rule: &Rule) -> Value {
    let mut tags = vec!["postgresql", "row-level-security", rule.category.label()];
    tags.extend(rule.also);
    json!({
        "id": rule.id,
        "shortDescription": { "text": rule.summary },
        "fullDescription": { "text": rule.facts() },
        "help": { "text": rule.docs, "markdown": markdown(rule.docs) },
        "defaultConfiguration": { "level": level(rule.severity) },
        "properties": { "tags": tags },
    })
}

/// The doc comment without its leading spaces and dbtune's marks on the fences.
fn markdown(docs: &str) -> String {
    let lines = docs.lines().map(|line| {
        let line = line.strip_prefix(' ').unwrap_or(line);
        match line.strip_prefix("```sql,") {
            Some(kind) => format!("{}:\n```sql", kind.trim_end_matches(" shown")),
            None => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn level(severity: Severity) -> &'static str {
    severity.label()
}

fn result(finding: &Finding, places: &BTreeMap<&str, usize>, compared: bool) -> Value {
    let mut text = finding.message.clone();
    for more in [&finding.advice, &finding.fix].into_iter().flatten() {
        text.push('\n');
        text.push_str(more);
    }
    let mut result = json!({
        "ruleId": finding.rule,
        "level": level(finding.severity),
        "message": { "text": format!("{}: {text}", finding.object) },
        "locations": [location(finding)],
        "partialFingerprints": { "ruleAndObject/v1": fingerprint(finding) },
        "properties": { "evidence": finding.evidence, "fix": finding.fix },
    });
    let Some(fields) = result.as_object_mut() else {
        return result;
    };
    if let Some(at) = places.get(finding.rule.as_str()) {
        fields.insert("ruleIndex".to_owned(), json!(at));
    }
    if compared {
        let state = match finding.excuse {
            Some(Excuse::Known) => "unchanged",
            _ => "new",
        };
        fields.insert("baselineState".to_owned(), json!(state));
    }
    if let Some(Excuse::Waived { reason, expires }) = &finding.excuse {
        let why = format!("{reason} (until {expires})");
        let one = json!({ "kind": "external", "status": "accepted", "justification": why });
        fields.insert("suppressions".to_owned(), json!([one]));
    }
    result
}

/// The object by name, and the line of the migration where it is known.
fn location(finding: &Finding) -> Value {
    let object = &finding.object;
    let name = object.part.as_ref().unwrap_or(&object.name.name);
    let logical = json!({
        "name": name,
        "fullyQualifiedName": qualified(object),
        "kind": object.kind.label(),
    });
    let mut location = json!({ "logicalLocations": [logical] });
    if let (Some(origin), Some(fields)) = (&finding.origin, location.as_object_mut()) {
        let uri = utf8_percent_encode(&origin.file, PATH).to_string();
        let physical = json!({
            "artifactLocation": { "uri": uri },
            "region": { "startLine": origin.line.max(1) },
        });
        fields.insert("physicalLocation".to_owned(), physical);
    }
    location
}

/// `schema.name/part`.
fn qualified(object: &Object) -> String {
    match &object.part {
        Some(part) => format!("{}/{part}", object.name),
        None => object.name.to_string(),
    }
}

/// Rule and object, so that a finding stays the same when its numbers move. Lengths keep the parts of hostile names
/// apart.
fn fingerprint(finding: &Finding) -> String {
    let object = &finding.object;
    let parts = [
        finding.rule.as_str(),
        object.kind.label(),
        &object.name.schema,
        &object.name.name,
        object.part.as_deref().unwrap_or_default(),
    ];
    parts.map(|part| format!("{}:{part}", part.len())).join("/")
}

fn notification(gap: &Gap) -> Value {
    let remedy = gap.remedy.as_ref().map(|r| format!(" {r}"));
    let text = format!("{}: {}.{}", gap.what, gap.why, remedy.unwrap_or_default());
    json!({ "level": "note", "message": { "text": text } })
}
