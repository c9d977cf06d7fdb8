//! Real statements, taken back, as a control of the model: what the server does with them is compared with what the
//! expressions say.
//!
//! Which clauses a statement asks is PostgreSQL documentation, "CREATE POLICY", table "Policies Applied by Command Type".

mod ask;
mod choose;
mod expect;
mod new;
mod predict;
mod scene;
mod stage;
mod there;

use super::cells::{Ground, Row};
use super::effective::Clause;
use super::pairing::Subject;
use crate::db::{Limits, Result, Session, Target};
use crate::model::{Gap, Persona};
use ask::Tally;
use choose::{Task, tasks};
use predict::Asked;
use scene::Scene;
use stage::{Facts, Spot};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Tables up to so many rows are also written as a whole.
const SMALL: u64 = 5000;
/// What the statements of one identity on one table may take.
const MOST: Duration = Duration::from_secs(2);

/// What came of all statements.
#[derive(Clone, Debug, Default)]
pub(super) struct Watched {
    /// That were run and agree.
    pub(super) statements: usize,
    /// What disagrees, and tables of which none could be run.
    pub(super) missed: Vec<String>,
    /// Tables on which none that writes could be run.
    pub(super) gaps: Vec<Gap>,
}

/// Runs statements on every table that was decided, as a few identities, on both sides.
///
/// # Errors
/// Where a clone cannot be reached or its rows cannot be staged. What a statement raises is part of what is found.
pub(super) async fn watch(
    ground: &Ground<'_>,
    people: &[Persona],
    rows: &[Row],
    note: &mut dyn FnMut(u64, u64, &str),
) -> Result<Watched> {
    let mut watched = Watched::default();
    let mut before = Watch::open(ground, ground.before, people, false).await?;
    let mut after = Watch::open(ground, ground.after, people, true).await?;
    let total = ground.subjects.len() as u64;
    for (at, subject) in ground.subjects.iter().enumerate() {
        note(
            at as u64,
            total,
            &format!("statements on {}", subject.name()),
        );
        if ground.doubtful.contains(&subject.number) {
            continue;
        }
        let tasks = tasks(people, rows, subject);
        if tasks.is_empty() {
            continue;
        }
        if ground.left().is_none() {
            let name = subject.name();
            watched
                .missed
                .push(format!("there was no time for statements on {name}"));
            continue;
        }
        let (b, a) = tokio::join!(before.table(subject, &tasks), after.table(subject, &tasks));
        for (tally, side) in [(b?, "before"), (a?, "after")] {
            watched.statements += tally.agreed;
            if tally.agreed == 0 && tally.disagreed.is_empty() {
                let why: Vec<String> = tally.not_run.into_iter().collect();
                let name = subject.name();
                let why = if why.is_empty() {
                    "the rights of the identities allow none that names a row".to_owned()
                } else {
                    why.join("; ")
                };
                watched.missed.push(format!(
                    "no statement on {name} {side} the change showed anything: {why}"
                ));
            }
            watched.missed.extend(tally.disagreed);
            watched.gaps.extend(tally.only_reads.map(|why| Gap {
                what: format!(
                    "statements that write to {} {side} the change",
                    subject.name()
                ),
                why: why.to_owned(),
                remedy: None,
            }));
        }
    }
    Ok(watched)
}

/// One side. Each identity has a connection of its own: a setting that was once set in a session is never unset again.
struct Watch<'a> {
    ground: &'a Ground<'a>,
    target: &'a Target,
    people: &'a [Persona],
    after: bool,
    owner: Session,
    sessions: BTreeMap<usize, Session>,
}

/// What is known of one identity before it acts.
struct Actor<'a> {
    task: &'a Task<'a>,
    asked: Asked<'a>,
    facts: Facts,
    /// Rows that it sees; `None` where it was not asked.
    seen: Option<BTreeSet<(String, String)>>,
}

impl<'a> Watch<'a> {
    async fn open(
        ground: &'a Ground<'a>,
        target: &'a Target,
        people: &'a [Persona],
        after: bool,
    ) -> Result<Self> {
        let owner = Session::connect(target, "verify").await?;
        owner.execute("prepare a clone", ask::PREPARE).await?;
        Ok(Self {
            ground,
            target,
            people,
            after,
            owner,
            sessions: BTreeMap::new(),
        })
    }

    async fn table(&mut self, subject: &Subject, tasks: &[Task<'_>]) -> Result<Tally> {
        let mut tally = Tally::default();
        let mut actors = Vec::new();
        let mut seen = BTreeSet::new();
        for task in tasks {
            let actor = self.actor(subject, task).await?;
            seen.extend(actor.seen.iter().flatten().cloned());
            actors.push(actor);
        }
        let spots = stage::stage(&self.owner, subject, self.after, &seen).await?;
        let orphans = spots.iter().filter(|s| !s.known).count();
        if orphans > 0 {
            let name = subject.name();
            let side = self.side();
            tally.disagreed.insert(format!(
                "{orphans} of {} rows of {name} {side} the change are of no tuple that was decided",
                spots.len()
            ));
        }
        for actor in &actors {
            let mut one = self.act(subject, actor, &spots).await?;
            if !one.disagreed.is_empty() {
                // A clock may have moved between an expression and a statement.
                let again = self.act(subject, actor, &spots).await?;
                one.disagreed.retain(|d| again.disagreed.contains(d));
            }
            let name = self.name(actor.task);
            let place = format!(
                "as {name} on {} {} the change, ",
                subject.name(),
                self.side()
            );
            one.disagreed = one
                .disagreed
                .iter()
                .map(|d| format!("{place}{d}"))
                .collect();
            tally.add(one);
        }
        Ok(tally)
    }

    fn side(&self) -> &'static str {
        if self.after { "after" } else { "before" }
    }

