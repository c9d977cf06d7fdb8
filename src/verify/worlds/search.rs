//! From a table to a verdict.

use super::compare::{Evidence, way};
use super::generate::{Plan, World};
use super::identity::{Draws, Pattern, asks_for_role, patterns};
use super::kind::Family;
use super::pool::Pools;
use super::probe::{Probe, probes};
use super::reach::{Reach, reach};
use super::shape::{Rights, Shape, columns, rights, shapes, with_parents};
use super::show::counter_example;
use super::shrink::{Difference, only_there};
use super::side::{Answers, Runner, Sides, Stage};
use super::{Verdict, WorldOptions, role};
use crate::db::{Error, Result, Session};
use crate::model::{Catalog, Command, Name, Persona};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Worlds a round trip.
const AT_ONCE: usize = 10;
/// How often a difference must show again.
const AGAIN: usize = 3;
/// The largest limit that an INSERT of more rows than it allows is tried for.
const LIMIT: usize = 40;

/// Everything that is known before the first world.
pub(super) struct Search<'a> {
    sides: Sides<'a>,
    reach: Reach,
    pub(super) shapes: Vec<Shape>,
    pub(super) subject: usize,
    pub(super) stage: Stage,
    /// By role, for those that look.
    rights: BTreeMap<String, Rights>,
    roles: Vec<String>,
    patterns: Vec<Pattern>,
    /// What must be shown.
    needed: BTreeMap<Command, BTreeSet<String>>,
}

/// Why nothing can be shown, or what went wrong.
enum Stop {
    NotShown(String),
    Broken(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::NotShown(why)
    }
}

pub(super) async fn search(
    sides: Sides<'_>,
    catalogs: (&Catalog, &Catalog),
    table: &Name,
    personas: &[Persona],
    options: WorldOptions,
    note: &mut dyn FnMut(usize, usize),
) -> Result<Verdict> {
    let begun = Instant::now();
    let search = match Search::prepare(sides, catalogs, table, personas).await {
        Ok(search) => search,
        Err(Stop::NotShown(why)) => return Ok(Verdict::NotShown(why)),
        Err(Stop::Broken(error)) => return refused(error),
    };
    match search.run(options, begun, note).await {
        Ok(verdict) => Ok(verdict),
        Err(error) => refused(error),
    }
}

/// An error of a statement means that nothing is shown; one of the connection is passed on.
fn refused(error: Error) -> Result<Verdict> {
    match error.sqlstate.as_deref() {
        Some("57014") => Ok(Verdict::NotShown("a small world took too long".to_owned())),
        Some(state) if !state.starts_with("08") && !state.starts_with("57") => {
            Ok(Verdict::NotShown(error.to_string()))
        }
        _ => Err(error),
    }
}

impl<'a> Search<'a> {
    async fn prepare(
        sides: Sides<'a>,
        (before, after): (&Catalog, &Catalog),
        table: &Name,
        personas: &[Persona],
    ) -> std::result::Result<Self, Stop> {
        let reach = reach(before, after, table)?;
        let tables = with_parents(before, &reach.tables);
        let (first, second) = sides.targets();
        let session = Session::connect(first, "small worlds").await?;
        let other = Session::connect(second, "small worlds").await?;
        for name in &tables {
            if before.table(name).is_none() || after.table(name).is_none() {
                return Err(format!("{name}, which it reads, exists on one side only").into());
            }
        }
        let words = &reach.said.words;
        let old = columns(&session, &tables, words).await?;
        let new = columns(&other, &tables, words).await?;
        let shapes = shapes(before, &old, &new);
        let subject = shapes.iter().position(|s| s.name == *table);
        let subject = subject.ok_or_else(|| "its columns could not be read".to_owned())?;
        if let Some((shape, column)) = unfillable(&shapes) {
            return Err(format!(
                "no value is known for column {column} of {shape}, which may not be null"
            )
            .into());
        }
        let mut rights_of = BTreeMap::new();
        for role in role::candidates(before, after, table, &reach, personas) {
            let mut found = rights(&session, table, &role).await?;
            found.merge(rights(&other, table, &role).await?);
            if found.guarded && rights_of.len() < role::MOST {
                rights_of.insert(role, found);
            }
        }
        if rights_of.is_empty() {
            return Err("there is no role that its policies are about and that the connecting role may become"
                .to_owned()
                .into());
        }
        let needed = needed(&reach, &rights_of, before);
        if needed.is_empty() {
            return Err("nobody may use what its changed policies let pass"
                .to_owned()
                .into());
        }
        let user = (before.server.user.as_str(), before.server.user_is_superuser);
        let touched = reach.said.written.iter().cloned();
        let stage = Stage::new(&shapes, subject, user, touched);
        Ok(Self {
            sides,
            needed,
            roles: rights_of.keys().cloned().collect(),
            rights: rights_of,
            patterns: patterns(&reach.said, personas),
            shapes,
            subject,
            stage,
            reach,
        })
    }

