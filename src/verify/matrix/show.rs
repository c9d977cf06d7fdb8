//! A matrix becomes a report.

use super::against::{Change, Compared, Direction, by};
use super::found::{Access, By, Matrix, Share, TableLine};
use crate::model::{
    Block, Cell, Check, CheckResult, Grid, Heat, HeatCell, Name, Outcome, Report, Tone,
};
use crate::verify::effective::{CLAUSES, Clause};
use std::collections::{BTreeMap, BTreeSet};

/// Names of identities on one line.
const FEW: usize = 3;

/// What a matrix says, and how it differs from one that was saved before.
pub fn report(matrix: &Matrix, compared: Option<&Compared>) -> Report {
    let mut report = Report::new("verify", summary(matrix, compared));
    report.outcome = match compared {
        Some(compared) => compared.outcome(),
        None if unknown(matrix).next().is_some() => Outcome::Inconclusive,
        None => Outcome::Pass,
    };
    if let Some(compared) = compared {
        differences(compared, &mut report);
    }
    for clause in CLAUSES {
        let heat = heat(matrix, clause);
        if !heat.rows.is_empty() {
            report.blocks.push(Block::Heat(heat));
        }
    }
    report.blocks.push(Block::Table(lines(matrix)));
    report.blocks.push(Block::Table(people(matrix)));
    report.gaps.clone_from(&matrix.gaps);
    report.data = serde_json::json!({ "matrix": matrix, "against": compared });
    report
}

fn unknown(matrix: &Matrix) -> impl Iterator<Item = &Access> {
    let late = |c: &&Access| c.unknown.as_deref().is_some_and(|why| why.contains("time"));
    matrix.cells.iter().filter(late)
}

fn summary(matrix: &Matrix, compared: Option<&Compared>) -> String {
    let what = format!(
        "{} identities, {} tables, {} cells",
        matrix.identities.len(),
        matrix.tables.len(),
        matrix.cells.len()
    );
    let Some(compared) = compared else {
        return match unknown(matrix).count() {
            0 => what,
            late => format!("{what}; for {late} of them there was no time"),
        };
    };
    let of = |direction| {
        compared
            .changes
            .iter()
            .filter(|c| c.direction == direction)
            .count()
    };
    match compared.outcome() {
        Outcome::Pass => format!("Access is as it was: {what}"),
        Outcome::Inconclusive => format!(
            "Cannot tell for {} of {} cells; none differs",
            compared.undecided.len(),
            compared.cells
        ),
        Outcome::Fail => {
            let outside = compared.changes.iter().filter(|c| {
                c.outside && matches!(c.direction, Direction::Widening | Direction::Both)
            });
            format!(
                "Access changed: {} widening ({} of them to outsiders), {} narrowing, {} both, {} changed otherwise",
                of(Direction::Widening),
                outside.count(),
                of(Direction::Narrowing),
                of(Direction::Both),
                of(Direction::Other)
            )
        }
    }
}

fn differences(compared: &Compared, report: &mut Report) {
    if !compared.other_data.is_empty() {
        let names: Vec<String> = compared
            .other_data
            .iter()
            .take(5)
            .map(Name::to_string)
            .collect();
        let more = compared.other_data.len().saturating_sub(names.len());
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        report.blocks.push(Block::Warning(format!(
            "The data is another one: rows of {}{more} came, went or changed their keys. Counts and digests are not compared; \
             privileges, what decides, and what is said of made-up rows are.",
            names.join(", ")
        )));
    }
    if compared.rewritten > 0 {
        report.blocks.push(Block::Text(format!(
            "{} of {} cells are decided by policies or functions that read otherwise than before.",
            compared.rewritten, compared.cells
        )));
    }
    let mut grid = Grid::new(&["", "as", "table", "may", "what is different"], &[]);
    for change in &compared.changes {
        let opens = matches!(change.direction, Direction::Widening | Direction::Both);
        let tone = if opens { Tone::Bad } else { Tone::Warn };
        let word = change.direction.words();
        let word = if change.outside && opens {
            format!("{word} to an outsider")
        } else {
            word.to_owned()
        };
        grid.rows.push(vec![
            Cell::toned(word, tone),
            change
                .identity
                .clone()
                .unwrap_or_else(|| "all".to_owned())
                .into(),
            change
                .table
                .as_ref()
                .map(Name::to_string)
                .unwrap_or_default()
                .into(),
            change.clause.map_or("", Clause::words).into(),
            change.what.as_str().into(),
        ]);
        report.checks.push(check(change));
    }
    if !grid.rows.is_empty() {
        report.blocks.push(Block::Table(grid));
    }
    for undecided in &compared.undecided {
        report
            .blocks
            .push(Block::Warning(format!("Cannot tell: {undecided}")));
        report.checks.push(Check {
            name: undecided.clone(),
            result: CheckResult::Skipped(undecided.clone()),
        });
    }
    if report.checks.is_empty() {
        report.checks.push(Check {
            name: "access is as it was".to_owned(),
            result: CheckResult::Passed,
        });
    }
}

fn check(change: &Change) -> Check {
    let parts = [
        change.identity.clone(),
        change.table.as_ref().map(Name::to_string),
        change.clause.map(|c| c.words().to_owned()),
    ];
    Check {
        name: parts.into_iter().flatten().collect::<Vec<_>>().join(" "),
        result: CheckResult::Failed(vec![format!(
            "{}: {}",
            change.direction.words(),
            change.what
        )]),
    }
}

