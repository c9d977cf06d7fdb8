//! What was found becomes a report.

use super::effective::Clause;
use super::found::{Cell, Difference, Findings, Verdict};
use crate::model::{Block, Check, CheckResult, Grid, GridColumn, Outcome, Report, Tone};
use std::collections::{BTreeMap, BTreeSet};

/// Lines of a table of differences; the rest is counted.
const MOST: usize = 60;

/// What differs, what could not be shown, and what was looked at.
pub fn report(found: &Findings) -> Report {
    let outcome = found.outcome();
    let mut report = Report::new("verify", summary(found, outcome));
    report.outcome = outcome;
    if !found.changes.is_empty() {
        report.blocks.push(Block::Text(format!(
            "What changed: {}.",
            found.changes.join("; ")
        )));
    }
    let opened = opened_grid(found);
    if !opened.rows.is_empty() {
        report.blocks.push(Block::Table(opened));
    }
    for (differs, title) in [(true, "what is different"), (false, "what is not shown")] {
        let grid = cells_grid(found, differs, title);
        if !grid.rows.is_empty() {
            report.blocks.push(Block::Table(grid));
        }
    }
    for (table, sql) in &found.examples {
        report.blocks.push(Block::Text(format!(
            "A small world in which {table} answers differently; to be run on a copy of the schema:"
        )));
        report.blocks.push(Block::Code {
            language: "sql".to_owned(),
            text: sql.clone(),
        });
    }
    if !found.cells.is_empty() {
        report.blocks.push(Block::Table(identities_grid(found)));
    }
    for missed in &found.missed {
        report.blocks.push(Block::Warning(format!(
            "Nothing here proves anything: {missed}."
        )));
    }
    if found.statements > 0 {
        report.blocks.push(Block::Text(format!(
            "{} statements run on the server agree.",
            found.statements
        )));
    }
    report.gaps.clone_from(&found.gaps);
    report.checks = found.cells.iter().map(check).collect();
    report.data = serde_json::json!(found);
    report
}

fn summary(found: &Findings, outcome: Outcome) -> String {
    let identities = distinct(found.cells.iter().map(|c| c.identity.as_str()));
    let tables = found.tables.len();
    let untouched = if found.untouched > 0 {
        format!("; {} tables are out of its reach", found.untouched)
    } else {
        String::new()
    };
    let differ = found.cells.iter().filter(|c| c.differs()).count();
    let open = found.opened.iter().filter(|o| o.allowed.is_none()).count();
    let dark = found.cells.iter().filter(|c| c.not_shown()).count();
    match outcome {
        Outcome::Fail if differ == 0 && found.examples.is_empty() => {
            format!("Access changed in {open} places that no policy decides on{untouched}")
        }
        Outcome::Fail => {
            let worlds = if found.examples.is_empty() {
                String::new()
            } else {
                let tables = distinct(found.examples.iter().map(|(t, _)| t));
                format!(", and small worlds show a difference on {tables} tables")
            };
            let besides = if open > 0 {
                format!(", and access changed in {open} places besides")
            } else {
                String::new()
            };
            let all = found.cells.len();
            format!("{differ} of {all} comparisons differ{worlds}{besides}{untouched}")
        }
        Outcome::Inconclusive if !found.missed.is_empty() => format!(
            "Cannot tell: {} of {} checks of this comparison itself failed",
            found.missed.len(),
            found.missed.len() + found.controls + found.statements
        ),
        Outcome::Inconclusive => format!(
            "Cannot tell: {dark} of {} comparisons show nothing; none differs",
            found.cells.len()
        ),
        Outcome::Pass if tables == 0 => {
            format!("Nothing that decides who sees or writes rows changed{untouched}")
        }
        Outcome::Pass => format!(
            "{identities} identities see and write the same rows of {tables} tables before and after{untouched}"
        ),
    }
}

fn check(cell: &Cell) -> Check {
    Check {
        name: format!("{} {} {}", cell.identity, cell.table, cell.clause.words()),
        result: match &cell.verdict {
            Verdict::Same => CheckResult::Passed,
            Verdict::NotShown(_) | Verdict::SameError(_) => CheckResult::Skipped(words(cell)),
            Verdict::Differs(_) | Verdict::Privilege { .. } => {
                CheckResult::Failed(vec![words(cell)])
            }
        },
    }
}

/// Why a cell is not the same, in words.
fn words(cell: &Cell) -> String {
    match &cell.verdict {
        Verdict::Same => "the same".to_owned(),
        Verdict::NotShown(why) => why.clone(),
        Verdict::SameError(state) => format!("both sides end with {state}"),
        Verdict::Privilege { before, after } => {
            format!("the privilege itself: {before} columns before, {after} after")
        }
        Verdict::Differs(difference) => difference_words(cell.clause, difference),
    }
}

