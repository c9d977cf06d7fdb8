//! A matrix becomes a report.

use super::against::{Change, Compared, Direction};
use super::found::{Access, Matrix};
use super::heat::heat;
use super::lines::lines;
use crate::model::{Block, Cell, Check, CheckResult, Grid, Name, Outcome, Report, Tone};
use crate::verify::effective::{CLAUSES, Clause};
use std::collections::BTreeSet;

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
    for (title, grid) in [("What decides", lines(matrix)), ("Who", people(matrix))] {
        report.blocks.push(Block::Heading(title.to_owned()));
        report.blocks.push(Block::Table(grid));
    }
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
