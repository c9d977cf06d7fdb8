//! A matrix beside one that was saved before: what opened, what closed.

use super::differ::cell;
use super::found::{Access, Matrix, TableLine};
use crate::model::{Name, Outcome};
use crate::verify::effective::Clause;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Widening,
    /// Some more, some fewer, or other ones.
    Both,
    Narrowing,
    /// What is compared is another one.
    Other,
}

impl Direction {
    pub fn words(self) -> &'static str {
        match self {
            Self::Widening => "widening",
            Self::Both => "both",
            Self::Narrowing => "narrowing",
            Self::Other => "changed",
        }
    }

    fn opens(self) -> bool {
        matches!(self, Self::Widening | Self::Both)
    }

    pub(super) fn of(more: bool, fewer: bool) -> Option<Self> {
        match (more, fewer) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::Widening),
            (false, true) => Some(Self::Narrowing),
            (false, false) => None,
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub direction: Direction,
    /// Whether it is about somebody to whom nothing of anybody's should open.
    pub outside: bool,
    /// `None` where a whole table came or went.
    pub identity: Option<String>,
    pub table: Option<Name>,
    pub clause: Option<Clause>,
    pub what: String,
}

/// All of them, the worst first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    pub changes: Vec<Change>,
    /// Tables whose rows are other ones: then no counts are compared, only rules, privileges and made-up rows.
    pub other_data: Vec<Name>,
    /// What could not be compared.
    pub undecided: Vec<String>,
    /// How many cells were.
    pub cells: usize,
    /// Cells that other policies decide, whatever they say.
    pub rewritten: usize,
}

impl Compared {
    pub fn outcome(&self) -> Outcome {
        if !self.changes.is_empty() {
            Outcome::Fail
        } else if self.undecided.is_empty() {
            Outcome::Pass
        } else {
            Outcome::Inconclusive
        }
    }
}

/// What is different in `now`.
pub fn compare(before: &Matrix, now: &Matrix) -> Compared {
    let mut compared = Compared::default();
    let outside: BTreeSet<&str> = [before, now]
        .iter()
        .flat_map(|m| &m.identities)
        .filter(|p| p.outside)
        .map(|p| p.name.as_str())
        .collect();
    let tables = tables(before, now, &outside, &mut compared);
    let same_data = compared.other_data.is_empty();
    let people = identities((before, now), &outside, same_data, &mut compared);
    let cells = |matrix: &'_ Matrix| -> BTreeMap<(String, Name, Clause), Access> {
        let all = matrix.cells.iter();
        let kept =
            all.filter(|c| people.contains(c.identity.as_str()) && tables.contains_key(&c.table));
        kept.map(|c| {
            let (identity, table, clause) = c.key();
            ((identity.to_owned(), table.clone(), clause), c.clone())
        })
        .collect()
    };
    let (old, new) = (cells(before), cells(now));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for key in keys {
        compared.cells += 1;
        let mut add = |direction: Direction, what: String| {
            compared.changes.push(Change {
                direction,
                outside: outside.contains(key.0.as_str()),
                identity: Some(key.0.clone()),
                table: Some(key.1.clone()),
                clause: Some(key.2),
                what,
            });
        };
        match (old.get(key), new.get(key)) {
            (None, Some(_)) => add(Direction::Widening, "the privilege is new".to_owned()),
            (Some(_), None) => add(Direction::Narrowing, "the privilege is gone".to_owned()),
            (Some(b), Some(a)) => {
                let same_pool = tables.get(&key.1).copied().unwrap_or_default();
                let (changes, dark) = cell(b, a, same_data, same_pool);
                if let Some((direction, what)) = together(changes) {
                    add(direction, what);
                }
                compared.rewritten += usize::from(b.definition != a.definition);
                if let Some(why) = dark {
                    let (identity, table, clause) = (&key.0, &key.1, key.2.words());
                    compared
                        .undecided
                        .push(format!("{identity} · {table} · {clause}: {why}"));
                }
            }
            (None, None) => {}
        }
    }
    compared.changes.sort_by(|a, b| rank(a).cmp(&rank(b)));
    compared
}