/// Tables down, identities across.
fn heat(matrix: &Matrix, clause: Clause) -> Heat {
    let cells: BTreeMap<(&Name, &str), &Access> = matrix
        .cells
        .iter()
        .filter(|c| c.clause == clause)
        .map(|c| ((&c.table, c.identity.as_str()), c))
        .collect();
    let shown: Vec<&str> = matrix
        .identities
        .iter()
        .map(|p| p.name.as_str())
        .filter(|name| cells.keys().any(|(_, identity)| identity == name))
        .collect();
    let alone = only_schema(matrix);
    let rows = matrix
        .tables
        .iter()
        .filter(|t| cells.keys().any(|(table, _)| **table == t.table));
    Heat {
        title: format!("May {}: {}", clause.words(), unit(clause)),
        corner: match alone {
            Some(schema) => format!("{schema} · as"),
            None => "table · as".to_owned(),
        },
        columns: shown.iter().map(|name| (*name).to_owned()).collect(),
        rows: rows
            .map(|table| {
                let row = shown.iter().map(|name| {
                    let cell = cells.get(&(&table.table, *name))?;
                    Some(heat_cell(cell, table))
                });
                (short(&table.table, alone), row.collect())
            })
            .collect(),
    }
}

fn unit(clause: Clause) -> &'static str {
    match clause {
        Clause::Insert => "kinds of new rows that are admitted, of those made up",
        Clause::UpdateCheck => "kinds of rows that an update may leave, of those made up",
        _ => "rows that are admitted",
    }
}

fn heat_cell(cell: &Access, table: &TableLine) -> HeatCell {
    let (part, all) = measured(cell, table);
    #[expect(clippy::cast_precision_loss, reason = "a colour")]
    let share = if all == 0 {
        0.0
    } else {
        part as f64 / all as f64
    };
    let whole = part == all && all > 0;
    let (tone, strength) = match (cell.by, whole) {
        _ if cell.unknown.is_some() || cell.ends.is_some() => (Tone::Warn, 0.0),
        (By::Open, _) => (Tone::Bad, 1.0),
        (By::Exempt, _) => (Tone::Bad, 0.0),
        (By::Nobody, _) => (Tone::Dim, 0.0),
        (By::Policies, true) => (Tone::Warn, 1.0),
        (By::Policies, false) => (Tone::Good, if part == 0 { 0.0 } else { share.max(0.1) }),
    };
    let mut note = match (cell.by, &cell.ends, &cell.unknown) {
        (_, _, Some(_)) => "unknown".to_owned(),
        (_, Some(state), _) => format!("error {state}"),
        (By::Open, ..) => "open".to_owned(),
        (By::Exempt, ..) => "exempt".to_owned(),
        (By::Nobody, ..) => "no policy".to_owned(),
        (By::Policies, ..) if whole => "all".to_owned(),
        (By::Policies, ..) if part == 0 => "none".to_owned(),
        (By::Policies, ..) => format!("of {all}"),
    };
    if let Some(columns) = &cell.columns {
        note.push_str(&format!(", {} columns", columns.len()));
    }
    let is_known = cell.rows.is_some() && !(cell.clause.of_new_rows() && cell.kinds.is_none());
    HeatCell {
        text: if is_known {
            part.to_string()
        } else {
            String::new()
        },
        note,
        tone,
        strength,
    }
}

/// How much of how much: rows that are there, or kinds of rows that may come to be.
fn measured(cell: &Access, table: &TableLine) -> (u64, u64) {
    match (&cell.kinds, cell.clause.of_new_rows()) {
        (Some(kinds), true) => (kinds.admitted, kinds.all),
        (None, true) if cell.by == By::Policies => (0, 0),
        (None, true) => (u64::from(cell.by != By::Nobody), 1),
        _ => (cell.rows.unwrap_or_default(), table.rows),
    }
}

/// One line for what is the same for several identities and clauses, and for tables of which the same is said, such as
/// partitions.
fn lines(matrix: &Matrix) -> Grid {
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
fn only_schema(matrix: &Matrix) -> Option<&str> {
    let schemas: BTreeSet<&str> = matrix
        .tables
        .iter()
        .map(|t| t.table.schema.as_str())
        .collect();
    schemas.first().copied().filter(|_| schemas.len() == 1)
}

fn short(name: &Name, only: Option<&str>) -> String {
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
    let rows = match (cell.by, cell.rows) {
        (_, None) => String::new(),
        (By::Policies, _) if cell.clause.of_new_rows() && cell.kinds.is_none() => String::new(),
        (By::Policies, _) => format!("{part} of {all}{unit}"),
        (By::Nobody, _) => "0".to_owned(),
        (By::Open | By::Exempt, _) => "all".to_owned(),
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
        words.push_str(&format!("; columns {}", columns.join(", ")));
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

fn people(matrix: &Matrix) -> Grid {
    let mut grid = Grid::new(
        &["identity", "role", "who", "tables", "rows seen"],
        &["tables", "rows seen"],
    );
    for person in &matrix.identities {
        let seen = matrix
            .cells
            .iter()
            .filter(|c| c.identity == person.name && c.clause == Clause::Select);
        let tables: BTreeSet<&Name> = seen
            .clone()
            .filter(|c| c.rows > Some(0))
            .map(|c| &c.table)
            .collect();
        let rows: u64 = seen.filter_map(|c| c.rows).sum();
        let mut about = person.about.clone();
        if person.outside {
            about.push_str(" (an outsider)");
        }
        grid.rows.push(vec![
            person.name.as_str().into(),
            person.role.as_str().into(),
            about.into(),
            tables.len().to_string().into(),
            rows.to_string().into(),
        ]);
    }
    grid
}