    fn name(&self, task: &Task<'_>) -> String {
        self.people
            .get(task.person)
            .map(|p| p.name.clone())
            .unwrap_or_default()
    }

    fn limits(&self) -> Limits {
        Limits {
            statement: self
                .ground
                .left()
                .unwrap_or_default()
                .clamp(Duration::from_millis(50), MOST),
            lock: Duration::from_secs(1),
        }
    }

    /// The connection of an identity.
    async fn session(&mut self, task: &Task<'_>) -> Result<&Session> {
        if !self.sessions.contains_key(&task.person) {
            let session = Session::connect(self.target, "verify").await?;
            self.sessions.insert(task.person, session);
        }
        self.sessions
            .get(&task.person)
            .ok_or_else(|| crate::db::Error::new("connect", "no connection"))
    }

    async fn actor<'t>(&mut self, subject: &Subject, task: &'t Task<'t>) -> Result<Actor<'t>> {
        let (after, limits) = (self.after, self.limits());
        let asked = task.asked(after);
        let people = self.people;
        let Some(persona) = people.get(task.person) else {
            return Err(crate::db::Error::new("find an identity", "there is none"));
        };
        let facts = stage::facts(&self.owner, subject, after, &persona.role).await?;
        // Who sees nothing would read a large table in vain.
        let looks = facts.places && task.sees_some(after);
        let mut seen = None;
        if looks {
            let session = self.session(task).await?;
            session.begin_as(persona, true, limits).await?;
            seen = stage::seen(session, subject, after).await?;
            session.end().await?;
        }
        Ok(Actor {
            task,
            asked,
            facts,
            seen,
        })
    }

    /// Predicts and runs all statements of one identity, in one transaction that is taken back.
    async fn act(&mut self, subject: &Subject, actor: &Actor<'_>, spots: &[Spot]) -> Result<Tally> {
        let limits = self.limits();
        let people = self.people;
        let Some(persona) = people.get(actor.task.person) else {
            return Ok(Tally::default());
        };
        let (after, catalogs) = (self.after, self.ground.catalogs);
        let catalog = if after { catalogs.1 } else { catalogs.0 };
        let session = self.session(actor.task).await?;
        session.begin_trying(limits).await?;
        let outcome = async {
            let only_reads = if actor.facts.rules {
                Some("it has rewrite rules, which make other statements of them")
            } else if actor.facts.foreign {
                Some("a foreign table is among its partitions or children")
            } else if stage::still(session, subject, after).await? {
                None
            } else {
                Some("its triggers could not be disabled")
            };
            session.become_persona(persona).await?;
            let play = Play {
                session,
                subject,
                after,
                actor,
                spots,
                only_reads,
                made_up: choose::made_up(subject, after, &actor.facts, catalog),
                most: limits.statement.as_millis(),
            };
            play.run().await
        };
        let outcome = outcome.await;
        session.end().await?;
        outcome
    }
}

/// One identity in its transaction.
struct Play<'a> {
    session: &'a Session,
    subject: &'a Subject,
    after: bool,
    actor: &'a Actor<'a>,
    spots: &'a [Spot],
    /// Why no statement that writes is run.
    only_reads: Option<&'static str>,
    /// Whether made-up rows can be inserted as they are.
    made_up: bool,
    most: u128,
}

impl Play<'_> {
    async fn run(&self) -> Result<Tally> {
        let (session, subject, after) = (self.session, self.subject, self.after);
        let asked = &self.actor.asked;
        let inserts = self.picks(Clause::Insert).await?;
        let targets = self.picks(Clause::UpdateCheck).await?;
        let hashes = self
            .spots
            .iter()
            .map(|s| &s.hash)
            .chain(&inserts)
            .chain(&targets);
        let hashes: BTreeSet<String> = hashes.cloned().collect();
        let says = predict::says(session, subject, after, asked, &hashes).await?;
        let mut scene = Scene {
            subject,
            after,
            facts: &self.actor.facts,
            asked,
            spots: self.spots,
            says: &says,
            inserts: &inserts,
            targets: &targets,
            whole: predict::Whole::default(),
        };
        if self.actor.task.rows(after) <= SMALL || !scene.names_rows() {
            scene.whole = predict::whole(session, subject, after, asked).await?;
        }
        let mut tally = choose::sightings(&scene, self.actor.seen.as_ref());
        let mut statements = there::statements(&scene);
        statements.extend(new::statements(&scene));
        if self.only_reads.is_some() {
            statements.retain(|s| s.sql.starts_with("select"));
        }
        let doing = format!("run statements on {}", subject.name());
        tally.only_reads = self.only_reads;
        tally.add(ask::run(session, &doing, &statements, self.most).await?);
        Ok(tally)
    }

    /// Made-up rows that decide something of what INSERT adds, or of what UPDATE leaves.
    async fn picks(&self, clause: Clause) -> Result<Vec<String>> {
        let Some(effective) = self.actor.asked.get(&clause) else {
            return Ok(Vec::new());
        };
        let reach = match clause {
            Clause::Insert if self.made_up => self.actor.task.reach(clause, self.after),
            Clause::Insert => return Ok(Vec::new()),
            // Columns that the role may not update are not updated.
            _ => None,
        };
        predict::picks(self.session, self.subject, self.after, effective, reach).await
    }
}