/// What is different in one cell, as one.
fn together(changes: Vec<(Direction, String)>) -> Option<(Direction, String)> {
    let opens = changes.iter().any(|(d, _)| d.opens());
    let closes = |d: Direction| matches!(d, Direction::Narrowing | Direction::Both);
    let closes = changes.iter().any(|(d, _)| closes(*d));
    let words: Vec<String> = changes.into_iter().map(|(_, what)| what).collect();
    let direction = Direction::of(opens, closes).unwrap_or(Direction::Other);
    (!words.is_empty()).then(|| (direction, words.join("; ")))
}

type Rank<'a> = (
    bool,
    Direction,
    Option<&'a Name>,
    Option<&'a str>,
    Option<Clause>,
);

/// What opened to the world first.
fn rank(change: &Change) -> Rank<'_> {
    (
        !(change.outside && change.direction.opens()),
        change.direction,
        change.table.as_ref(),
        change.identity.as_deref(),
        change.clause,
    )
}

/// Those that are on both sides, by name. Other data give rise to other identities, which is no difference by itself.
fn identities<'a>(
    (before, now): (&'a Matrix, &'a Matrix),
    outside: &BTreeSet<&str>,
    same_data: bool,
    compared: &mut Compared,
) -> BTreeSet<&'a str> {
    let roles = |m: &'a Matrix| -> BTreeMap<&'a str, &'a str> {
        let all = m.identities.iter();
        all.map(|p| (p.name.as_str(), p.role.as_str())).collect()
    };
    let (old, new) = (roles(before), roles(now));
    let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    let mut both = BTreeSet::new();
    for name in names {
        let what = match (old.get(name), new.get(name)) {
            (Some(b), Some(a)) if b == a => {
                both.insert(name);
                continue;
            }
            (Some(b), Some(a)) => format!("is role {a} and was role {b}"),
            (None, _) | (_, None) if !same_data => continue,
            (None, _) => "is a new identity".to_owned(),
            (_, None) => "is an identity no more".to_owned(),
        };
        compared.changes.push(Change {
            direction: Direction::Other,
            outside: outside.contains(name),
            identity: Some(name.to_owned()),
            table: None,
            clause: None,
            what,
        });
    }
    both
}

