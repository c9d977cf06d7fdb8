//! The stages of a comparison, in their order.

use super::access::Definitions;
use super::beside::small_worlds;
use super::cells::{Decision, Ground, Row};
use super::changes::{Allowed, Changes, Evidence, Sessions};
use super::control::controls;
use super::evidence::weigh;
use super::faithful::{Doubt, doubts};
use super::found::{Findings, Looked, Verdict, Who};
use super::identity::{self, Identity, Kind};
use super::pairing::{By, Subject, pair};
use super::parents::parents_first;
use super::rights::{self, Rights};
use super::side::{self, Guarded, Side};
use super::sources::sources;
use super::surroundings;
use super::tuples;
use super::witness;
use crate::db::{Limits, Result, Session, Target, read_catalog};
use crate::model::{Catalog, Gap, Name, Persona};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How thorough.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the whole comparison may take; what is not decided by then is not shown.
    pub time: Duration,
    /// Whether both sides are clones of one database, with the same oids.
    pub twins: bool,
    /// How many identities are looked for beside those that are asked for.
    pub most: usize,
    pub allowed: Allowed,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            time: Duration::from_mins(15),
            twins: true,
            most: 24,
            allowed: Allowed::default(),
        }
    }
}

/// Told steps done, steps in all, and what is being looked at.
pub(super) type Note<'a> = &'a mut dyn FnMut(u64, u64, &str);

/// Compares what every identity may do with the rows of every table that the change can reach.
///
/// `was` are the definitions of the database that both sides are copies of, if they are: roles belong to the whole server, so a
/// copy shows them as the change left them. Both sides are throwaway clones: a schema is made on them, and rows are grouped there.
///
/// # Errors
/// Where a side cannot be read. What a policy raises is part of what is found.
pub async fn verify(
    before: &Target,
    after: &Target,
    was: Option<Definitions>,
    asked: &[Persona],
    options: &Options,
    note: Note<'_>,
) -> Result<(Findings, Evidence)> {
    // It is large, and whoever waits for it holds it.
    Box::pin(stages(before, after, was, asked, options, note)).await
}

async fn stages(
    before: &Target,
    after: &Target,
    was: Option<Definitions>,
    asked: &[Persona],
    options: &Options,
    note: Note<'_>,
) -> Result<(Findings, Evidence)> {
    let begun = Instant::now();
    let deadline = begun + options.time;
    note(0, 0, "what changed");
    let sessions = Sessions::open(before, after).await?;
    let mut found = Findings::default();
    let change = Changes::read(&sessions, was, options.twins).await?;
    change.tell(&mut found);
    let sides = Box::pin(Both::read(sessions, &change)).await?;
    let by = if options.twins { By::Number } else { By::Name };
    let mut subjects = pair(
        &sides.before.side,
        &sides.after.side,
        &change.comparison.renamed,
        by,
    );
    subjects.retain(|s| s.before.rls || s.after.rls);
    parents_first(&mut subjects);
    let subjects = &subjects;
    let unguarded = sides.unguarded(subjects);
    change.tell_opened(subjects, &unguarded, &options.allowed, &mut found);
    found.untouched = sides.guarded().saturating_sub(subjects.len());
    let session = &sides.before.session;
    if subjects.is_empty() {
        let evidence = change.evidence(session, &[]).await?;
        return Ok((found, evidence));
    }
    note(0, 0, "who asks");
    let catalogs = (&sides.before.catalog, &sides.after.catalog);
    let mut identities = identity::find(session, catalogs, asked, options.most).await?;
    if change.writes_rows() {
        let later = identity::find(&sides.after.session, catalogs, &[], options.most).await?;
        identities.join(later);
    }
    found.gaps.extend(identities.gaps);
    found.identities = identities.identities.iter().map(who).collect();
    let malformed: BTreeSet<String> = identities
        .identities
        .iter()
        .filter(|i| {
            let broken = [Kind::Malformed, Kind::EmptyClaims, Kind::EmptyObject];
            broken.contains(&i.kind)
        })
        .map(|i| i.persona.name.clone())
        .collect();
    let people: Vec<Persona> = identities
        .identities
        .into_iter()
        .map(|i| i.persona)
        .collect();
    let doubtful = make_tuples(&sides, subjects, &people, &change, &mut found, note).await?;
    let ground = Ground {
        before,
        after,
        catalogs: (&sides.before.catalog, &sides.after.catalog),
        subjects,
        doubtful: &doubtful,
        deadline,
    };
    let mut rights = BTreeMap::new();
    for persona in &people {
        if !rights.contains_key(&persona.role) {
            let both = sides.rights(&persona.role, subjects).await?;
            rights.insert(persona.role.clone(), both);
        }
    }
    let total = (people.len() * subjects.len()) as u64;
    let mut rows: Vec<Row> = Vec::new();
    let mut done = 0;
    for persona in &people {
        let Some((b, a)) = rights.get(&persona.role) else {
            continue;
        };
        let mut step = |subject: &Subject| {
            note(done, total, &progress(persona, subject, begun, done, total));
            done += 1;
        };
        rows.push(ground.row(persona, (b, a), &mut step).await?);
    }
    small_worlds(&ground, &people, &mut rows, &mut found, note).await?;
    forgive(&malformed, &mut rows, &mut found.gaps);
    surroundings(&change, &sides, subjects, &mut rows);
    weigh(&mut rows, subjects);
    controls(&ground, &people, &rows, &mut found).await?;
    let watched = witness::watch(&ground, &people, &rows, note).await?;
    found.statements = watched.statements;
    found.missed.extend(watched.missed);
    found.gaps.extend(watched.gaps);
    found.cells = rows.into_iter().flat_map(|row| row.cells).collect();
    let evidence = change.evidence(session, &found.identities).await?;
    Ok((found, evidence))
}

