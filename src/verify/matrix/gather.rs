//! The stages that make a matrix, in their order.

use super::count::{Answer, Asker, untested};
use super::definition::Definitions;
use super::found::{Access, By, Matrix, TableLine, VERSION};
use super::people::{Somebody, everybody};
use super::questions::{Asked, Questions};
use super::weave::{digest, digest_of_all};
use crate::db::{Limits, Result, Session, Target, read_catalog};
use crate::model::{Catalog, Gap, Persona};
use crate::verify::effective::Clause;
use crate::verify::faithful::doubts;
use crate::verify::pairing::{Subject, single};
use crate::verify::pool::{Sources, Value};
use crate::verify::rights::{self, Rights};
use crate::verify::run::Note;
use crate::verify::side::{self, Side};
use crate::verify::sources::sources;
use crate::verify::statement::{self, Read};
use crate::verify::tuples;
use futures_util::StreamExt;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How thorough.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the whole may take; what is not decided by then is unknown.
    pub time: Duration,
    /// How many identities are looked for beside those that are asked for.
    pub most: usize,
}

/// Identities that are looked at at once.
const AT_ONCE: usize = 2;

/// A table, what was made of it, and what cannot be decided by text.
struct Ready {
    subject: Subject,
    rows: u64,
    digest: String,
    /// Digests of its made-up rows.
    labels: Vec<u128>,
    doubtful: bool,
}

/// What every identity may do with the rows of every table, on a throwaway clone: a schema is made on it.
///
/// # Errors
/// Where the clone cannot be read. What a policy raises is part of what is found.
pub async fn matrix(
    clone: &Target,
    asked: &[Persona],
    options: &Options,
    note: Note<'_>,
) -> Result<Matrix> {
    let deadline = Instant::now() + options.time;
    let session = Session::connect(clone, "verify").await?;
    let side = side::read_all(&session, Limits::default()).await?;
    let catalog = read_catalog(&session).await?;
    let (everybody, gaps) = everybody(&session, &catalog, asked, options.most).await?;
    let rights = rights_of(&session, &side, &everybody).await?;
    let mut matrix = Matrix {
        version: VERSION,
        identities: everybody.iter().map(|s| s.person.clone()).collect(),
        gaps,
        ..Matrix::default()
    };
    let subjects = touchable(&side, &rights);
    let personas: Vec<Persona> = everybody.iter().map(|s| s.persona.clone()).collect();
    let both = [(&side, &catalog), (&side, &catalog)];
    tuples::prepare(&session).await?;
    let sources = sources(&session, both, &personas, &BTreeSet::new()).await?;
    let total = (subjects.len() * (1 + everybody.len())) as u64;
    let mut ready = Vec::new();
    for (at, subject) in subjects.into_iter().enumerate() {
        note(at as u64, total, &format!("rows of {}", subject.name()));
        ready.push(make(&session, subject, &sources, &mut matrix).await?);
    }
    let definitions = RefCell::new(Definitions::new(&side, &catalog));
    let at = RefCell::new((ready.len() as u64, note));
    let tell = |place: &str| {
        let mut told = at.borrow_mut();
        let (done, note) = &mut *told;
        note(*done, total, place);
        *done += 1;
    };
    let look = Look {
        clone,
        ready: &ready,
        catalog: &catalog,
        deadline,
        tell: &tell,
        definitions: &definitions,
    };
    let each = everybody.iter().filter_map(|somebody| {
        let rights = rights.get(&somebody.persona.role)?;
        Some(look.row(&somebody.persona, rights))
    });
    let mut rows = futures_util::stream::iter(each).buffered(AT_ONCE);
    while let Some(row) = rows.next().await {
        matrix.cells.extend(row?);
    }
    Ok(matrix)
}

async fn rights_of(
    session: &Session,
    side: &Side,
    everybody: &[Somebody],
) -> Result<BTreeMap<String, Rights>> {
    let oids: Vec<u32> = side.tables.keys().copied().collect();
    let roles: BTreeSet<&str> = everybody.iter().map(|s| s.persona.role.as_str()).collect();
    let mut all = BTreeMap::new();
    for role in roles {
        let rights = rights::read(session, role, &oids, Limits::default()).await?;
        all.insert(role.to_owned(), rights);
    }
    Ok(all)
}

/// The tables with which at least one of the roles may do something, both sides of each being one.
fn touchable(side: &Side, rights: &BTreeMap<String, Rights>) -> Vec<Subject> {
    let may = |subject: &Subject| {
        rights.values().any(|rights| {
            crate::verify::effective::CLAUSES
                .iter()
                .any(|clause| !rights.columns(&subject.before, *clause).is_empty())
        })
    };
    let mut subjects = single(side);
    subjects.retain(may);
    for (number, subject) in subjects.iter_mut().enumerate() {
        subject.number = number;
    }
    subjects
}

/// Groups and makes up the rows of a table.
async fn make(
    session: &Session,
    subject: Subject,
    sources: &Sources,
    matrix: &mut Matrix,
) -> Result<Ready> {
    let doubts = doubts(session, &subject, false).await?;
    for (policy, why) in &doubts {
        matrix.gaps.push(Gap {
            what: format!("policy {policy} on {}", subject.name()),
            why: format!("it {why}: the table is read under row-level security instead, and writes are not looked at"),
            remedy: None,
        });
    }
    let made = tuples::make_single(session, &subject, sources).await?;
    let labels: Vec<u128> = made
        .made_up
        .iter()
        .map(|row| digest(&label(row, &sources.times)))
        .collect();
    let table = &subject.before;
    let key = table.key.iter().filter_map(|n| table.column(*n));
    matrix.tables.push(TableLine {
        table: subject.name(),
        rows: made.rows,
        digest: made.digest.clone(),
        key: key.map(|c| c.name.clone()).collect(),
        guarded: table.rls,
        tuples: made.tuples,
        made_up: labels.len(),
        pool: digest_of_all(labels.iter().copied()),
    });
    Ok(Ready {
        rows: made.rows,
        digest: made.digest,
        labels,
        doubtful: !doubts.is_empty(),
        subject,
    })
}

