use crate::model::{Evidence, Finding, Gap, Name, Object, ObjectKind, Severity};

/// Where a rule puts what it found; the rule's own id is filled in.
pub struct Sink<'a> {
    rule: &'static str,
    findings: &'a mut Vec<Finding>,
    gaps: &'a mut Vec<Gap>,
}

/// A finding in the making.
pub(super) struct Found(Finding);

impl<'a> Sink<'a> {
    pub(super) fn new(
        rule: &'static str,
        findings: &'a mut Vec<Finding>,
        gaps: &'a mut Vec<Gap>,
    ) -> Self {
        Self {
            rule,
            findings,
            gaps,
        }
    }

    pub(super) fn report(&mut self, found: Found) {
        let mut finding = found.0;
        self.rule.clone_into(&mut finding.rule);
        self.findings.push(finding);
    }

    pub(super) fn gap(&mut self, why: impl Into<String>, remedy: Option<String>) {
        self.gaps.push(Gap {
            what: self.rule.to_owned(),
            why: why.into(),
            remedy,
        });
    }
}

impl Found {
    pub(super) fn new(
        severity: Severity,
        kind: ObjectKind,
        name: &Name,
        part: Option<&str>,
        message: impl Into<String>,
    ) -> Self {
        Self(Finding {
            rule: String::new(),
            severity,
            object: Object {
                kind,
                name: name.clone(),
                part: part.map(str::to_owned),
            },
            message: message.into(),
            evidence: Evidence::default(),
            fix: None,
            advice: None,
            origin: None,
            excuse: None,
        })
    }

    pub(super) fn evidence(
        mut self,
        name: &'static str,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        self.0.evidence.insert(name, value.into());
        self
    }

    pub(super) fn fix(mut self, sql: impl Into<String>) -> Self {
        self.0.fix = Some(sql.into());
        self
    }

    pub(super) fn advice(mut self, words: impl Into<String>) -> Self {
        self.0.advice = Some(words.into());
        self
    }
}

/// `12,345`, for messages.
pub(super) fn count(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1.5 MB`, for messages.
pub(super) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let bytes = bytes as f64;
    let units = [("GB", 30), ("MB", 20), ("kB", 10)];
    units
        .iter()
        .map(|(unit, power)| (unit, bytes / 2f64.powi(*power)))
        .find(|(_, amount)| *amount >= 1.0)
        .map_or_else(
            || format!("{bytes:.0} bytes"),
            |(unit, amount)| format!("{amount:.1} {unit}"),
        )
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_grouped() {
        assert_eq!(super::count(0.0), "0");
        assert_eq!(super::count(999.6), "1,000");
        assert_eq!(super::count(1_234_567.0), "1,234,567");
        assert_eq!(super::size(12), "12 bytes");
        assert_eq!(super::size(1536 * 1024), "1.5 MB");
    }
}