fn difference_words(clause: Clause, d: &Difference) -> String {
    let mut parts = Vec::new();
    let (there, possible) = ("rows", "kinds of rows that may come to be");
    let all = [
        (d.wider, there, "more"),
        (d.narrower, there, "fewer"),
        (d.wider_possible, possible, "more"),
        (d.narrower_possible, possible, "fewer"),
    ];
    for (count, what, which) in all {
        if count > 0 {
            parts.push(format!("{count} {which} {what}"));
        }
    }
    if d.raised > 0 {
        parts.push(format!("{} raise an error on one side", d.raised));
    }
    if d.written > 0 {
        parts.push(format!("{} are written by the change itself", d.written));
    }
    format!("may {}: {}", clause.words(), parts.join(", "))
}

/// Equal cells of several identities are one line.
fn cells_grid(found: &Findings, differs: bool, title: &str) -> Grid {
    let mut grid = Grid::new(
        &["table", "as", title, "before", "after"],
        &["before", "after"],
    );
    let mut lines: Vec<(Vec<String>, Vec<&str>)> = Vec::new();
    for cell in &found.cells {
        if (differs && !cell.differs()) || (!differs && !cell.not_shown()) {
            continue;
        }
        let number = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
        let what = if differs {
            words(cell)
        } else {
            format!("{}: {}", cell.clause.words(), words(cell))
        };
        let line = vec![
            cell.table.to_string(),
            what,
            number(cell.before),
            number(cell.after),
        ];
        match lines.iter_mut().find(|(l, _)| *l == line) {
            Some((_, identities)) => identities.push(&cell.identity),
            None => lines.push((line, vec![&cell.identity])),
        }
    }
    let more = lines.len().saturating_sub(MOST);
    for (line, identities) in lines.into_iter().take(MOST) {
        let mut line = line.into_iter();
        let (table, what) = (
            line.next().unwrap_or_default(),
            line.next().unwrap_or_default(),
        );
        let tone = if differs { Tone::Bad } else { Tone::Warn };
        let mut row = vec![
            table.into(),
            few(&identities).into(),
            crate::model::Cell::toned(what, tone),
        ];
        row.extend(line.map(Into::into));
        grid.rows.push(row);
    }
    if more > 0 {
        let mut row: Vec<crate::model::Cell> = vec![format!("… and {more} more").into()];
        row.resize(grid.columns.len(), String::new().into());
        grid.rows.push(row);
    }
    grid
}

fn few(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [one, two] => format!("{one}, {two}"),
        [one, rest @ ..] => format!("{one} and {} more", rest.len()),
    }
}

fn opened_grid(found: &Findings) -> Grid {
    let mut grid = Grid::new(&["access changed", "how", "allowed because"], &[]);
    for opened in &found.opened {
        let tone = if opened.allowed.is_none() {
            Tone::Bad
        } else {
            Tone::Dim
        };
        grid.rows.push(vec![
            opened.object.as_str().into(),
            crate::model::Cell::toned(opened.what.as_str(), tone),
            opened.allowed.clone().unwrap_or_default().into(),
        ]);
    }
    grid
}

/// One row an identity.
fn identities_grid(found: &Findings) -> Grid {
    let titles = [
        "identity",
        "who",
        "rows seen",
        "asked",
        "different",
        "not shown",
    ];
    let mut grid = Grid {
        columns: titles
            .iter()
            .enumerate()
            .map(|(at, title)| GridColumn {
                title: (*title).to_owned(),
                right: at > 1,
            })
            .collect(),
        rows: Vec::new(),
        quiet: 0,
    };
    let mut cells: BTreeMap<&str, Vec<&Cell>> = BTreeMap::new();
    for cell in &found.cells {
        cells.entry(&cell.identity).or_default().push(cell);
    }
    for who in &found.identities {
        let Some(all) = cells.get(who.name.as_str()) else {
            continue;
        };
        let seen: u64 = all
            .iter()
            .filter(|c| c.clause == Clause::Select)
            .filter_map(|c| c.after)
            .sum();
        let different = all.iter().filter(|c| c.differs()).count();
        let dark = all.iter().filter(|c| c.not_shown()).count();
        let tone = |count: usize, bad: Tone| if count > 0 { bad } else { Tone::Good };
        grid.rows.push(vec![
            who.name.as_str().into(),
            who.about.as_str().into(),
            seen.to_string().into(),
            all.len().to_string().into(),
            crate::model::Cell::toned(different.to_string(), tone(different, Tone::Bad)),
            crate::model::Cell::toned(dark.to_string(), tone(dark, Tone::Warn)),
        ]);
    }
    grid
}

fn distinct<T: Ord>(all: impl Iterator<Item = T>) -> usize {
    all.collect::<BTreeSet<_>>().len()
}