/// One side: a session, what it holds of policies, and its catalog.
struct Opened {
    session: Session,
    side: Side,
    catalog: Catalog,
}

struct Both {
    before: Opened,
    after: Opened,
}

impl Opened {
    async fn read(session: Session, names: &BTreeSet<Name>) -> Result<Self> {
        let side = side::read(&session, names, Limits::default()).await?;
        let catalog = read_catalog(&session).await?;
        Ok(Self {
            session,
            side,
            catalog,
        })
    }

    async fn rights(&self, role: &str, oids: &[u32]) -> Result<Rights> {
        rights::read(&self.session, role, oids, Limits::default()).await
    }
}

impl Both {
    async fn read(sessions: Sessions, change: &Changes) -> Result<Self> {
        let (was, is) = change.tables();
        let (before, after) = tokio::join!(
            Opened::read(sessions.before, &was),
            Opened::read(sessions.after, &is)
        );
        Ok(Self {
            before: before?,
            after: after?,
        })
    }

    /// Tables that were read and that neither side guards.
    fn unguarded(&self, subjects: &[Subject]) -> BTreeSet<Name> {
        let guarded: BTreeSet<u32> = subjects
            .iter()
            .flat_map(|s| [s.before.oid, s.after.oid])
            .collect();
        let tables = self
            .before
            .side
            .tables
            .values()
            .chain(self.after.side.tables.values());
        tables
            .filter(|t| !t.rls && !guarded.contains(&t.oid))
            .map(Guarded::name)
            .collect()
    }

    /// How many tables row-level security guards, on the side that has more of them.
    fn guarded(&self) -> usize {
        let count = |catalog: &Catalog| catalog.tables.values().filter(|t| t.rls_enabled).count();
        count(&self.before.catalog).max(count(&self.after.catalog))
    }

    async fn rights(&self, role: &str, subjects: &[Subject]) -> Result<(Rights, Rights)> {
        let oids = |after: bool| -> Vec<u32> { subjects.iter().map(|s| s.on(after).oid).collect() };
        let (before, after) = (oids(false), oids(true));
        let (b, a) = tokio::join!(
            self.before.rights(role, &before),
            self.after.rights(role, &after)
        );
        Ok((b?, a?))
    }
}

