//! The smallest world that still shows the difference.

use super::compare::{Way, way};
use super::generate::{Cell, World};
use super::probe::Probe;
use super::search::Search;
use super::side::Runner;
use crate::db::Result;

/// Runs of one world at most while it is made smaller.
const TRIES: usize = 300;

/// A difference: the world, the statement, and the answers of both sides.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    pub(super) world: World,
    pub(super) probe: Probe,
    pub(super) before: String,
    pub(super) after: String,
    pub(super) way: Way,
}

impl Search<'_> {
    /// Takes rows away one by one and sets columns NULL, as long as the difference stays.
    pub(super) async fn shrink(&self, runner: &Runner, found: Difference) -> Result<Difference> {
        let mut best = found;
        let mut tries = 0;
        let mut smaller = true;
        while smaller && tries < TRIES {
            smaller = false;
            let mut at = 0;
            while let Some(world) = without(&best.world, at) {
                tries += 1;
                match self.again(runner, &world, &best.probe).await? {
                    Some(found) if found.way == best.way => {
                        best = found;
                        smaller = true;
                    }
                    _ => at += 1,
                }
            }
        }
        let cells = best
            .world
            .rows
            .iter()
            .flatten()
            .map(Vec::len)
            .sum::<usize>();
        for at in 0..cells.min(TRIES) {
            if let Some(world) = with_null(&best.world, at)
                && let Some(found) = self.again(runner, &world, &best.probe).await?
                && found.way == best.way
            {
                best = found;
            }
        }
        Ok(best)
    }

    /// The difference in `world`, if it is there and every row is.
    pub(super) async fn again(
        &self,
        runner: &Runner,
        world: &World,
        probe: &Probe,
    ) -> Result<Option<Difference>> {
        let probes = std::slice::from_ref(probe);
        let call = self.stage.call(world, &self.shapes, probes, self.subject);
        let answers = runner.run(&[call]).await?;
        let Some((before, after)) = answers.into_iter().next() else {
            return Ok(None);
        };
        let whole = before.rows.iter().chain(&after.rows).all(|r| r == "0");
        let (Some(old), Some(new)) = (before.outcomes.first(), after.outcomes.first()) else {
            return Ok(None);
        };
        Ok(way(old, new, world.identity.whole)
            .filter(|_| whole)
            .map(|way| Difference {
                world: world.clone(),
                probe: probe.clone(),
                before: old.clone(),
                after: new.clone(),
                way,
            }))
    }
}

/// Without its `at`th row.
fn without(world: &World, mut at: usize) -> Option<World> {
    let mut smaller = world.clone();
    for rows in &mut smaller.rows {
        if at < rows.len() {
            rows.remove(at);
            return Some(smaller);
        }
        at -= rows.len();
    }
    None
}

/// With the `at`th cell NULL, if it is not.
fn with_null(world: &World, at: usize) -> Option<World> {
    let mut other = world.clone();
    let cell = other
        .rows
        .iter_mut()
        .flatten()
        .flat_map(|row| row.iter_mut())
        .nth(at)?;
    if *cell == Cell::Null {
        return None;
    }
    *cell = Cell::Null;
    Some(other)
}

/// Without the rows that were refused.
pub(super) fn only_there(world: &World, rows: &[String]) -> World {
    let mut there = rows.iter().map(|r| r == "0");
    let mut kept = world.clone();
    for table in &mut kept.rows {
        table.retain(|_| there.next().unwrap_or(false));
    }
    kept
}
