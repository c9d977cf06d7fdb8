//! Proves that a change keeps every persona's rows: those it sees, and those it may write.

pub mod identity;
mod level;
mod read;
mod show;
mod subject;
mod tries;

pub use show::report;

use crate::db::{Error, Limits, Result, Session, Target};
use crate::model::{Gap, Name, Persona};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;
use subject::Subject;
use tokio::sync::Mutex;

/// How thorough, and where.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What reading one table as one persona may take. Where all rows would take longer, a sample is read, and the report
    /// says so.
    pub timeout: Duration,
    /// Try inserts, updates and deletes, rolled back and with user triggers disabled. Only for clones.
    pub writes: bool,
}

/// What one persona may do with the rows of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    Read,
    /// `SELECT … FOR UPDATE`, which the policies for UPDATE filter.
    Lock,
    Insert,
    Update,
    Delete,
}

/// What the server answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Rows and their digest, whatever their order; for tries, how many were allowed and a digest of all outcomes.
    Rows { count: u64, digest: String },
    /// SQLSTATE.
    Refused(String),
    /// Not even a sample could be read in time.
    TimedOut,
}

/// One persona, one table, one access, on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub persona: String,
    pub table: Name,
    pub access: Access,
    /// Whether only a sample of the table was looked at.
    pub sampled: bool,
    pub before: Answer,
    pub after: Answer,
}

impl Seen {
    pub fn equal(&self) -> bool {
        self.before == self.after
    }

    /// Neither equal nor different: there was no time to look.
    pub fn unknown(&self) -> bool {
        self.before == Answer::TimedOut || self.after == Answer::TimedOut
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Visibility {
    pub seen: Vec<Seen>,
    pub gaps: Vec<Gap>,
}

/// Compares what every persona may see and write in every table with row-level security on either side.
///
/// `note` is told what is being done: steps done, steps in all, the persona and table.
pub async fn verify(
    before: &Target,
    after: &Target,
    personas: &[Persona],
    options: Options,
    note: &mut dyn FnMut(u64, u64, &str),
) -> Result<Visibility> {
    let sides = Sides::open(before, after).await?;
    let mut found = Visibility::default();
    let subjects = subject::find(&sides, &mut found.gaps).await?;
    if options.writes {
        level::level(&sides).await?;
    } else {
        found.gaps.push(Gap {
            what: "writable rows".to_owned(),
            why: "writes are tried only on clones that dbtune made".to_owned(),
            remedy: Some("dbtune verify".to_owned()),
        });
    }
    drop(sides);
    let check = Check {
        before,
        after,
        subjects: &subjects,
        options,
        total: (subjects.len() * personas.len()) as u64,
        step: Cell::new(0),
        note: RefCell::new(note),
        writing: Mutex::new(()),
    };
    let each: Vec<Visibility> = stream::iter(personas)
        .map(|persona| check.persona(persona))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    for one in each {
        found.seen.extend(one.seen);
        found.gaps.extend(one.gaps);
    }
    let sampled = found.sampled(options.timeout);
    found.gaps.extend(sampled);
    Ok(found)
}

/// Personas looked at side by side: the side before the change keeps one core busy with a function once a row.
const AT_ONCE: usize = 2;

/// Told steps done, steps in all, and what is being looked at.
type Note<'a> = &'a mut dyn FnMut(u64, u64, &str);

/// What the checks of all personas share.
struct Check<'a> {
    before: &'a Target,
    after: &'a Target,
    subjects: &'a [Subject],
    options: Options,
    total: u64,
    /// Steps done.
    step: Cell<u64>,
    /// Whom to tell.
    note: RefCell<Note<'a>>,
    /// Held by the one that tries writes: two would wait for each other's rows.
    writing: Mutex<()>,
}

impl Check<'_> {
    async fn persona(&self, persona: &Persona) -> Result<Visibility> {
        let sides = Sides::open(self.before, self.after).await?;
        let limits = Limits {
            statement: self.options.timeout,
            ..Limits::default()
        };
        let mut found = Visibility::default();
        let mut subject_to_policies = false;
        for subject in self.subjects {
            self.tell(persona, subject);
            let (b, a) = tokio::join!(
                subject::guarded(&sides.before, persona, subject, limits),
                subject::guarded(&sides.after, persona, subject, limits)
            );
            let (b, a) = (b?, a?);
            subject_to_policies |= b || a;
            // Without policies on either side every row is seen on both.
            if b || a {
                let look = Look {
                    sides: &sides,
                    persona,
                    subject,
                    limits,
                };
                let sample = read::compare(look, &mut found).await?;
                if self.options.writes {
                    let _alone = self.writing.lock().await;
                    tries::compare(look, &sample, &mut found).await?;
                }
            }
        }
        if !subject_to_policies && !self.subjects.is_empty() {
            found.gaps.push(Gap {
                what: format!("persona {}", persona.name),
                why: format!(
                    "role {} is subject to no policy (superuser, BYPASSRLS or owner): nothing is proven with it",
                    persona.role
                ),
                remedy: None,
            });
        }
        Ok(found)
    }

    fn tell(&self, persona: &Persona, subject: &Subject) {
        let step = self.step.get();
        let text = format!("{} · {}", persona.name, subject.name);
        (self.note.borrow_mut())(step, self.total, &text);
        self.step.set(step + 1);
    }
}

impl Visibility {
    /// What was read in part only, a gap a table.
    fn sampled(&self, timeout: Duration) -> Vec<Gap> {
        let mut personas: BTreeMap<&Name, Vec<&str>> = BTreeMap::new();
        for seen in &self.seen {
            if seen.access == Access::Read && seen.sampled {
                personas.entry(&seen.table).or_default().push(&seen.persona);
            }
        }
        personas
            .into_iter()
            .map(|(table, personas)| Gap {
                what: table.to_string(),
                why: format!(
                    "reading all rows as {} would take longer than {} s; rows spread over the table, and rows seen after the \
                     change, were compared",
                    personas.join(", "),
                    timeout.as_secs()
                ),
                remedy: Some("dbtune verify --timeout 1h".to_owned()),
            })
            .collect()
    }
}

/// A connection to each side.
struct Sides {
    before: Session,
    after: Session,
}

impl Sides {
    async fn open(before: &Target, after: &Target) -> Result<Self> {
        Ok(Self {
            before: Session::connect(before, "verify").await?,
            after: Session::connect(after, "verify").await?,
        })
    }
}

/// One persona in front of one table.
#[derive(Clone, Copy)]
struct Look<'a> {
    sides: &'a Sides,
    persona: &'a Persona,
    subject: &'a Subject,
    limits: Limits,
}

impl Look<'_> {
    fn seen(&self, access: Access, sampled: bool, before: Answer, after: Answer) -> Seen {
        Seen {
            persona: self.persona.name.clone(),
            table: self.subject.name.clone(),
            access,
            sampled,
            before,
            after,
        }
    }
}

/// What an error of a statement means; an error of the connection is passed on.
fn refusal(error: Error) -> Result<Answer> {
    match error.sqlstate.as_deref() {
        Some("57014") => Ok(Answer::TimedOut),
        Some(state) if !state.starts_with("08") && !state.starts_with("57") => {
            Ok(Answer::Refused(state.to_owned()))
        }
        _ => Err(error),
    }
}