/// Groups and makes up the rows of all subjects. Returns those whose policies cannot be decided by their text.
async fn make_tuples(
    sides: &Both,
    subjects: &[Subject],
    people: &[Persona],
    change: &Changes,
    found: &mut Findings,
    note: Note<'_>,
) -> Result<BTreeSet<usize>> {
    let (b, a) = (&sides.before, &sides.after);
    tuples::prepare(&b.session).await?;
    tuples::prepare(&a.session).await?;
    let both = [(&b.side, &b.catalog), (&a.side, &a.catalog)];
    let changed = change.functions();
    let sources = sources(&b.session, both, people, &changed).await?;
    let mut doubtful = BTreeSet::new();
    let total = subjects.len() as u64;
    for (at, subject) in subjects.iter().enumerate() {
        note(at as u64, total, &format!("rows of {}", subject.name()));
        for (session, after) in [(&b.session, false), (&a.session, true)] {
            for (policy, why) in doubts(session, subject, after).await? {
                doubtful.insert(subject.number);
                found.gaps.push(doubt(subject, (policy, why)));
            }
        }
        let made = tuples::make((&b.session, &a.session), subject, &sources).await?;
        found.tables.push(Looked {
            table: subject.name(),
            rows: made.rows,
            made_up: made.made_up,
            worlds: None,
        });
    }
    Ok(doubtful)
}

/// Claims that cannot be read raise an error as soon as they are looked at, and when that is the server decides: an error
/// instead of another answer, and nothing else, is no difference for whoever has such claims.
fn forgive(malformed: &BTreeSet<String>, rows: &mut [Row], gaps: &mut Vec<Gap>) {
    let mut forgiven = BTreeSet::new();
    for row in rows.iter_mut() {
        let decided = &row.decided;
        let cells = row.cells.iter_mut().enumerate();
        for (at, cell) in cells.filter(|(_, c)| malformed.contains(&c.identity)) {
            let Verdict::Differs(difference) = &cell.verdict else {
                continue;
            };
            // A statement that ends with an error on both sides shows no row, whatever each row would have come to.
            if difference.is_error_only() || decided.get(&at).is_some_and(Decision::ends) {
                cell.verdict = Verdict::Same;
                forgiven.insert((cell.identity.clone(), cell.table.clone()));
            }
        }
    }
    gaps.extend(forgiven.into_iter().map(|(identity, table)| {
        Gap {
            what: format!("errors of {table} as {identity}"),
            why:
                "its claims cannot be read, and one side notices that at other rows than the other"
                    .to_owned(),
            remedy: None,
        }
    }));
}

/// What depends on where and when it is asked is the same on two clones, and may not be on the original.
fn surroundings(change: &Changes, sides: &Both, subjects: &[Subject], rows: &mut [Row]) {
    let functions = change.functions();
    let catalogs = (&sides.before.catalog, &sides.after.catalog);
    let said = surroundings::said(subjects, catalogs, &functions);
    for row in rows.iter_mut() {
        for cell in &mut row.cells {
            if let Some(word) = said
                .get(&cell.table)
                .filter(|_| cell.verdict == Verdict::Same)
            {
                cell.verdict = Verdict::NotShown(format!(
                    "what changed asks {word}, which is the same on two clones and may differ elsewhere"
                ));
            }
        }
    }
}

fn doubt(subject: &Subject, (policy, why): Doubt) -> Gap {
    Gap {
        what: format!("policy {policy} on {}", subject.name()),
        why: format!(
            "it {why}: the table is read under row-level security instead, and writes rest on small worlds"
        ),
        remedy: None,
    }
}

fn who(identity: &Identity) -> Who {
    Who {
        name: identity.persona.name.clone(),
        role: identity.persona.role.clone(),
        about: identity.about.clone(),
    }
}

fn progress(persona: &Persona, subject: &Subject, begun: Instant, done: u64, total: u64) -> String {
    let place = format!("{} · {}", persona.name, subject.name());
    let spent = begun.elapsed().as_secs_f64();
    if done < 5 || spent < 2.0 {
        return place;
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let left = spent / done as f64 * (total - done) as f64;
    format!("{place} · about {left:.0} s left")
}
