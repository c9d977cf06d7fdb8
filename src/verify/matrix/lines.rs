//! The same as lines, equal ones together.

use super::differ::by;
use super::found::{Access, By, Matrix, Share, TableLine};
use crate::model::{Cell, Grid, Name, Tone};
use crate::verify::effective::Clause;
use std::collections::{BTreeMap, BTreeSet};

/// Names of identities on one line.
const FEW: usize = 3;

/// How much of how much: rows that are there, or kinds of rows that may come to be.
pub(super) fn measured(cell: &Access, table: &TableLine) -> (u64, u64) {
    match (&cell.kinds, cell.clause.of_new_rows()) {
        (Some(kinds), true) => (kinds.admitted, kinds.all),
        (None, true) if cell.by == By::Policies => (0, 0),
        (None, true) => (u64::from(cell.by != By::Nobody), 1),
        _ => (cell.rows.unwrap_or_default(), table.rows),
    }
}

/// One line for what is the same for several identities and clauses, and for tables of which the same is said, such as
/// partitions.
pub(super) fn lines(matrix: &Matrix) -> Grid {
    let mut grid = Grid::new(&["table", "as", "may", "rows", "decided by"], &["rows"]);
    let alone = only_schema(matrix);
    let mut said: Vec<(bool, Vec<Group<'_>>, Vec<String>)> = Vec::new();
    for table in &matrix.tables {
        let (groups, name) = (groups(matrix, table), short(&table.table, alone));
        match said.last_mut() {
            Some((guarded, last, names)) if *last == groups && *guarded == table.guarded => {
                names.push(name);
            }
            _ => said.push((table.guarded, groups, vec![name])),
        }
    }
    for (guarded, groups, names) in said {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut shown = match names.as_slice() {
            [first, .., last] => format!("{first} … {last}"),
            one => one.concat(),
        };
        if !guarded {
            shown.push_str(" (unguarded)");
        }
        for (said, names) in groups {
            let mut who = few(&names);
            for (line, clauses) in said {
                grid.rows.push(vec![
                    std::mem::take(&mut shown).into(),
                    std::mem::take(&mut who).into(),
                    words(&clauses).into(),
                    line.rows.into(),
                    Cell::toned(line.by, line.tone),
                ]);
            }
        }
    }
    grid
}

/// What is said, and of whom.
type Group<'a> = (Vec<(Line, Vec<Clause>)>, Vec<&'a str>);

fn groups<'a>(matrix: &'a Matrix, table: &TableLine) -> Vec<Group<'a>> {
    let mut by_identity: BTreeMap<&str, Vec<(Line, Vec<Clause>)>> = BTreeMap::new();
    for cell in matrix.cells.iter().filter(|c| c.table == table.table) {
        let said = by_identity.entry(&cell.identity).or_default();
        let line = line(cell, table);
        match said.iter_mut().find(|(l, _)| *l == line) {
            Some((_, clauses)) => clauses.push(cell.clause),
            None => said.push((line, vec![cell.clause])),
        }
    }
    let mut groups: Vec<Group<'a>> = Vec::new();
    for person in &matrix.identities {
        let Some(said) = by_identity.remove(person.name.as_str()) else {
            continue;
        };
        match groups.iter_mut().find(|(s, _)| *s == said) {
            Some((_, names)) => names.push(&person.name),
            None => groups.push((said, vec![&person.name])),
        }
    }
    groups
}

fn words(clauses: &[Clause]) -> String {
    let is_read = clauses.contains(&Clause::Select);
    match clauses.len() {
        5 => "all".to_owned(),
        4 if !is_read => "write".to_owned(),
        _ => clauses
            .iter()
            .map(|c| c.words())
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The schema that all tables are in.
pub(super) fn only_schema(matrix: &Matrix) -> Option<&str> {
    let schemas: BTreeSet<&str> = matrix
        .tables
        .iter()
        .map(|t| t.table.schema.as_str())
        .collect();
    schemas.first().copied().filter(|_| schemas.len() == 1)
}

pub(super) fn short(name: &Name, only: Option<&str>) -> String {
    match only {
        Some(_) => name.name.clone(),
        None => name.to_string(),
    }
}

/// What is said of a cell in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    rows: String,
    by: String,
    tone: Tone,
}

fn line(cell: &Access, table: &TableLine) -> Line {
    let (part, all) = measured(cell, table);
    let unit = if cell.clause.of_new_rows() {
        " kinds"
    } else {
        ""
    };
    let is_known = if cell.clause.of_new_rows() {
        cell.kinds.is_some()
    } else {
        cell.rows.is_some()
    };
    let rows = match cell.by {
        By::Policies if !is_known => String::new(),
        By::Policies => format!("{part} of {all}{unit}"),
        By::Nobody => "0".to_owned(),
        By::Open | By::Exempt => "all".to_owned(),
    };
    let (mut words, tone) = match (&cell.unknown, &cell.ends, cell.by) {
        (Some(why), ..) => (format!("unknown: {why}"), Tone::Warn),
        (_, Some(state), _) => (
            format!("a statement over all rows ends with {state}"),
            Tone::Warn,
        ),
        (_, _, By::Policies) => (deciding(cell), Tone::Plain),
        (_, _, By::Open) => (by(cell.by).to_owned(), Tone::Bad),
        (..) => (by(cell.by).to_owned(), Tone::Dim),
    };
    if let Some(columns) = &cell.columns {
        words = format!("{words}; columns {}", columns.join(", "));
    }
    Line {
        rows,
        by: words,
        tone,
    }
}

fn deciding(cell: &Access) -> String {
    let count = |share: &Share| {
        let number = if cell.clause.of_new_rows() {
            share.kinds
        } else {
            share.rows
        };
        (share.policy.clone(), number)
    };
    let words = |all: &[Share], sign: &str| -> Vec<String> {
        let all: Vec<_> = all.iter().map(count).collect();
        let told: Vec<String> = all
            .iter()
            .filter(|(_, n)| n.is_none_or(|n| n > 0))
            .map(|(policy, n)| match n {
                Some(n) => format!("{policy} {sign}{n}"),
                None => policy.clone(),
            })
            .collect();
        told
    };
    let mut parts = words(&cell.admits, "");
    if parts.is_empty() {
        let all: Vec<&str> = cell.admits.iter().map(|s| s.policy.as_str()).collect();
        parts.push(format!("none of {}", few(&all)));
    }
    parts.extend(words(&cell.takes, "−"));
    parts.join(", ")
}

fn few(names: &[&str]) -> String {
    if names.len() <= FEW {
        return names.join(", ");
    }
    let shown: Vec<&str> = names.iter().take(FEW - 1).copied().collect();
    format!(
        "{} and {} more",
        shown.join(", "),
        names.len() - shown.len()
    )
}
