//! Findings side by side that say the same, so that a hundred of them can be read.

use crate::model::{Excuse, Finding, Report, Severity};
use std::collections::BTreeMap;

/// What one rule found at one severity, in the order of the report.
pub(super) struct Group<'a> {
    pub(super) severity: Severity,
    pub(super) rule: &'a str,
    /// Those with the same words stand together.
    pub(super) alike: Vec<Alike<'a>>,
}

/// Findings that differ in their objects and fixes only.
pub(super) struct Alike<'a> {
    pub(super) message: &'a str,
    pub(super) advice: Option<&'a str>,
    pub(super) findings: Vec<&'a Finding>,
}

impl<'a> Group<'a> {
    pub(super) fn count(&self) -> usize {
        self.alike.iter().map(|a| a.findings.len()).sum()
    }

    /// The first `most` findings, those on the largest tables before the others, and how many are left.
    pub(super) fn worst(&self, most: usize) -> (Vec<Alike<'a>>, usize) {
        let rows = |f: &&Finding| f.evidence.get("rows").and_then(serde_json::Value::as_f64);
        let largest =
            |alike: &Alike<'_>| alike.findings.iter().filter_map(rows).fold(0.0, f64::max);
        let mut order: Vec<&Alike<'a>> = self.alike.iter().collect();
        order.sort_by(|a, b| largest(b).total_cmp(&largest(a)));
        let mut room = most;
        let mut shown = Vec::new();
        for alike in order {
            let findings: Vec<_> = alike.findings.iter().copied().take(room).collect();
            room -= findings.len();
            if !findings.is_empty() {
                shown.push(Alike { findings, ..*alike });
            }
        }
        (shown, self.count().saturating_sub(most))
    }
}

/// The findings that count, worst severity first; within one, the rule with the first object first.
pub(super) fn groups(report: &Report) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut places = BTreeMap::new();
    let mut alike_places = BTreeMap::new();
    for finding in report.findings.iter().filter(|f| f.counts()) {
        let at = *places
            .entry((finding.severity, finding.rule.as_str()))
            .or_insert_with(|| {
                groups.push(Group {
                    severity: finding.severity,
                    rule: &finding.rule,
                    alike: Vec::new(),
                });
                groups.len() - 1
            });
        let Some(group) = groups.get_mut(at) else {
            continue;
        };
        let words = (finding.message.as_str(), finding.advice.as_deref());
        let at = *alike_places.entry((at, words)).or_insert_with(|| {
            group.alike.push(Alike {
                message: words.0,
                advice: words.1,
                findings: Vec::new(),
            });
            group.alike.len() - 1
        });
        if let Some(alike) = group.alike.get_mut(at) {
            alike.findings.push(finding);
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.severity));
    groups
}

/// Findings that do not count, by what they are excused with, and then by rule.
pub(super) struct Excused<'a> {
    /// In one line.
    pub(super) why: String,
    pub(super) rules: BTreeMap<&'a str, Vec<&'a Finding>>,
}

impl Excused<'_> {
    pub(super) fn count(&self) -> usize {
        self.rules.values().map(Vec::len).sum()
    }
}

pub(super) fn excused(report: &Report) -> Vec<Excused<'_>> {
    let mut by_why: BTreeMap<(bool, String), Excused<'_>> = BTreeMap::new();
    for finding in &report.findings {
        let Some(excuse) = &finding.excuse else {
            continue;
        };
        let key = match excuse {
            Excuse::Known => (false, "known from the baseline".to_owned()),
            Excuse::Waived { reason, expires } => {
                (true, format!("waived until {expires}: {reason}"))
            }
        };
        by_why
            .entry(key)
            .or_insert_with_key(|(_, why)| Excused {
                why: why.clone(),
                rules: BTreeMap::new(),
            })
            .rules
            .entry(&finding.rule)
            .or_default()
            .push(finding);
    }
    by_why.into_values().collect()
}

/// The rule's summary; empty for a rule of another version.
pub(super) fn summary(rule: &str) -> &'static str {
    crate::rules::find(rule).map_or("", |r| r.summary)
}

pub(super) fn findings(number: usize) -> String {
    format!(
        "{number} {}",
        if number == 1 { "finding" } else { "findings" }
    )
}