/// What a made-up row is, by its values; those around the clock by their place, so that it is the same tomorrow.
fn label(row: &[Value], times: &[String]) -> String {
    let value = |value: &Value| match value {
        None => "null".to_owned(),
        Some(text) => match times.iter().position(|t| t == text) {
            Some(at) => format!("time {at}"),
            None => format!("= {text}"),
        },
    };
    row.iter().map(value).collect::<Vec<_>>().join("\n")
}

/// What all identities share.
struct Look<'a> {
    clone: &'a Target,
    ready: &'a [Ready],
    catalog: &'a Catalog,
    deadline: Instant,
    tell: &'a dyn Fn(&str),
    definitions: &'a RefCell<Definitions<'a>>,
}

impl Look<'_> {
    fn limits(&self) -> Option<Limits> {
        let left = self.deadline.checked_duration_since(Instant::now())?;
        (left > Duration::from_millis(50)).then_some(Limits {
            statement: left,
            lock: Duration::from_secs(10),
        })
    }

    /// One identity. The connection is its own: a setting that was once set in a session is never unset again.
    async fn row(&self, persona: &Persona, rights: &Rights) -> Result<Vec<Access>> {
        let session = Session::connect(self.clone, "verify").await?;
        let mut cells = Vec::new();
        for ready in self.ready {
            (self.tell)(&format!("{} · {}", persona.name, ready.subject.name()));
            let questions = Questions::new(&ready.subject, rights, self.catalog);
            cells.extend(self.table(&session, persona, ready, &questions).await?);
        }
        Ok(cells)
    }

    async fn table(
        &self,
        session: &Session,
        persona: &Persona,
        ready: &Ready,
        questions: &Questions,
    ) -> Result<Vec<Access>> {
        let cell = |asked: &Asked| self.cell(persona, ready, asked);
        if !questions.is_tested() {
            return Ok(questions.asked.iter().map(cell).collect());
        }
        let Some(limits) = self.limits() else {
            let dark = |asked: &Asked| unknown(cell(asked), "there was no time");
            return Ok(questions.asked.iter().map(dark).collect());
        };
        let subject = &ready.subject;
        if ready.doubtful {
            let mut cells = Vec::new();
            for asked in &questions.asked {
                let cell = cell(asked);
                cells.push(match (asked.by, asked.clause) {
                    (By::Policies, Clause::Select) => {
                        read(cell, (session, persona), subject, limits).await?
                    }
                    (By::Policies, _) => unknown(cell, "its text does not say what decides"),
                    _ => cell,
                });
            }
            return Ok(cells);
        }
        let asker = Asker {
            session,
            persona,
            subject,
            limits,
            labels: &ready.labels,
        };
        let answers = asker.ask(questions).await?;
        let again = if questions.volatile {
            Some(asker.ask(questions).await?)
        } else {
            None
        };
        let mut cells = Vec::new();
        for (at, (asked, answer)) in answers.iter().enumerate() {
            let told = told(cell(asked), &asker, questions, (asked, answer));
            let other = again.as_ref().and_then(|all| all.get(at));
            let moved = other.is_some_and(|(asked, answer)| {
                told != self::told(cell(asked), &asker, questions, (asked, answer))
            });
            cells.push(if moved {
                unknown(
                    cell(asked),
                    "the policy is not deterministic: it says one thing now and another then",
                )
            } else {
                told
            });
        }
        Ok(cells)
    }

    /// As far as it needs no question.
    fn cell(&self, persona: &Persona, ready: &Ready, asked: &Asked) -> Access {
        let mut cell = Access {
            identity: persona.name.clone(),
            table: ready.subject.name(),
            clause: asked.clause,
            by: asked.by,
            columns: asked.columns.clone(),
            rows: None,
            digest: None,
            kinds: None,
            admits: Vec::new(),
            takes: Vec::new(),
            ends: None,
            unknown: None,
            definition: self.definitions.borrow_mut().of(asked.by, &asked.effective),
        };
        untested(&asked.effective, (ready.rows, &ready.digest), &mut cell);
        cell
    }
}

fn told(
    mut cell: Access,
    by: &Asker<'_>,
    questions: &Questions,
    (asked, answer): (&Asked, &Answer),
) -> Access {
    if asked.by != By::Policies {
        return cell;
    }
    match answer {
        Answer::Groups(groups) => {
            by.tell(asked, questions.expressions.len(), groups, &mut cell);
            cell
        }
        Answer::Refused(state) => {
            cell.ends = Some(state.clone());
            cell
        }
        Answer::NoTime => unknown(cell, "there was no time"),
    }
}

fn unknown(mut cell: Access, why: &str) -> Access {
    if cell.rows.is_none() {
        cell.unknown = Some(why.to_owned());
    }
    cell
}

/// What the identity sees, by a statement.
async fn read(
    mut cell: Access,
    (session, persona): (&Session, &Persona),
    subject: &Subject,
    limits: Limits,
) -> Result<Access> {
    match statement::read_keys(session, persona, subject, limits).await? {
        Read::Rows { count, digest } => {
            cell.rows = Some(count);
            cell.digest = Some(digest);
        }
        Read::Refused(state) => cell.ends = Some(state),
        Read::NoTime => return Ok(unknown(cell, "there was no time")),
    }
    Ok(cell)
}