    async fn run(
        &self,
        options: WorldOptions,
        begun: Instant,
        note: &mut dyn FnMut(usize, usize),
    ) -> Result<Verdict> {
        let families: BTreeSet<Family> = self.read_families();
        let names: &[String] = if asks_for_role(&self.reach.said) {
            &self.roles
        } else {
            &[]
        };
        let pools = Pools::new(&self.reach.said, names, families);
        let batches = self.batches();
        let plan = Plan {
            seed: options.seed,
            shapes: &self.shapes,
            subject: self.subject,
            pools: &pools,
            draws: Draws {
                said: &self.reach.said,
                pools: &pools,
                roles: &self.roles,
            },
            batches: &batches,
        };
        let mut evidence = Evidence::default();
        let (mut done, mut whole) = (0, 0);
        for pattern in &self.patterns {
            let count = (options.worlds * pattern.share).div_ceil(100).max(1);
            let runner = Runner::open(self.sides, &self.stage).await?;
            let numbers: Vec<usize> = (done..done + count).collect();
            for chunk in numbers.chunks(AT_ONCE) {
                let worlds: Vec<World> = chunk.iter().map(|n| plan.world(*n, pattern)).collect();
                let (answers, found) = self.compare(&runner, &worlds, &mut evidence).await?;
                whole += answers;
                if let Some(found) = found {
                    return self.judge(&runner, pattern, found).await;
                }
                done += chunk.len();
                note(done, options.worlds.max(done));
                if begun.elapsed() > options.budget && done < options.worlds {
                    return Ok(Verdict::NotShown(format!(
                        "{done} of {} small worlds were compared in {} s",
                        options.worlds,
                        options.budget.as_secs()
                    )));
                }
            }
        }
        Ok(match evidence.lacks(&self.needed) {
            Some(why) => Verdict::NotShown(why),
            None => Verdict::Same { worlds: whole },
        })
    }

    /// How many of the worlds came to be, and the first difference.
    async fn compare(
        &self,
        runner: &Runner,
        worlds: &[World],
        evidence: &mut Evidence,
    ) -> Result<(usize, Option<Difference>)> {
        let probes: Vec<Vec<Probe>> = worlds.iter().map(|w| self.probes(w)).collect();
        let calls: Vec<String> = worlds
            .iter()
            .zip(&probes)
            .map(|(world, probes)| self.stage.call(world, &self.shapes, probes, self.subject))
            .collect();
        let mut whole = 0;
        let all = runner.run(&calls).await?;
        for ((world, probes), (before, after)) in worlds.iter().zip(&probes).zip(all) {
            // A row that only one side refuses: the schema itself differs, of which nothing is said here.
            if before.rows != after.rows {
                continue;
            }
            whole += 1;
            let own = self.own_rows(world, &before);
            evidence.note(&world.identity.role, own, probes, &before);
            if let Some(found) = first_difference(world, probes, &before, &after) {
                return Ok((whole, Some(found)));
            }
        }
        Ok((whole, None))
    }

    fn probes(&self, world: &World) -> Vec<Probe> {
        let rights = self.rights.get(&world.identity.role);
        let shape = self.shapes.get(self.subject);
        rights
            .zip(shape)
            .map(|(rights, shape)| probes(world, shape, rights, &self.reach))
            .unwrap_or_default()
    }

