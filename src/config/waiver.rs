use super::Error;
use crate::model::{Excuse, Finding, Gap};
use chrono::NaiveDate;
use serde::Deserialize;

/// A finding that is let be for a while.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    /// The rule's id.
    pub rule: String,
    /// `schema.name` for it and its parts, `schema.name/part` for one of them; `*` stands for any text, `?` for any
    /// one character.
    pub object: String,
    /// Why it may stay.
    pub reason: String,
    /// The last day on which it holds, `YYYY-MM-DD`.
    pub expires: NaiveDate,
}

impl Waiver {
    pub(super) fn check(&self, file: &str) -> Result<(), Error> {
        let empty = [
            ("rule", &self.rule),
            ("object", &self.object),
            ("reason", &self.reason),
        ]
        .into_iter()
        .find(|(_, text)| text.trim().is_empty());
        match empty {
            None => Ok(()),
            Some((field, _)) => {
                let message = format!(
                    "waivers: the {field} of the waiver of `{}` on `{}` is empty, expected some text",
                    self.rule, self.object
                );
                Err(Error::at(file, 0, 0, message))
            }
        }
    }

    /// Whether the finding is one it speaks of, whatever the date.
    pub fn covers(&self, finding: &Finding) -> bool {
        if finding.rule != self.rule {
            return false;
        }
        let object = &finding.object;
        let name = object.name.to_string();
        let part = object.part.as_ref();
        matches(&self.object, &name)
            || part.is_some_and(|part| {
                matches(&self.object, &format!("{name}/{part}"))
                    // As the table and JSON output show it.
                    || matches(&self.object, &object.to_string())
            })
    }
}

/// Excuses the findings that a waiver covers on the day `today`, and says which waivers have expired or cover nothing.
/// `judged` is whether a rule was run on everything: of the others, nothing can be said.
pub fn waive(
    findings: &mut [Finding],
    waivers: &[Waiver],
    today: NaiveDate,
    judged: impl Fn(&str) -> bool,
) -> Vec<Gap> {
    let mut gaps = Vec::new();
    for waiver in waivers {
        let expired = waiver.expires < today;
        let mut covered = 0;
        for finding in findings.iter_mut().filter(|f| waiver.covers(f)) {
            covered += 1;
            if !expired && finding.excuse.is_none() {
                finding.excuse = Some(Excuse::Waived {
                    reason: waiver.reason.clone(),
                    expires: waiver.expires,
                });
            }
        }
        let gap = |why: String, remedy: &str| Gap {
            what: format!("waiver of {} on {}", waiver.rule, waiver.object),
            why,
            remedy: Some(remedy.to_owned()),
        };
        match (expired, covered) {
            (true, 0) if judged(&waiver.rule) => gaps.push(gap(
                format!("it expired on {} and covers no finding", waiver.expires),
                "Remove it from the configuration.",
            )),
            (true, n) if n > 0 => gaps.push(gap(
                format!(
                    "it expired on {}, so {n} findings that it covers count again ({})",
                    waiver.expires, waiver.reason
                ),
                "Mend them, or give the waiver a later date and a reason that holds.",
            )),
            (false, 0) if judged(&waiver.rule) => gaps.push(gap(
                "it covers no finding".to_owned(),
                "Remove it from the configuration, or correct the name.",
            )),
            _ => {}
        }
    }
    gaps
}

/// Whether `text` has the form of `pattern`, where `*` is any text and `?` any character.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut in_text) = (0, 0);
    // Where the last star stands, and the text it may yet swallow.
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = text.get(in_text) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(p) if p == c || *p == '?' => {
                at += 1;
                in_text += 1;
            }
            _ => match &mut star {
                None => return false,
                Some((star_at, swallowed)) => {
                    *swallowed += 1;
                    at = *star_at + 1;
                    in_text = *swallowed;
                }
            },
        }
    }
    pattern.iter().skip(at).all(|p| *p == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Name, Object, ObjectKind, Severity};

    fn finding(rule: &str, part: Option<&str>) -> Finding {
        Finding {
            rule: rule.to_owned(),
            severity: Severity::Error,
            object: Object {
                kind: ObjectKind::Policy,
                name: Name::new("public", "doc"),
                part: part.map(str::to_owned),
            },
            message: String::new(),
            evidence: crate::model::Evidence::default(),
            fix: None,
            advice: None,
            origin: None,
            excuse: None,
        }
    }

    fn waiver(object: &str, expires: &str) -> Waiver {
        Waiver {
            rule: "r".to_owned(),
            object: object.to_owned(),
            reason: "because".to_owned(),
            expires: expires.parse().unwrap(),
        }
    }

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("public.*", "public.doc", true),
            ("public.doc", "public.doc", true),
            ("public.doc", "public.docs", false),
            ("*.d?c", "public.doc", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxbxxa", false),
            ("", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_table_covers_its_parts_and_a_part_itself_only() {
        let (own, whole) = (finding("r", Some("own")), finding("r", None));
        for (object, covers) in [
            ("public.doc", [true, true]),
            ("public.doc/own", [true, false]),
            ("public.doc · own", [true, false]),
            ("public.doc/o*", [true, false]),
            ("other.*", [false, false]),
        ] {
            let waiver = waiver(object, "2030-01-01");
            assert_eq!(
                [waiver.covers(&own), waiver.covers(&whole)],
                covers,
                "{object}"
            );
        }
        assert!(!waiver("*", "2030-01-01").covers(&finding("another", None)));
    }

    #[test]
    fn it_holds_through_its_last_day() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let waivers = [
            waiver("public.*", "2030-01-01"),
            waiver("nobody.*", "2030-01-01"),
        ];
        let mut findings = [finding("r", None), finding("s", None)];
        let gaps = waive(&mut findings, &waivers, day("2030-01-01"), |_| true);
        assert!(!findings[0].counts() && findings[1].counts());
        assert!(
            gaps.len() == 1 && gaps[0].what.contains("nobody"),
            "{gaps:?}"
        );

        let mut findings = [finding("r", None)];
        let gaps = waive(&mut findings, &waivers[..1], day("2030-01-02"), |_| true);
        assert!(findings[0].counts());
        assert!(
            gaps.len() == 1 && gaps[0].why.contains("expired on 2030-01-01"),
            "{gaps:?}"
        );
        // Nothing is said of a rule that was not run.
        assert!(waive(&mut [], &waivers, day("2030-01-02"), |_| false).is_empty());
    }
}
