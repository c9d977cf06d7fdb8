//! Small worlds beside expressions.

use super::cells::{Ground, Row};
use super::found::{Findings, Verdict};
use super::run::Note;
use super::worlds::{self, Sides, WorldOptions, search};
use crate::db::Result;
use crate::model::{Gap, Persona};
use std::time::Duration;

/// Small worlds of a table that expressions have decided on already.
const BESIDE_EXPRESSIONS: usize = 120;
/// What the small worlds of one table may take.
const MOST_FOR_WORLDS: Duration = Duration::from_mins(1);

/// The same on tiny instances of the schema, by statement. What no expression can tell rests on them alone.
pub(super) async fn small_worlds(
    ground: &Ground<'_>,
    people: &[Persona],
    rows: &mut [Row],
    found: &mut Findings,
    note: Note<'_>,
) -> Result<()> {
    for subject in ground.subjects {
        let name = subject.name();
        let rest_on_worlds = rows.iter().any(|row| {
            let mut cells = row.by_worlds.iter().filter_map(|at| row.cells.get(*at));
            cells.any(|cell| cell.table == name)
        });
        let mut options = WorldOptions {
            budget: ground.left().unwrap_or_default().min(MOST_FOR_WORLDS),
            ..WorldOptions::default()
        };
        if !rest_on_worlds {
            options.worlds = BESIDE_EXPRESSIONS;
        }
        let sides = Sides::Two {
            before: ground.before,
            after: ground.after,
        };
        let mut told = |done: usize, all: usize| {
            note(done as u64, all as u64, &format!("small worlds of {name}"));
        };
        let verdict = search(sides, ground.catalogs, &name, people, options, &mut told).await?;
        let why = match verdict {
            worlds::Verdict::Same { worlds } => {
                for looked in found.tables.iter_mut().filter(|l| l.table == name) {
                    looked.worlds = Some(worlds);
                }
                continue;
            }
            worlds::Verdict::Different(example) => {
                found.examples.push((name, example.sql));
                continue;
            }
            worlds::Verdict::NotShown(why) => why,
        };
        found.gaps.push(Gap {
            what: format!("small worlds of {name}"),
            why: why.clone(),
            remedy: None,
        });
        for row in rows.iter_mut() {
            for (at, cell) in row.cells.iter_mut().enumerate() {
                // Policies that let everything pass or nothing, or that no statement gets to, are shown by their expressions. Whatever
                // else keeps the worlds from telling is doubt.
                let doubt = !why.starts_with("in no world");
                if cell.table == name
                    && (doubt || row.by_worlds.contains(&at))
                    && cell.verdict == Verdict::Same
                {
                    cell.verdict = Verdict::NotShown(format!("small worlds show nothing: {why}"));
                }
            }
        }
    }
    Ok(())
}