    /// How many rows of the policies' table are there.
    fn own_rows(&self, world: &World, answers: &Answers) -> usize {
        let kept = only_there(world, &answers.rows);
        kept.rows.get(self.subject).map_or(0, Vec::len)
    }

    /// A difference that does not show again rests on chance or on the time.
    async fn judge(
        &self,
        runner: &Runner,
        pattern: &Pattern,
        found: Difference,
    ) -> Result<Verdict> {
        let mut found = found;
        for _ in 0..AGAIN {
            let again = self.again(runner, &found.world, &found.probe).await?;
            let steady =
                again.filter(|again| again.before == found.before && again.after == found.after);
            let Some(again) = steady else {
                return Ok(Verdict::NotShown(
                    "its answer is not the same from one run to the next: it rests on chance, on the time or on what ran before"
                        .to_owned(),
                ));
            };
            found = again;
        }
        let smallest = self.shrink(runner, found).await?;
        let example = counter_example(self, pattern, &smallest);
        Ok(Verdict::Different(Box::new(example)))
    }

    fn read_families(&self) -> BTreeSet<Family> {
        let columns = self.shapes.iter().flat_map(|s| &s.columns);
        columns
            .filter(|c| {
                c.read
                    && !matches!(
                        c.kind.family,
                        Family::Json | Family::Boolean | Family::Other
                    )
            })
            .map(|c| c.kind.family.clone())
            .collect()
    }

    /// Sizes of an INSERT of several rows: for every limit that a text may set, one row more.
    fn batches(&self) -> Vec<usize> {
        let numbers = self.reach.said.numbers.iter();
        let limits = numbers.filter_map(|n| n.parse::<usize>().ok());
        let over = limits.map(|n| n + 1).filter(|n| (3..=LIMIT).contains(n));
        let sizes: BTreeSet<usize> = over.chain([2, 5]).collect();
        sizes.into_iter().collect()
    }

    pub(super) fn subject_name(&self) -> Option<&Name> {
        self.shapes.get(self.subject).map(|s| &s.name)
    }

    pub(super) fn settings(&self) -> impl Iterator<Item = &String> {
        self.reach.said.settings.keys()
    }
}

/// The commands that must be shown to be alike, and the roles that changed policies let use them.
fn needed(
    reach: &Reach,
    rights: &BTreeMap<String, Rights>,
    catalog: &Catalog,
) -> BTreeMap<Command, BTreeSet<String>> {
    let mut needed = BTreeMap::new();
    for (command, named) in &reach.changed {
        if !reach.admitted.contains(command) {
            continue;
        }
        let may = |rights: &Rights| match command {
            Command::Select | Command::All => !rights.select.is_empty(),
            Command::Insert => !rights.insert.is_empty(),
            Command::Update => !rights.update.is_empty(),
            Command::Delete => rights.delete,
        };
        let roles = rights.iter().filter(|(_, rights)| may(rights));
        let roles = roles.filter(|(role, _)| role::is_among(catalog, role, named));
        let roles: BTreeSet<String> = roles.map(|(name, _)| name.clone()).collect();
        if !roles.is_empty() {
            needed.insert(*command, roles);
        }
    }
    needed
}

fn first_difference(
    world: &World,
    probes: &[Probe],
    before: &Answers,
    after: &Answers,
) -> Option<Difference> {
    let outcomes = before.outcomes.iter().zip(&after.outcomes);
    probes.iter().zip(outcomes).find_map(|(probe, (old, new))| {
        way(old, new, world.identity.whole).map(|way| Difference {
            world: only_there(world, &before.rows),
            probe: probe.clone(),
            before: old.clone(),
            after: new.clone(),
            way,
        })
    })
}

/// A column that must have a value of a type without one.
fn unfillable(shapes: &[Shape]) -> Option<(&Name, &str)> {
    shapes.iter().find_map(|shape| {
        let column = shape
            .columns
            .iter()
            .find(|c| c.not_null && !c.kind.is_known() && !c.constant_default)?;
        Some((&shape.name, column.name.as_str()))
    })
}
