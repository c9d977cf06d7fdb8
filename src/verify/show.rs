//! What was seen becomes a report.

use super::{Access, Answer, Seen, Visibility};
use crate::model::{Block, Cell, Grid, Outcome, Report, Tone};
use std::collections::BTreeMap;

/// One row a persona and table; those that differ first.
pub fn report(found: &Visibility) -> Report {
    let different: Vec<_> = found.seen.iter().filter(|s| is_different(s)).collect();
    let unknown = found.seen.iter().filter(|s| s.unknown()).count();
    let personas = distinct(found.seen.iter().map(|s| s.persona.as_str()));
    let tables = distinct(found.seen.iter().map(|s| s.table.to_string()));
    let sampled = found
        .seen
        .iter()
        .filter(|s| s.access == Access::Read && s.sampled)
        .count();
    let mut summary = if different.is_empty() {
        format!(
            "{personas} personas see and write the same rows of {tables} tables before and after"
        )
    } else {
        format!(
            "{} of {} comparisons differ",
            different.len(),
            found.seen.len()
        )
    };
    if sampled > 0 {
        summary.push_str(", in part by sample");
    }
    let mut report = Report::new("verify", summary);
    report.outcome = if !different.is_empty() {
        Outcome::Fail
    } else if unknown > 0 || found.seen.is_empty() {
        Outcome::Inconclusive
    } else {
        Outcome::Pass
    };
    if found.seen.is_empty() {
        "No table is guarded for any persona: there is nothing to compare"
            .clone_into(&mut report.summary);
    } else if different.is_empty() && unknown > 0 {
        report.summary = format!("{unknown} comparisons ran out of time; none differs");
    }
    report.blocks.push(Block::Table(grid(&found.seen)));
    report.gaps.clone_from(&found.gaps);
    report.data = serde_json::json!({ "seen": found.seen });
    report
}

fn is_different(seen: &Seen) -> bool {
    !seen.equal() && !seen.unknown()
}

fn distinct<T: Ord>(all: impl Iterator<Item = T>) -> usize {
    all.collect::<std::collections::BTreeSet<_>>().len()
}

fn grid(seen: &[Seen]) -> Grid {
    let mut grid = Grid::new(
        &[
            "persona",
            "table",
            "rows before",
            "after",
            "writes tried",
            "",
        ],
        &["rows before", "after", "writes tried"],
    );
    let mut groups: BTreeMap<(String, String), Vec<&Seen>> = BTreeMap::new();
    for one in seen {
        groups
            .entry((one.persona.clone(), one.table.to_string()))
            .or_default()
            .push(one);
    }
    let mut rows: Vec<(bool, Vec<Cell>)> = groups
        .into_iter()
        .map(|((persona, table), all)| row(persona, table, &all))
        .collect();
    // Stable: names stay in order within each half.
    rows.sort_by_key(|(different, _)| !different);
    grid.rows = rows.into_iter().map(|(_, row)| row).collect();
    grid
}

fn row(persona: String, table: String, all: &[&Seen]) -> (bool, Vec<Cell>) {
    let read = all.iter().find(|s| s.access == Access::Read);
    let text = |answer: Option<&Answer>, sampled: bool| match answer {
        Some(Answer::Rows { count, .. }) if sampled => format!("{count} of sample"),
        Some(Answer::Rows { count, .. }) => count.to_string(),
        Some(Answer::Refused(state)) => format!("refused {state}"),
        Some(Answer::TimedOut) => "no time".to_owned(),
        None => String::new(),
    };
    let sampled = read.is_some_and(|s| s.sampled);
    let tries: usize = all.iter().map(|s| tries(s)).sum();
    let different: Vec<&str> = all
        .iter()
        .filter(|s| is_different(s))
        .map(|s| word(s.access))
        .collect();
    let unknown = all.iter().any(|s| s.unknown());
    let mark = if !different.is_empty() {
        Cell::toned(format!("DIFFERENT: {}", different.join(", ")), Tone::Bad)
    } else if unknown {
        Cell::toned("unknown", Tone::Warn)
    } else {
        Cell::toned("equal", Tone::Good)
    };
    let cells = vec![
        Cell::from(persona),
        Cell::from(table),
        Cell::from(text(read.map(|s| &s.before), sampled)),
        Cell::from(text(read.map(|s| &s.after), sampled)),
        Cell::from(tries.to_string()),
        mark,
    ];
    (!different.is_empty(), cells)
}

fn tries(seen: &Seen) -> usize {
    match (&seen.access, &seen.before) {
        (Access::Read | Access::Lock, _) | (_, Answer::Refused(_) | Answer::TimedOut) => 0,
        (_, Answer::Rows { digest, .. }) => digest
            .split(',')
            .filter_map(|run| run.split_once('×')?.0.parse::<usize>().ok())
            .sum(),
    }
}

fn word(access: Access) -> &'static str {
    match access {
        Access::Read => "rows",
        Access::Lock => "rows to update",
        Access::Insert => "insert",
        Access::Update => "update",
        Access::Delete => "delete",
    }
}
