//! Counts by kind of change and by exit code, and every change that was not judged as it is.

use super::change::Meant;
use super::judge::{End, Found, Judgement, flat};
use super::truth::Truth;
use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Default)]
pub(super) struct Counts {
    /// By schema and kind.
    kinds: BTreeMap<(&'static str, &'static str), Kind>,
    listed: Vec<(Judgement, String)>,
    seconds: Vec<f64>,
}

#[derive(Clone, Debug, Default)]
struct Kind {
    differs: Ends,
    none_known: Ends,
    equal: Ends,
    bad: usize,
}

/// Exit codes 0, 1, 3, and anything else.
#[derive(Clone, Copy, Debug, Default)]
struct Ends([usize; 4]);

impl Ends {
    fn add(&mut self, end: End) {
        let at = match end {
            End::Code(0) => 0,
            End::Code(1) => 1,
            End::Code(3) => 2,
            End::Code(_) | End::Signal | End::Stuck => 3,
        };
        self.0[at] += 1;
    }

    fn all(self) -> usize {
        self.0.iter().sum()
    }
}

impl Counts {
    pub(super) fn add(&mut self, schema: &'static str, found: &Found) {
        let kind = self.kinds.entry((schema, found.change.kind)).or_default();
        let ends = match (&found.truth, found.change.meant) {
            (_, Meant::Equal) => &mut kind.equal,
            (Truth::Differs(..), _) => &mut kind.differs,
            _ => &mut kind.none_known,
        };
        ends.add(found.end);
        self.seconds.push(found.seconds);
        if found.judgement == Judgement::Right {
            return;
        }
        if found.judgement != Judgement::Doubtful {
            kind.bad += 1;
        }
        let said: String = flat(&found.said).chars().take(300).collect();
        let shows = match &found.truth {
            Truth::Differs(line) => format!("differs: {line}"),
            Truth::RefusedOtherwise(line) => format!("refused either way: {line}"),
            Truth::NoneKnown | Truth::Invalid(_) => "no difference known".to_owned(),
        };
        let line = format!(
            "{schema}, {}, {:?}\n  {}\n  {shows}\n  said: {said}",
            found.change.kind,
            found.end,
            flat(&found.change.sql)
        );
        self.listed.push((found.judgement, line));
    }

    pub(super) fn all(&self) -> usize {
        self.seconds.len()
    }

    pub(super) fn bad(&self) -> usize {
        self.kinds.values().map(|k| k.bad).sum()
    }

    pub(super) fn differing(&self) -> usize {
        self.kinds.values().map(|k| k.differs.all()).sum()
    }

    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        let head = |name: &str| format!("{name:>5}{:>5}{:>5}{:>5}{:>7}", "0", "1", "3", "else");
        writeln!(
            text,
            "Exit codes of changes that differ, of those of which no difference is known, and of those that are equal by construction"
        )
        .unwrap();
        writeln!(
            text,
            "{:14}{:28}{} {} {}{:>6}",
            "schema",
            "kind",
            head("differ"),
            head("none"),
            head("equal"),
            "bad"
        )
        .unwrap();
        let line = |schema: &str, kind: &str, k: &Kind| {
            let ends = |e: Ends| {
                format!(
                    "{:>6}{:>5}{:>5}{:>5}{:>7}",
                    e.all(),
                    e.0[0],
                    e.0[1],
                    e.0[2],
                    e.0[3]
                )
            };
            format!(
                "{schema:14}{kind:28}{} {} {}{:>6}",
                ends(k.differs),
                ends(k.none_known),
                ends(k.equal),
                k.bad
            )
        };
        let mut sums: BTreeMap<&str, Kind> = BTreeMap::new();
        for ((schema, kind), counts) in &self.kinds {
            writeln!(text, "{}", line(schema, kind, counts)).unwrap();
            for name in [*schema, "all"] {
                sums.entry(name).or_default().sum(counts);
            }
        }
        for (schema, counts) in &sums {
            writeln!(text, "{}", line(schema, "all kinds", counts)).unwrap();
        }
        let mut seconds = self.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        let (median, most) = (seconds.get(seconds.len() / 2), seconds.last());
        writeln!(
            text,
            "A run takes {:.1} s (median), {:.1} s at most.",
            median.unwrap_or(&0.0),
            most.unwrap_or(&0.0)
        )
        .unwrap();
        text
    }

    /// Every change that is not judged as it is, the worst first.
    pub(super) fn lists(&self) -> String {
        let mut text = String::new();
        for (judgement, title) in [
            (Judgement::Missed, "Missed: the change differs, and passed"),
            (
                Judgement::Accused,
                "Accused: equal by construction, and called different",
            ),
            (Judgement::Broken, "Broken: no answer"),
            (
                Judgement::Miswritten,
                "Miswritten: meant to be equal, and differs",
            ),
            (
                Judgement::Doubtful,
                "To be looked at: called different, and nothing that was tried differs",
            ),
        ] {
            let lines: Vec<&str> = self
                .listed
                .iter()
                .filter(|(j, _)| *j == judgement)
                .map(|(_, l)| l.as_str())
                .collect();
            writeln!(text, "{title}: {}", lines.len()).unwrap();
            for line in lines {
                writeln!(text, "- {line}").unwrap();
            }
        }
        text
    }
}

impl Kind {
    fn sum(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.differs, other.differs),
            (&mut self.none_known, other.none_known),
            (&mut self.equal, other.equal),
        ] {
            for (a, b) in mine.0.iter_mut().zip(theirs.0) {
                *a += b;
            }
        }
        self.bad += other.bad;
    }
}
