//! What was seen becomes a report.

use super::{Access, Answer, Seen, Visibility};
use crate::model::{Block, Cell, Check, CheckResult, Grid, Outcome, Report, Tone};
use std::collections::BTreeMap;

/// What differs, and what was looked at for each persona.
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
    let differences = differences_grid(&found.seen);
    if !differences.rows.is_empty() {
        report.blocks.push(Block::Table(differences));
    }
    if !found.seen.is_empty() {
        report.blocks.push(Block::Table(personas_grid(&found.seen)));
    }
    report.gaps.clone_from(&found.gaps);
    report.checks = found.seen.iter().map(check).collect();
    report.data = serde_json::json!({ "seen": found.seen });
    report
}

fn check(seen: &Seen) -> Check {
    Check {
        name: format!("{} {} {}", seen.persona, seen.table, word(seen.access)),
        result: if seen.unknown() {
            CheckResult::Skipped("there was no time to look".to_owned())
        } else if seen.equal() {
            CheckResult::Passed
        } else {
            let (before, after) = (answer(seen, &seen.before), answer(seen, &seen.after));
            CheckResult::Failed(vec![format!("{before} before, {after} after")])
        },
    }
}

fn is_different(seen: &Seen) -> bool {
    !seen.equal() && !seen.unknown()
}

fn distinct<T: Ord>(all: impl Iterator<Item = T>) -> usize {
    all.collect::<std::collections::BTreeSet<_>>().len()
}

/// One row a persona.
fn personas_grid(seen: &[Seen]) -> Grid {
    let titles = [
        "persona",
        "tables",
        "rows seen",
        "writes tried",
        "sampled",
        "different",
    ];
    let mut grid = Grid::new(&titles, titles.get(1..).unwrap_or_default());
    let mut personas: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for one in seen {
        personas.entry(&one.persona).or_default().push(one);
    }
    for (persona, all) in personas {
        let reads = || all.iter().filter(|s| s.access == Access::Read);
        let rows: u64 = reads()
            .map(|s| match &s.after {
                Answer::Rows { count, .. } => *count,
                Answer::Refused(_) | Answer::TimedOut => 0,
            })
            .sum();
        let different = all.iter().filter(|s| is_different(s)).count();
        let tone = if different > 0 { Tone::Bad } else { Tone::Good };
        grid.rows.push(vec![
            persona.into(),
            reads().count().to_string().into(),
            rows.to_string().into(),
            all.iter()
                .map(|s| tries(s))
                .sum::<usize>()
                .to_string()
                .into(),
            reads().filter(|s| s.sampled).count().to_string().into(),
            Cell::toned(different.to_string(), tone),
        ]);
    }
    grid
}

/// One row for everything that is not the same, or not known to be.
fn differences_grid(seen: &[Seen]) -> Grid {
    let titles = ["persona", "table", "what", "before", "after"];
    let mut grid = Grid::new(&titles, titles.get(3..).unwrap_or_default());
    for one in seen.iter().filter(|s| !s.equal() || s.unknown()) {
        let tone = if one.unknown() { Tone::Warn } else { Tone::Bad };
        grid.rows.push(vec![
            one.persona.as_str().into(),
            one.table.to_string().into(),
            Cell::toned(word(one.access), tone),
            answer(one, &one.before).into(),
            answer(one, &one.after).into(),
        ]);
    }
    grid
}

fn answer(seen: &Seen, answer: &Answer) -> String {
    match (answer, seen.access) {
        (Answer::Refused(state), _) => format!("refused {state}"),
        (Answer::TimedOut, _) => "no time".to_owned(),
        (Answer::Rows { count, .. }, Access::Read | Access::Lock) => {
            // As many rows, but other ones: the digests say so, the numbers do not.
            let same_number = matches!(
                (&seen.before, &seen.after),
                (Answer::Rows { count: b, .. }, Answer::Rows { count: a, .. }) if a == b
            );
            let other = if same_number { " (other ones)" } else { "" };
            format!("{count} rows{other}")
        }
        (Answer::Rows { count, .. }, _) => format!("{count} of {} allowed", tries(seen)),
    }
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