/// Those that are on both sides, and whether the same rows were made up for them.
fn tables(
    before: &Matrix,
    now: &Matrix,
    outside: &BTreeSet<&str>,
    compared: &mut Compared,
) -> BTreeMap<Name, bool> {
    let lines = |m: &Matrix| -> BTreeMap<Name, TableLine> {
        m.tables
            .iter()
            .map(|t| (t.table.clone(), t.clone()))
            .collect()
    };
    let (old, new) = (lines(before), lines(now));
    let names: BTreeSet<&Name> = old.keys().chain(new.keys()).collect();
    let mut both = BTreeMap::new();
    for name in names {
        let (direction, what, of) = match (old.get(name), new.get(name)) {
            (Some(b), Some(a)) => {
                both.insert(name.clone(), b.pool == a.pool);
                // Other key columns give other digests of the same rows.
                if b.rows != a.rows || b.key == a.key && b.digest != a.digest {
                    compared.other_data.push(name.clone());
                }
                continue;
            }
            (None, _) => (
                Direction::Widening,
                "can be reached, and could not before",
                now,
            ),
            _ => (Direction::Narrowing, "cannot be reached any more", before),
        };
        let mut cells = of.cells.iter().filter(|c| c.table == *name);
        compared.changes.push(Change {
            direction,
            outside: cells.any(|c| outside.contains(c.identity.as_str())),
            identity: None,
            table: Some(name.clone()),
            clause: None,
            what: what.to_owned(),
        });
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::matrix::found::{By, Kinds, Person, VERSION};

    fn matrix(rows: u64, digest: &str, admitted: u64) -> Matrix {
        let table = Name::new("public", "t");
        let person = |name: &str, outside| Person {
            name: name.to_owned(),
            role: "app".to_owned(),
            about: String::new(),
            outside,
        };
        let access = |identity: &str| Access {
            identity: identity.to_owned(),
            table: table.clone(),
            clause: Clause::Select,
            by: By::Policies,
            columns: None,
            rows: Some(rows),
            digest: Some(digest.to_owned()),
            kinds: Some(Kinds {
                admitted,
                all: 10,
                digest: admitted.to_string(),
            }),
            admits: Vec::new(),
            takes: Vec::new(),
            ends: None,
            unknown: None,
            definition: "d".to_owned(),
        };
        Matrix {
            version: VERSION,
            identities: vec![person("inside", false), person("anon", true)],
            tables: vec![TableLine {
                table: table.clone(),
                rows: 100,
                digest: "1".to_owned(),
                key: vec!["id".to_owned()],
                guarded: true,
                tuples: 3,
                made_up: 10,
                pool: "p".to_owned(),
            }],
            cells: vec![access("inside"), access("anon")],
            gaps: Vec::new(),
        }
    }

    fn directions(before: &Matrix, now: &Matrix) -> Vec<(String, Direction)> {
        let compared = compare(before, now);
        let changes = compared.changes.iter();
        changes
            .map(|c| (c.identity.clone().unwrap_or_default(), c.direction))
            .collect()
    }

    #[test]
    fn what_opens_to_the_world_comes_first() {
        let base = matrix(5, "x", 3);
        assert_eq!(compare(&base, &base).outcome(), Outcome::Pass);
        assert_eq!(
            directions(&base, &matrix(6, "y", 3)),
            [
                ("anon".to_owned(), Direction::Widening),
                ("inside".to_owned(), Direction::Widening)
            ]
        );
        let fewer = directions(&base, &matrix(4, "z", 3));
        assert!(fewer.iter().all(|(_, d)| *d == Direction::Narrowing));
        let other = directions(&base, &matrix(5, "w", 3));
        assert!(other.iter().all(|(_, d)| *d == Direction::Both));
        let kinds = directions(&base, &matrix(5, "x", 4));
        assert!(kinds.iter().all(|(_, d)| *d == Direction::Widening) && kinds.len() == 2);
    }

    #[test]
    fn other_data_leaves_the_rules_to_compare() {
        let base = matrix(5, "x", 3);
        let mut now = matrix(9, "y", 4);
        now.tables[0].rows = 200;
        let compared = compare(&base, &now);
        assert_eq!(compared.other_data.len(), 1);
        assert_eq!(compared.outcome(), Outcome::Pass, "{compared:?}");
        for cell in &mut now.cells {
            cell.definition = "e".to_owned();
        }
        assert_eq!(compare(&base, &now).outcome(), Outcome::Inconclusive);
        now.cells[1].by = By::Open;
        let compared = compare(&base, &now);
        assert_eq!(compared.changes[0].identity.as_deref(), Some("anon"));
        assert_eq!(compared.changes[0].direction, Direction::Widening);
    }

    #[test]
    fn who_and_what_is_compared_may_change_too() {
        let base = matrix(5, "x", 3);
        let mut now = base.clone();
        now.identities.pop();
        now.cells.pop();
        assert_eq!(
            directions(&base, &now),
            [("anon".to_owned(), Direction::Other)]
        );
        let mut now = base.clone();
        now.tables.clear();
        now.cells.clear();
        assert_eq!(directions(&base, &now)[0].1, Direction::Narrowing);
        assert_eq!(directions(&now, &base)[0].1, Direction::Widening);
        let mut now = base.clone();
        now.cells.remove(0);
        assert_eq!(
            directions(&base, &now),
            [("inside".to_owned(), Direction::Narrowing)]
        );
        let mut now = base.clone();
        now.cells[0].columns = Some(vec!["id".to_owned()]);
        assert_eq!(directions(&base, &now)[0].1, Direction::Narrowing);
        assert_eq!(directions(&now, &base)[0].1, Direction::Widening);
    }
}
